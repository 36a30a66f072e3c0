//! `brk`: the heap is private anonymous memory from start_brk upwards (text E).

use faultless_posix::{Pid, Trouble};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "brk",
    summary: "the heap grows and shrinks in pages, and new pages are zeros",
    claims: &["E19", "E5"],
    rows: &[Row::Malloc, Row::MmStruct],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("the break is where the heap begins: no area");
    let start = stage.brk(a, 0).0;
    stage.equal("areas", stage.areas(a).count(), 0)?;

    stage.step("one byte more: a page");
    stage.brk(a, start + 1);
    let pages = stage.area(a, start).map(|area| area.range.pages());
    stage.equal("pages of heap", pages, Some(1))?;
    stage.store(a, start + PAGE - 1, b"x")?;
    let behind = stage.store(a, start + PAGE, b"x");
    stage.ends("who stores behind that page", behind, Trouble::MapErr, start + PAGE)?;

    stage.step("three pages, used; then back to one");
    stage.brk(a, start + 3 * PAGE);
    stage.store(a, start + 2 * PAGE, b"y")?;
    stage.brk(a, start + PAGE);
    let gone = stage.bytes(a, start + 2 * PAGE, 1);
    stage.ends("who looks at the third page", gone, Trouble::MapErr, start + 2 * PAGE)?;
    stage.reads("the first page", a, start + PAGE - 1, b"x")?;

    stage.step("three pages again: what comes back is zeros");
    stage.brk(a, start + 3 * PAGE);
    stage.reads("the third page", a, start + 2 * PAGE, &[0])?;

    stage.step("below its beginning the heap can't end");
    let now = stage.brk(a, start - PAGE).0;
    stage.equal("the break stays", now, start + 3 * PAGE)
}
