//! `beyond-the-end`: a page wholly behind the end of its file is SIGBUS, also when the file
//! has become shorter (text C).

use faultless_posix::{Errno, MapFlags, OpenFlags, Pid, Trouble};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{FD, PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "beyond-the-end",
    summary: "pages behind the end of a file are SIGBUS; files that change their length need care",
    claims: &["C7"],
    rows: &[Row::Outside, Row::LastPage],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("a file of a page and a bit is mapped with room to grow");
    let file = stage.file("/log", &[b'l'; 5000]);
    let at = stage.map_file(a, file, 4 * PAGE, MapFlags::SHARED)?;
    stage.reads("the page with the end", a, at + 4998, b"ll\0")?;
    let access = stage.bytes(a, at + 2 * PAGE, 1);
    stage.ends("who looks behind it", access, Trouble::Bus, at + 2 * PAGE)?;

    stage.step("the file becomes longer: the same map shows it");
    stage.open(a, FD, file, OpenFlags::RDWR)?;
    stage.pwrite(a, FD, b"more", 2 * PAGE)?;
    stage.reads("the third page", a, at + 2 * PAGE, b"more\0")?;

    stage.step("the file becomes shorter: pages that were there are gone");
    stage.ftruncate(a, FD, 10)?;
    let access = stage.bytes(a, at + 2 * PAGE, 1);
    stage.ends("who looks", access, Trouble::Bus, at + 2 * PAGE)?;
    stage.reads("the first page", a, at + 8, b"ll\0\0")?;

    stage.step("a system call that is given such an address answers EFAULT instead");
    let answer = stage.write_from(a, FD, at + PAGE, 10, 0);
    stage.refused("write() from there", answer, Errno::EFAULT)
}
