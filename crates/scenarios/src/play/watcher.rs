//! `watcher`: one process watches a file in which another stores.

use faultless_posix::{MapFlags, Pid};

use crate::linux::Host;
use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::Stage;

pub const SCENARIO: Scenario = Scenario {
    name: "watcher",
    summary: "two processes map one file, and one sees what the other stores",
    claims: &["A10", "A19", "B9", "B14", "B15", "B16", "C3", "E13"],
    rows: &[Row::PageCache, Row::FourKinds],
    frames: 16,
    software,
    linux: Some(linux),
};

const TEXT: &[u8] = b"####################?\n";

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("there is a file, and a second process");
    let file = stage.file("/data", TEXT);
    let b = stage.fork_as(a, "B")?;

    stage.step("A opens it, maps it shared, closes it, and prints what is there");
    let len = TEXT.len() as u64;
    let seen = stage.map_file(a, file, len, MapFlags::SHARED)?;
    let text = stage.text(a, seen)?;
    stage.same("A prints", text.as_bytes(), TEXT)?;
    stage.equal("pages read from the disk", stage.io().files.read, 1)?;

    stage.step("B maps it, too, and looks at it");
    let own = stage.map_file(b, file, len, MapFlags::SHARED)?;
    let text = stage.text(b, own)?;
    stage.same("B prints", text.as_bytes(), TEXT)?;
    stage.equal("pages read from the disk, still", stage.io().files.read, 1)?;

    stage.step("B stores a 9, and ends");
    stage.store(b, own + 20, b"9")?;
    stage.end(b);

    stage.step("A looks again");
    stage.reads("A", a, seen + 20, b"9")
}

/// In one process: two maps of one file in one `Vm`.
fn linux(host: &mut Host) -> Played {
    host.step("a file is mapped twice; one map is looked at");
    let file = host.file("data", TEXT)?;
    let (watcher, writer) = (host.map(&file)?, host.map(&file)?);
    let seen = watcher.pin(0, TEXT.len())?.to_vec();
    host.same("the watcher sees", &seen, TEXT)?;

    host.step("a 9 is stored through the other, and the file is closed");
    writer.pin_mut(20, 1)?[0] = b'9';
    drop((writer, file));
    let seen = watcher.pin(20, 1)?.to_vec();
    host.same("the watcher sees the change:", &seen, b"9")
}
