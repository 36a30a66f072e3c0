//! `byte-at-an-offset`: for a byte at offset X, map from the page below and add the rest
//! (texts A, D).

use faultless_posix::{Errno, MapFlags, Mmap, OpenFlags, Pid};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{FD, PAGE, READ, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "byte-at-an-offset",
    summary: "offsets are multiples of a page, and of a large file only what is touched comes in",
    claims: &["A17", "B4", "D7"],
    rows: &[Row::Calls, Row::VmArea],
    frames: 32,
    software,
    linux: None,
};

const WANTED: u64 = 2_000_123;

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("a file of 1000 pages, of which byte 2000123 is wanted");
    let mut content = vec![0; 1000 * PAGE as usize];
    content[WANTED as usize] = b'!';
    let file = stage.file("/large", &content);
    stage.open(a, FD, file, OpenFlags::empty())?;
    let flags = MapFlags::PRIVATE;
    let call = Mmap { len: 1, prot: READ, flags, fd: FD, offset: WANTED, ..Mmap::default() };
    let answer = stage.mmap(a, call);
    stage.refused("a map from there", answer, Errno::EINVAL)?;

    stage.step("it is mapped from the page below, and the rest is added");
    let (offset, rest) = (WANTED / PAGE * PAGE, WANTED % PAGE);
    let at = stage.mmap(a, Mmap { offset, len: rest + 1, ..call })?.0;
    stage.reads("there the program", a, at + rest, b"!")?;
    let page = stage.area(a, at).and_then(|area| area.page_at(area.range.start));
    stage.equal("the area begins at the file's page", page.map(|page| page.0), Some(488))?;

    stage.step("the whole file is mapped, and three bytes of it are read");
    let whole = stage.mmap(a, Mmap { offset: 0, len: 1000 * PAGE, ..call })?.0;
    for at in [whole, whole + WANTED, whole + 999 * PAGE] {
        stage.bytes(a, at, 1)?;
    }
    let read = stage.io().files.read;
    stage.check(format!("pages read, of 1000: {read}"), read <= 16)
}
