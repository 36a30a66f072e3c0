//! `three-states`: a virtual page is unallocated, allocated, or allocated and mapped (text
//! E).

use faultless_posix::{MapFlags, Pid, Trouble};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "three-states",
    summary: "a page is unallocated, then allocated by mmap, then mapped by its first access",
    claims: &["A4", "A5", "E2", "E3"],
    rows: &[Row::ThreeStates, Row::PageFault],
    frames: 16,
    software,
    linux: None,
};

/// The end of the addresses, below which the first map goes.
const TOP: u64 = 0x7fff_ffff_f000;

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("unallocated: no area, no entry");
    let file = stage.file("/data", b"some data");
    let place = TOP - PAGE;
    let access = stage.bytes(a, place, 1);
    stage.ends("who looks there", access, Trouble::MapErr, place)?;
    stage.check("no area holds it", stage.area(a, place).is_none())?;

    stage.step("allocated: an area, no entry, nothing read");
    let at = stage.map_file(a, file, PAGE, MapFlags::SHARED)?;
    stage.equal("mmap answers", at, place)?;
    stage.check("an area holds it", stage.area(a, at).is_some())?;
    stage.check("no entry is there", stage.frame_at(a, at).is_none())?;
    stage.equal("pages read", stage.io().files.read, 0)?;

    stage.step("mapped: the first access is a page fault, which reads the page and sets the entry");
    let faults = stage.faults();
    stage.reads("the program", a, at, b"some data")?;
    stage.equal("page faults for it", stage.faults() - faults, 1)?;
    stage.equal("pages read", stage.io().files.read, 1)?;
    stage.check("an entry is there", stage.frame_at(a, at).is_some())?;

    stage.step("another access: the entry leads to the frame, nobody is asked");
    let faults = stage.faults();
    stage.reads("the program", a, at + 5, b"data")?;
    stage.equal("page faults for it", stage.faults() - faults, 0)?;

    stage.step("memory is short: allocated again, not mapped");
    stage.evict(a, at)?;
    stage.check("an area holds it", stage.area(a, at).is_some())?;

    stage.step("munmap: unallocated again");
    stage.munmap(a, at, PAGE)?;
    stage.check("no area holds it", stage.area(a, at).is_none())
}
