//! `beyond-the-end`: a page wholly behind the end of its file is SIGBUS, also when the file
//! has become shorter (text C).

use faultless_posix::{Errno, MapFlags, OpenFlags, Pid, Trouble};

use crate::linux::Host;
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
    linux: Some(linux),
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

/// By pins, which answer an error where a pointer could only be a signal.
fn linux(host: &mut Host) -> Played {
    host.step("a file of a page and a bit is mapped");
    let file = host.file("log", &[b'l'; 5000])?;
    let map = host.map(&file)?;
    let last = map.pin(4998, 2)?.to_vec();
    host.same("its last bytes are", &last, b"ll")?;
    let beyond = map.pin(4998, 3).err().map(|error| error.to_string());
    let words = beyond.clone().unwrap_or_default();
    host.check(format!("a byte behind them is an error: {words}"), beyond.is_some())?;

    host.step("somebody else makes it shorter");
    file.set_len(10)?;
    let size = map.refresh()?;
    host.equal("its length is", size, 10)?;
    let gone = map.pin(4096, 1).err().map(|error| error.to_string());
    let words = gone.clone().unwrap_or_default();
    host.check(format!("the second page is an error: {words}"), gone.is_some())?;
    let first = map.pin(8, 2)?.to_vec();
    host.same("the first bytes are as before:", &first, b"ll")
}
