//! `tlb`: a processor remembers translations, and must be made to forget them (text E).

use faultless_posix::{MapFlags, Pid, Trouble};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "tlb",
    summary: "the second access needs no walk; what munmap takes away, no TLB keeps",
    claims: &["E2", "E7"],
    rows: &[Row::PageTable],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("a page is stored to");
    let at = stage.map_anonymous(a, PAGE, MapFlags::PRIVATE)?;
    stage.store(a, at, b"x")?;
    let before = stage.machine().stats();

    stage.step("it is loaded ten times");
    for _ in 0..10 {
        stage.bytes(a, at, 1)?;
    }
    let now = stage.machine().stats();
    stage.equal("walks through the tables", now.walks - before.walks, 0)?;
    stage.equal("answers of the TLB", now.tlb_hits - before.tlb_hits, 10)?;

    stage.step("munmap: the entry goes, and the processor is made to forget");
    stage.munmap(a, at, PAGE)?;
    let now = stage.machine().stats();
    stage.check("TLBs were flushed", now.shootdowns > before.shootdowns)?;
    stage.check("none remembers what is gone", stage.machine().stale().is_empty())?;
    let access = stage.bytes(a, at, 1);
    stage.ends("who looks there", access, Trouble::MapErr, at)
}
