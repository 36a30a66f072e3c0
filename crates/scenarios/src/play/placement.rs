//! `placement`: where a map goes: anywhere, at a hint, or exactly there (texts A, B).

use faultless_posix::{Errno, MapFlags, Mmap, Pid};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, READ_WRITE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "placement",
    summary: "no address, a hint, MAP_32BIT, MAP_FIXED and MAP_FIXED_NOREPLACE: where a map goes",
    claims: &["A2", "A8", "A12", "A14"],
    rows: &[Row::Calls],
    frames: 16,
    software,
    linux: None,
};

const HINT: u64 = 0x1234_5000;

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("no address: the kernel chooses one between pages");
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
    let call = Mmap { len: 100, prot: READ_WRITE, flags, ..Mmap::default() };
    let at = stage.mmap(a, call)?.0;
    stage.equal("the rest by pages", at % PAGE, 0)?;

    stage.step("a hint, not between pages: it is rounded down");
    let hinted = stage.mmap(a, Mmap { addr: HINT + 5, ..call })?.0;
    stage.equal("mmap answers", hinted, HINT)?;
    stage.store(a, HINT, b"first")?;

    stage.step("the same hint: there is something, so it goes elsewhere");
    let other = stage.mmap(a, Mmap { addr: HINT, ..call })?.0;
    stage.check("mmap answers another address", other != HINT)?;
    stage.reads("what was there", a, HINT, b"first")?;

    stage.step("MAP_FIXED_NOREPLACE: refused; MAP_FIXED: in place of what was there");
    let noreplace = flags | MapFlags::FIXED_NOREPLACE;
    let answer = stage.mmap(a, Mmap { addr: HINT, flags: noreplace, ..call });
    stage.refused("a map without replacing", answer, Errno::EEXIST)?;
    let fixed = flags | MapFlags::FIXED;
    let replaced = stage.mmap(a, Mmap { addr: HINT, flags: fixed, ..call })?.0;
    stage.equal("mmap answers", replaced, HINT)?;
    stage.reads("there are zeros now:", a, HINT, &[0; 5])?;

    stage.step("MAP_32BIT: below 2 GiB, from 1 GiB on as low as there is room");
    let low = Mmap { flags: flags | MapFlags::BIT32, ..call };
    for expected in [0x4000_0000, 0x4000_1000] {
        let at = stage.mmap(a, low)?.0;
        stage.equal("mmap answers", at, expected)?;
    }
    let hinted = stage.mmap(a, Mmap { addr: 0x7fff_f000, ..low })?.0;
    stage.equal("the last page below 2 GiB is a good hint: mmap answers", hinted, 0x7fff_f000)?;
    let too_high = stage.mmap(a, Mmap { addr: 0x8000_0000, ..low })?.0;
    stage.equal("the next one is not: mmap answers", too_high, 0x4000_2000)?;
    let large = stage.mmap(a, Mmap { len: 1 << 30, ..low });
    stage.refused("a map for which there is no room below", large, Errno::ENOMEM)?;

    stage.step("what can't be");
    let crooked = stage.mmap(a, Mmap { addr: HINT + 5, flags: fixed, ..call });
    stage.refused("a fixed address not between pages", crooked, Errno::EINVAL)?;
    let high = stage.mmap(a, Mmap { addr: 1 << 47, flags: fixed, ..call });
    stage.refused("one above all addresses", high, Errno::ENOMEM)
}
