//! `malloc`: malloc(10) takes from the heap, malloc(10 MiB) is a map of its own (texts B,
//! D).

use faultless_posix::{MapFlags, Pid};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "malloc",
    summary: "a small request moves brk, a large one is an anonymous map that goes at free",
    claims: &["B8", "D11", "E16", "E19"],
    rows: &[Row::Malloc],
    frames: 16,
    software,
    linux: None,
};

/// What glibc takes at first.
const HEAP_STEP: u64 = 132 << 10;
const LARGE: u64 = 10 << 20;

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("malloc(10): the heap grows by 132 KiB, of which one page is touched");
    let start = stage.brk(a, 0).0;
    let end = stage.brk(a, start + HEAP_STEP).0;
    stage.equal("bytes of heap", end - start, HEAP_STEP)?;
    stage.store(a, start, b"ten bytes!")?;
    stage.equal("frames in use", stage.used(), 1)?;

    stage.step("malloc(10) again: the heap has room, no call is needed");
    stage.store(a, start + 32, b"ten bytes!")?;
    stage.equal("areas", stage.areas(a).count(), 1)?;
    stage.equal("frames in use", stage.used(), 1)?;

    stage.step("malloc(10 MiB): a private anonymous map, of which two pages are touched");
    let large = stage.map_anonymous(a, LARGE + PAGE, MapFlags::PRIVATE)?;
    stage.store(a, large, b"size")?;
    stage.store(a, large + LARGE, b"end")?;
    stage.equal("areas", stage.areas(a).count(), 2)?;
    stage.reads("what nobody stored to", a, large + LARGE / 2, &[0; 8])?;
    stage.equal("frames in use, of 2561 pages and the heap", stage.used(), 4)?;

    stage.step("free of the large one: munmap, and its frames are free");
    stage.munmap(a, large, LARGE + PAGE)?;
    stage.equal("frames in use", stage.used(), 1)?;
    stage.reads("the small one", a, start, b"ten bytes!")
}
