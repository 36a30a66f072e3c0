//! `partial-munmap`: munmap of a part leaves two areas, each with its place in the file
//! (text B).

use faultless_posix::{MapFlags, Pid, Trouble};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "partial-munmap",
    summary: "munmap of the middle splits an area in two",
    claims: &["B2", "B19"],
    rows: &[Row::VmArea, Row::Calls],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("five pages of a file are mapped and touched");
    let content: Vec<u8> = (0..5u8).flat_map(|page| [b'0' + page; PAGE as usize]).collect();
    let file = stage.file("/data", &content);
    let at = stage.map_file(a, file, 5 * PAGE, MapFlags::SHARED)?;
    stage.touch(a, at, 0..5)?;
    stage.equal("areas", stage.areas(a).count(), 1)?;

    stage.step("the middle is unmapped");
    stage.munmap(a, at + 2 * PAGE, PAGE)?;
    stage.equal("areas", stage.areas(a).count(), 2)?;
    let parts = [stage.area(a, at), stage.area(a, at + 3 * PAGE)];
    let offsets = parts.map(|part| part.and_then(|part| part.page_at(part.range.start)));
    let offsets = offsets.map(|page| page.map(|page| page.0));
    stage.equal("pages of the file where they begin", offsets, [Some(0), Some(3)])?;
    let gone = stage.bytes(a, at + 2 * PAGE, 1);
    stage.ends("who looks between them", gone, Trouble::MapErr, at + 2 * PAGE)?;

    stage.step("both parts are as before");
    let faults = stage.faults();
    stage.reads("the page before", a, at + PAGE, b"11")?;
    stage.reads("the page after", a, at + 3 * PAGE, b"33")?;
    stage.equal("page faults for it", stage.faults() - faults, 0)?;

    stage.step("munmap across the hole takes the rest");
    stage.munmap(a, at, 5 * PAGE)?;
    stage.equal("areas", stage.areas(a).count(), 0)?;
    let nothing = stage.munmap(a, at, PAGE);
    stage.equal("munmap of nothing is no error", nothing, Ok(()))
}
