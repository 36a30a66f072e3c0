//! `after-a-while`: what was changed is on the disk after a while, or at once by msync
//! (texts A, C).

use faultless_posix::{MapFlags, OpenFlags, Pid, SyncFlags};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{FD, PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "after-a-while",
    summary: "dirty pages are written when they are old, or at msync; many stores are one write",
    claims: &["A7", "B5", "C1", "C5"],
    rows: &[Row::WriteBack],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("a program stores to its map of a file a hundred times");
    let file = stage.file("/data", b"old");
    let at = stage.map_file(a, file, PAGE, MapFlags::SHARED)?;
    for n in 0..100 {
        stage.store(a, at + 10, &[n])?;
    }
    stage.store(a, at, b"new")?;
    stage.equal("pages written", stage.io().files.written, 0)?;
    let stored = stage.disk(file, 0, 3);
    stage.same("the disk holds", &stored, b"old")?;

    stage.step("ten seconds later");
    stage.sleep(10_000);
    let stored = stage.disk(file, 0, 3);
    stage.same("the disk holds", &stored, b"old")?;

    stage.step("half a minute after the first store");
    stage.sleep(21_000);
    let stored = stage.disk(file, 0, 3);
    stage.same("the disk holds", &stored, b"new")?;
    stage.equal("pages written", stage.io().files.written, 1)?;
    stage.check("stores are seen again: W is clear", !stage.stores_pass(a, at))?;

    stage.step("another store, and msync");
    stage.store(a, at, b"now")?;
    stage.msync(a, at, PAGE, SyncFlags::SYNC)?;
    let stored = stage.disk(file, 0, 3);
    stage.same("the disk holds at once", &stored, b"now")?;

    stage.step("write() is no quicker to the disk");
    stage.open(a, FD, file, OpenFlags::RDWR)?;
    stage.pwrite(a, FD, b"end", 0)?;
    let stored = stage.disk(file, 0, 3);
    stage.same("the disk holds", &stored, b"now")?;
    stage.sleep(31_000);
    let stored = stage.disk(file, 0, 3);
    stage.same("half a minute later it holds", &stored, b"end")
}
