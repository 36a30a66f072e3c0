//! `rights`: what an area lets accesses do, and what its entries say (texts A, E).

use faultless_addr::{SpaceId, VirtAddr};
use faultless_posix::{MapFlags, Pid};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{EXEC, PAGE, READ, READ_WRITE, Stage, WRITE};
use crate::states::bits;

pub const SCENARIO: Scenario = Scenario {
    name: "rights",
    summary: "PROT_READ, PROT_WRITE, PROT_EXEC and PROT_NONE, by loads, stores and fetches",
    claims: &["A9", "E10"],
    rows: &[Row::VmArea, Row::PageFault],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("each right by itself; on x86-64, what can be stored or executed can be loaded");
    let at = stage.map_anonymous(a, PAGE, MapFlags::PRIVATE)?;
    stage.store(a, at, b"x")?;
    let cases = [
        ("PROT_NONE", 0, [false, false, false]),
        ("PROT_READ", READ, [true, false, false]),
        ("PROT_WRITE", WRITE, [true, true, false]),
        ("PROT_EXEC", EXEC, [true, false, true]),
        ("PROT_READ | PROT_WRITE", READ_WRITE, [true, true, false]),
    ];
    for (name, prot, expected) in cases {
        stage.mprotect(a, at, PAGE, prot)?;
        let found = [
            stage.bytes(a, at, 1).is_ok(),
            stage.store(a, at, b"x").is_ok(),
            stage.fetch(a, at).is_ok(),
        ];
        stage.equal(format!("{name}: load, store, fetch"), found, expected)?;
    }

    stage.step("the entry says so, too");
    for (prot, letters) in [(READ, "P-UA--"), (READ | EXEC, "P-UA-X")] {
        stage.mprotect(a, at, PAGE, prot)?;
        stage.bytes(a, at, 1)?;
        let entry = stage.machine().translation(SpaceId(a.0), VirtAddr(at));
        let found = entry.map(|entry| bits(&entry)).unwrap_or_default();
        stage.check(
            format!("its bits are {letters}, D or not: {found}"),
            found.replace('D', "-") == letters,
        )?;
    }

    stage.step("PROT_NONE takes the entry away; what the page holds stays");
    stage.mprotect(a, at, PAGE, 0)?;
    stage.check("no entry is there", stage.frame_at(a, at).is_none())?;
    stage.mprotect(a, at, PAGE, READ)?;
    stage.reads("with PROT_READ again, it", a, at, b"x")
}
