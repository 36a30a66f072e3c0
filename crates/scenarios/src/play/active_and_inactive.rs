//! `active-and-inactive`: two lists serve reclaim: a page in use is given another chance
//! (text C).

use faultless_posix::{MapFlags, Pid};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "active-and-inactive",
    summary: "pages go from the active list to the inactive one, and leave unless they are used again",
    claims: &["C6"],
    rows: &[Row::Lists],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("nine pages are touched: all are on the active list, their bits A set");
    let at = stage.map_anonymous(a, 9 * PAGE, MapFlags::PRIVATE)?;
    stage.touch(a, at, 0..9)?;
    let first = stage.list("active");
    stage.equal("pages on the active list", first.len(), 9)?;

    stage.step(
        "one frame is needed: a third goes to the inactive list, A cleared; the first leaves",
    );
    stage.press(1);
    stage.equal("frames in use", stage.used(), 8)?;
    stage.check("page 0 has left", stage.frame_at(a, at).is_none())?;
    let waiting = stage.list("inactive");
    stage.equal("pages on the inactive list", waiting.len(), 2)?;
    let clear = !stage.accessed(a, at + PAGE) && !stage.accessed(a, at + 2 * PAGE);
    stage.check("A of pages 1 and 2 is clear", clear)?;

    stage.step("page 1 is used: its A is set, without a fault");
    let faults = stage.faults();
    stage.touch(a, at, 1..2)?;
    stage.equal("page faults for it", stage.faults() - faults, 0)?;
    stage.check("A of page 1 is set", stage.accessed(a, at + PAGE))?;

    stage.step("another frame is needed: page 1 is active again, and page 2 leaves");
    let kept = stage.frame_at(a, at + PAGE);
    stage.press(1);
    stage.check("page 1 is there", stage.frame_at(a, at + PAGE) == kept && kept.is_some())?;
    stage.check("page 2 has left", stage.frame_at(a, at + 2 * PAGE).is_none())?;
    let active = stage.list("active");
    stage.check("page 1 is on the active list", kept.is_some_and(|kept| active.contains(&kept)))
}
