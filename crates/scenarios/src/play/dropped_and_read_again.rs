//! `dropped-and-read-again`: a clean page can go at any time: its file has it (text D).

use faultless_posix::{MapFlags, Pid};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "dropped-and-read-again",
    summary: "a clean page of a file leaves without a write and comes back from the file",
    claims: &["D1", "D9"],
    rows: &[Row::PageCache, Row::Lists],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("a page of a file is in memory");
    let file = stage.file("/data", b"from the file");
    let at = stage.map_file(a, file, PAGE, MapFlags::PRIVATE)?;
    stage.reads("the program", a, at, b"from the file")?;

    stage.step("memory is short: it leaves; nothing is written");
    stage.evict(a, at)?;
    while stage.used() > 0 {
        stage.press(1);
    }
    let io = stage.io();
    stage.equal("pages written, to file and swap", (io.files.written, io.swap.written), (0, 0))?;

    stage.step("it is touched: it is read again");
    stage.reads("the program", a, at, b"from the file")?;
    stage.equal("pages read from the file", stage.io().files.read, 2)?;

    stage.step("a page of no file has nowhere to come from but swap");
    let own = stage.map_anonymous(a, PAGE, MapFlags::PRIVATE)?;
    stage.store(a, own, b"mine")?;
    stage.evict(a, own)?;
    stage.reads("the program", a, own, b"mine")?;
    let swap = stage.io().swap;
    stage.equal("pages written to swap and read from it", (swap.written, swap.read), (1, 1))
}
