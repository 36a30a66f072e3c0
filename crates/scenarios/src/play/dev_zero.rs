//! `dev-zero`: /dev/zero mapped private is anonymous memory (text E).

use faultless_posix::{MapFlags, Node, Pid, Shows};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "dev-zero",
    summary: "a private map of /dev/zero is anonymous memory: zeros, and no file behind it",
    claims: &["E17", "D10"],
    rows: &[Row::FourKinds],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("open and mmap of /dev/zero, private");
    let at = stage.map_file(a, Node::Zero, 2 * PAGE, MapFlags::PRIVATE)?;
    let area = stage.area(a, at).expect("it has just been mapped");
    stage.equal("what the area shows", stage.shows(&area), Shows::Anonymous)?;
    stage.reads("the program", a, at + 100, &[0; 8])?;

    stage.step("it stores: nothing is read or written");
    stage.store(a, at + 100, b"mine")?;
    stage.reads("the program", a, at + 100, b"mine")?;
    let io = stage.io();
    stage.equal("pages read and written", (io.files.read, io.files.written), (0, 0))?;

    stage.step("MAP_ANONYMOUS beside it: the same");
    let second = stage.map_anonymous(a, PAGE, MapFlags::PRIVATE)?;
    stage.reads("the program", a, second, &[0; 8])
}
