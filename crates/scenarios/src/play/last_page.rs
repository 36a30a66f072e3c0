//! `last-page`: the rest of the last page is zeros, and what is stored there stays out of
//! the file (text B).

use faultless_posix::{MapFlags, OpenFlags, Pid, SyncFlags};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{FD, PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "last-page",
    summary: "behind the end of a 31-byte file its page is zeros, which are never written to it",
    claims: &["B1", "B3", "D5"],
    rows: &[Row::LastPage],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("a file of 31 bytes is mapped and looked at: a whole page");
    let file = stage.file("/small", &[b'#'; 31]);
    let at = stage.map_file(a, file, 31, MapFlags::SHARED)?;
    stage.reads("the program", a, at, &[b'#'; 31])?;
    stage.reads("behind the end, it", a, at + 31, &[0; 4065])?;
    stage.equal("frames in use", stage.used(), 1)?;

    stage.step("it stores across the end: memory has all of it");
    stage.store(a, at + 29, b"abcd")?;
    stage.reads("it", a, at + 29, b"abcd")?;

    stage.step("msync: the file gets what is before its end");
    stage.msync(a, at, PAGE, SyncFlags::SYNC)?;
    let stored = stage.disk(file, 29, 4);
    stage.same("on the disk there is", &stored, b"ab\0\0")?;
    stage.open(a, FD, file, OpenFlags::RDWR)?;
    let read = stage.pread(a, FD, 100, 29)?;
    stage.same("read() ends with the file:", &read, b"ab")?;

    stage.step("the file becomes longer: what was behind the end is not in it");
    stage.ftruncate(a, FD, 100)?;
    stage.reads("the program", a, at + 29, b"ab\0\0")
}
