//! `areas`: areas are made, merged, split, found and removed, and never overlap (text E).

use faultless_engine::space::Vma;
use faultless_posix::{MapFlags, Mmap, Pid};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, READ, READ_WRITE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "areas",
    summary: "areas are made, merged, split and found; they are in order and never overlap",
    claims: &["A2", "E9", "E12"],
    rows: &[Row::MmStruct, Row::VmArea],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("two maps beside each other are one area");
    let high = stage.map_anonymous(a, 2 * PAGE, MapFlags::PRIVATE)?;
    let low = stage.map_anonymous(a, 2 * PAGE, MapFlags::PRIVATE)?;
    stage.equal("the second is below the first", high - low, 2 * PAGE)?;
    stage.equal("areas", stage.areas(a).count(), 1)?;

    stage.step("a page in the middle gets other rights: three areas");
    stage.mprotect(a, low + PAGE, PAGE, READ)?;
    stage.equal("areas", stage.areas(a).count(), 3)?;

    stage.step("a map in place of two pages, of another kind: four");
    let flags = MapFlags::SHARED | MapFlags::ANONYMOUS | MapFlags::FIXED;
    let call = Mmap { addr: high, len: PAGE, prot: READ_WRITE, flags, ..Mmap::default() };
    stage.mmap(a, call)?;
    stage.equal("areas", stage.areas(a).count(), 4)?;
    let areas: Vec<Vma> = stage.areas(a).copied().collect();
    let apart = areas.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start);
    stage.check("they are in order and don't overlap", apart)?;
    let found = areas.iter().all(|area| {
        let ends = [area.range.start.0, area.range.end.0 - 1];
        ends.iter().all(|at| stage.area(a, *at) == Some(*area))
    });
    stage.check("each is found by its first and its last address", found)?;

    stage.step("the rights are as before: they merge again, but for the shared one");
    stage.mprotect(a, low + PAGE, PAGE, READ_WRITE)?;
    stage.equal("areas", stage.areas(a).count(), 3)?;

    stage.step("all are removed");
    stage.munmap(a, low, 4 * PAGE)?;
    stage.equal("areas", stage.areas(a).count(), 0)
}
