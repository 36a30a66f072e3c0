//! `many-updates`: many updates become many dirty pages, written at random (text C).

use faultless_posix::{MapFlags, Pid, SyncFlags};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "many-updates",
    summary: "eight pages here and there are eight writes, eight in a row are one",
    claims: &["C8"],
    rows: &[Row::WriteBack],
    frames: 64,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("a program changes every other page of a file, then writes back");
    let file = stage.file("/table", &vec![0; 32 * PAGE as usize]);
    let at = stage.map_file(a, file, 32 * PAGE, MapFlags::SHARED)?;
    for n in 0..8 {
        stage.store(a, at + 2 * n * PAGE, b"x")?;
    }
    stage.msync(a, at, 32 * PAGE, SyncFlags::SYNC)?;
    let scattered = stage.engine().stats();
    stage.equal("pages written", scattered.pages_written, 8)?;
    stage.equal("writes", scattered.runs_written, 8)?;

    stage.step("it changes eight pages in a row");
    for n in 0..8 {
        stage.store(a, at + (16 + n) * PAGE, b"x")?;
    }
    stage.msync(a, at, 32 * PAGE, SyncFlags::SYNC)?;
    let now = stage.engine().stats();
    stage.equal("pages written", now.pages_written - scattered.pages_written, 8)?;
    stage.equal("writes", now.runs_written - scattered.runs_written, 1)
}
