//! `four-kinds`: file or anonymous, shared or private: who sees a store, and where it goes
//! (texts D, E).

use faultless_posix::{MapFlags, Pid};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "four-kinds",
    summary: "two properties make four kinds of maps: who sees a store, and is it written back?",
    claims: &["B7", "D3", "D10", "E4", "E13", "E14", "E15", "E16"],
    rows: &[Row::FourKinds],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("a parent makes the four maps, and forks");
    let files = [stage.file("/shared", b"old"), stage.file("/private", b"old")];
    let maps = [
        ("the file's shared map", stage.map_file(a, files[0], PAGE, MapFlags::SHARED)?, *b"new"),
        ("the file's private map", stage.map_file(a, files[1], PAGE, MapFlags::PRIVATE)?, *b"old"),
        ("the anonymous shared map", stage.map_anonymous(a, PAGE, MapFlags::SHARED)?, *b"new"),
        ("the anonymous private map", stage.map_anonymous(a, PAGE, MapFlags::PRIVATE)?, [0; 3]),
    ];
    let child = stage.fork_as(a, "B")?;

    stage.step("the child stores to all of them");
    for (_, at, _) in maps {
        stage.store(child, at, b"new")?;
    }
    for (what, at, seen) in maps {
        stage.reads("the child", child, at, b"new")?;
        stage.reads(&format!("in {what} the parent"), a, at, &seen)?;
    }

    stage.step("all that is dirty is written");
    stage.sync_all();
    let stored = [stage.disk(files[0], 0, 3), stage.disk(files[1], 0, 3)];
    stage.same("the shared map's file holds", &stored[0], b"new")?;
    stage.same("the private map's file holds", &stored[1], b"old")?;

    stage.step("memory is short: all pages leave, and come back as they were");
    for (_, at, _) in maps {
        stage.evict(child, at)?;
    }
    stage.check("private pages are in swap", stage.io().swap.written >= 2)?;
    for (what, at, seen) in maps {
        stage.reads("the child", child, at, b"new")?;
        stage.reads(&format!("in {what} the parent"), a, at, &seen)?;
    }
    Ok(())
}
