//! `read-and-write`: read() and write() go through the same page cache as maps (texts A, B,
//! C).

use faultless_posix::{MapFlags, Mmap, OpenFlags, Pid};

use crate::linux::Host;
use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{FD, PAGE, READ_WRITE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "read-and-write",
    summary: "what a map stores, read() sees, and the other way round, without the disk",
    claims: &["A1", "A18", "B23", "B25"],
    rows: &[Row::ReadWrite, Row::PageCache],
    frames: 16,
    software,
    linux: Some(linux),
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("two descriptors and a map of one file");
    let file = stage.file("/data", b"0123456789");
    for fd in [FD, FD + 1] {
        stage.open(a, fd, file, OpenFlags::RDWR)?;
    }
    let call =
        Mmap { len: PAGE, prot: READ_WRITE, flags: MapFlags::SHARED, fd: FD, ..Mmap::default() };
    let at = stage.mmap(a, call)?.0;
    for offset in [0, 4, 9] {
        let byte = stage.pread(a, FD + 1, 1, offset)?;
        stage.reads(&format!("byte {offset}: the program"), a, at + offset, &byte)?;
    }
    stage.equal("pages read from the disk", stage.io().files.read, 1)?;

    stage.step("a store by the map is seen by read()");
    stage.store(a, at + 2, b"MAP")?;
    let read = stage.pread(a, FD + 1, 10, 0)?;
    stage.same("read() has", &read, b"01MAP56789")?;

    stage.step("write() is seen by the map");
    stage.pwrite(a, FD + 1, b"WRITE", 5)?;
    stage.reads("the program", a, at, b"01MAPWRITE")?;

    stage.step("another process, and another map: the same page");
    let b = stage.fork_as(a, "B")?;
    let second = stage.map_file(b, file, PAGE, MapFlags::SHARED)?;
    stage.reads("B", b, second, b"01MAPWRITE")?;
    let io = stage.io().files;
    stage.equal("pages read and written in all", (io.read, io.written), (1, 0))
}

fn linux(host: &mut Host) -> Played {
    host.step("a map of a file, and reads and writes through its page cache");
    let file = host.file("data", b"0123456789")?;
    let map = host.map(&file)?;
    map.pin_mut(2, 3)?.copy_from_slice(b"MAP");
    let mut read = [0; 10];
    map.read_at(0, &mut read)?;
    host.same("read_at has", &read, b"01MAP56789")?;

    host.step("a write is seen by the map");
    map.write_at(5, b"WRITE")?;
    let seen = map.pin(0, 10)?.to_vec();
    host.same("the map has", &seen, b"01MAPWRITE")?;

    host.step("after a flush, so does the file");
    map.flush()?;
    let stored = std::fs::read(host.path("data"))?;
    host.same("the file has", &stored, b"01MAPWRITE")
}
