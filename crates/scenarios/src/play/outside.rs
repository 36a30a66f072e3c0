//! `outside`: an address in no area, or without the right, ends the process (texts A, E).

use faultless_posix::{MapFlags, Pid, Trouble};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, READ, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "outside",
    summary: "an access outside of any area, or against its rights, ends the process by SIGSEGV",
    claims: &["A21", "A5", "E1", "B2"],
    rows: &[Row::Outside, Row::PageFault],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("a map, and addresses around it");
    let at = stage.map_anonymous(a, PAGE, MapFlags::PRIVATE)?;
    stage.store(a, at, b"mine")?;
    for beside in [at - 1, at + PAGE, 8] {
        let access = stage.bytes(a, beside, 1);
        stage.ends("who looks beside it", access, Trouble::MapErr, beside)?;
    }

    stage.step("an access across its end gets as far as the area goes");
    let access = stage.store(a, at + PAGE - 2, b"abcd");
    stage.ends("who stores across its end", access, Trouble::MapErr, at + PAGE)?;
    stage.reads("the last bytes", a, at + PAGE - 2, b"ab")?;

    stage.step("another process has nothing there");
    let b = stage.fork_as(a, "B")?;
    stage.munmap(b, at, PAGE)?;
    let access = stage.bytes(b, at, 1);
    stage.ends("B", access, Trouble::MapErr, at)?;
    stage.reads("A", a, at, b"mine")?;

    stage.step("an area for reading only");
    stage.mprotect(a, at, PAGE, READ)?;
    let access = stage.store(a, at, b"x");
    stage.ends("who stores", access, Trouble::AccErr, at)?;
    stage.reads("who loads", a, at, b"mine")?;

    stage.step("after munmap there is nothing");
    stage.munmap(a, at, PAGE)?;
    let access = stage.bytes(a, at, 1);
    stage.ends("who looks", access, Trouble::MapErr, at)
}
