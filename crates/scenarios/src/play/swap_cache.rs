//! `swap-cache`: a page in the swap cache is not read again (texts A, B).

use faultless_posix::{MapFlags, Pid};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "swap-cache",
    summary: "a fault looks in the swap cache before it reads, and an unchanged page leaves without a write",
    claims: &["A6", "B24", "E16"],
    rows: &[Row::Swap, Row::PageFault],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("a page that parent and child share since fork is in memory");
    let at = stage.map_anonymous(a, PAGE, MapFlags::PRIVATE)?;
    stage.store(a, at, b"kept")?;
    let b = stage.fork_as(a, "B")?;
    stage.reads("B", b, at, b"kept")?;

    stage.step("memory is short: it is written to a slot of swap, and leaves both page tables");
    stage.evict(a, at)?;
    stage.check("B's entry is gone, too", stage.frame_at(b, at).is_none())?;
    stage.equal("pages written to swap", stage.io().swap.written, 1)?;

    stage.step("A touches it: it is read back, and keeps its slot");
    stage.reads("A", a, at, b"kept")?;
    stage.equal("pages read from swap", stage.io().swap.read, 1)?;
    stage.equal("slots in use", stage.engine().stats().swap_slots_used, 1)?;

    stage.step("B touches it: the fault finds it in the swap cache");
    let faults = stage.faults();
    stage.reads("B", b, at, b"kept")?;
    stage.equal("page faults for it", stage.faults() - faults, 1)?;
    stage.equal("pages read from swap, still", stage.io().swap.read, 1)?;

    stage.step("memory is short again: the slot still holds what the page does");
    stage.evict(a, at)?;
    stage.equal("pages written to swap, still", stage.io().swap.written, 1)?;

    stage.step("B reads it back and changes it: what the slot holds is old");
    stage.store(b, at, b"new!")?;
    stage.evict(b, at)?;
    stage.equal("pages written to swap", stage.io().swap.written, 2)?;
    stage.reads("A", a, at, b"kept")?;
    stage.reads("B", b, at, b"new!")
}
