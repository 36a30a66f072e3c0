//! `two-copies`: read() copies twice, and to each process; a map copies once (texts A, B,
//! C).

use faultless_posix::{MapFlags, OpenFlags, Pid};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{FD, PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "two-copies",
    summary: "with read() each process has a copy beside the page cache; with maps all share one frame",
    claims: &["A15", "A16", "B6", "B13", "B14"],
    rows: &[Row::ReadWrite, Row::PageCache],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("A reads a page of a file into its own memory");
    let file = stage.file("/data", &[b'd'; PAGE as usize]);
    stage.open(a, FD, file, OpenFlags::empty())?;
    let b = stage.fork_as(a, "B")?;
    let of_a = stage.map_anonymous(a, PAGE, MapFlags::PRIVATE)?;
    stage.read_into(a, FD, of_a, PAGE, 0)?;
    stage.equal("frames: the page cache's, and A's", stage.used(), 2)?;

    stage.step("B reads the same page: it is in the page cache, and is copied again");
    let of_b = stage.map_anonymous(b, PAGE, MapFlags::PRIVATE)?;
    stage.read_into(b, FD, of_b, PAGE, 0)?;
    stage.equal("pages read from the disk", stage.io().files.read, 1)?;
    stage.equal("frames with these bytes", stage.used(), 3)?;

    stage.step("both map the file instead");
    stage.munmap(a, of_a, PAGE)?;
    stage.munmap(b, of_b, PAGE)?;
    let maps = [
        stage.map_file(a, file, PAGE, MapFlags::SHARED)?,
        stage.map_file(b, file, PAGE, MapFlags::SHARED)?,
    ];
    stage.reads("A", a, maps[0], &[b'd'; PAGE as usize])?;
    stage.reads("B", b, maps[1], &[b'd'; PAGE as usize])?;
    stage.equal("frames with these bytes", stage.used(), 1)?;
    stage.equal("pages read from the disk, still", stage.io().files.read, 1)?;

    stage.step("shared memory from input to output: a file's page is sent as it lies there");
    let sent = stage.pipe_from(a, maps[0], PAGE)?;
    stage.check("the bytes come out", sent == [b'd'; PAGE as usize])?;
    stage.equal("frames with these bytes", stage.used(), 1)
}
