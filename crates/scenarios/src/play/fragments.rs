//! `fragments`: maps need addresses in a row, and leave fragments behind (text D).

use faultless_posix::{MapFlags, Pid};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "fragments",
    summary: "after every other map has gone, a larger one does not fit into the holes",
    claims: &["D6"],
    rows: &[Row::MmStruct],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("eight maps of one page, of which every other one is unmapped");
    let mut maps = Vec::new();
    for n in 0..8 {
        let sharing = if n % 2 == 0 { MapFlags::PRIVATE } else { MapFlags::SHARED };
        maps.push(stage.map_anonymous(a, PAGE, sharing)?);
    }
    for at in maps.iter().step_by(2) {
        stage.munmap(a, *at, PAGE)?;
    }
    stage.equal("areas", stage.areas(a).count(), 4)?;

    stage.step("two pages: four are free between the maps, but no two in a row");
    let two = stage.map_anonymous(a, 2 * PAGE, MapFlags::PRIVATE)?;
    let lowest = maps[7];
    stage.equal("it ends where the lowest map begins", two + 2 * PAGE, lowest)?;

    stage.step("one page: it fits into a hole");
    let one = stage.map_anonymous(a, PAGE, MapFlags::PRIVATE)?;
    stage.check("it is in a hole", maps.iter().step_by(2).any(|hole| *hole == one))
}
