//! `watcher-private`: what is stored through a private map is seen by nobody else.

use faultless_posix::{MapFlags, Pid};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "watcher-private",
    summary: "a private writer changes a copy: neither the watcher nor the file sees it",
    claims: &["A10", "B16", "E14"],
    rows: &[Row::CopyOnWrite, Row::FourKinds],
    frames: 16,
    software,
    linux: None,
};

const TEXT: &[u8] = b"####################?\n";

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("A maps a file shared, and B the same file privately; both look at it");
    let file = stage.file("/data", TEXT);
    let b = stage.fork_as(a, "B")?;
    let len = TEXT.len() as u64;
    let seen = stage.map_file(a, file, len, MapFlags::SHARED)?;
    let own = stage.map_file(b, file, len, MapFlags::PRIVATE)?;
    stage.touch(a, seen, 0..1)?;
    stage.touch(b, own, 0..1)?;
    let frames = [stage.frame_at(a, seen), stage.frame_at(b, own)];
    stage.check("both see the same frame", frames[0].is_some() && frames[0] == frames[1])?;

    stage.step("B stores a 9");
    stage.store(b, own + 20, b"9")?;
    let (before, now) = (frames[1], stage.frame_at(b, own));
    stage.check("B has another frame now, a copy", now.is_some() && now != before)?;
    stage.reads("A", a, seen + 20, b"?")?;
    stage.reads("B", b, own + 20, b"9")?;
    let copies = stage.engine().stats().faults_copy;
    stage.equal("copies made", copies, 1)?;

    stage.step("B syncs its map; then all that is dirty is written");
    stage.msync(b, own, PAGE, faultless_posix::SyncFlags::SYNC)?;
    stage.sync_all();
    let stored = stage.disk(file, 20, 1);
    stage.same("on the disk there is", &stored, b"?")?;
    stage.equal("pages written", stage.io().files.written, 0)?;

    stage.step("memory is short: B's copy leaves to swap, and comes back");
    while stage.frame_at(b, own).is_some() {
        stage.press(1);
    }
    let slots = stage.engine().stats().swap_slots_used;
    stage.equal("slots in use", slots, 1)?;
    stage.reads("B", b, own + 20, b"9")
}
