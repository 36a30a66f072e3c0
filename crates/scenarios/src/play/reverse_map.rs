//! `reverse-map`: from a page to all who map it (text E).

use faultless_posix::{MapFlags, Pid};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "reverse-map",
    summary: "by a page all its addresses are found: when it leaves, it leaves all page tables",
    claims: &["B22", "B26", "E11"],
    rows: &[Row::ReverseMap],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("A maps a file twice, B and C once, at addresses of their own");
    let file = stage.file("/data", b"page");
    let b = stage.fork_as(a, "B")?;
    let c = stage.fork_as(a, "C")?;
    let mut maps = vec![(a, stage.map_file(a, file, PAGE, MapFlags::SHARED)?)];
    maps.push((a, stage.map_file(a, file, PAGE, MapFlags::PRIVATE)?));
    stage.map_anonymous(b, 3 * PAGE, MapFlags::PRIVATE)?;
    maps.push((b, stage.map_file(b, file, PAGE, MapFlags::SHARED)?));
    maps.push((c, stage.map_file(c, file, PAGE, MapFlags::SHARED)?));
    for (pid, at) in maps.clone() {
        stage.bytes(pid, at, 1)?;
    }
    let frames: Vec<_> = maps.iter().map(|(pid, at)| stage.frame_at(*pid, *at)).collect();
    let same = frames.iter().all(|frame| frame.is_some() && *frame == frames[0]);
    stage.check("the four entries name one frame", same)?;
    stage.equal("pages read", stage.io().files.read, 1)?;

    stage.step("the reverse map knows the four");
    let windows = stage.engine().windows(stage.object(file)).to_vec();
    let lines = windows
        .iter()
        .map(|it| format!("page {} at {:x} of space {}", it.pages.start.0, it.at.0, it.space.0));
    stage.show("reverse map", lines.collect());
    let found: Vec<_> = windows.iter().map(|it| (Pid(it.space.0), it.at.0)).collect();
    stage.check("they are those that were mapped", maps.iter().all(|map| found.contains(map)))?;
    stage.equal("so many are there", found.len(), maps.len())?;

    stage.step("memory is short: the page leaves, and with it all four entries");
    stage.evict(a, maps[0].1)?;
    let left = maps.iter().filter(|(pid, at)| stage.frame_at(*pid, *at).is_some()).count();
    stage.equal("entries that are left", left, 0)?;

    stage.step("an anonymous page that fork has shared: the same");
    let own = stage.map_anonymous(b, PAGE, MapFlags::PRIVATE)?;
    stage.store(b, own, b"own")?;
    let d = stage.fork_as(b, "D")?;
    stage.bytes(d, own, 1)?;
    stage.equal("one frame", stage.frame_at(d, own), stage.frame_at(b, own))?;
    stage.evict(b, own)?;
    stage.check("D's entry is gone, too", stage.frame_at(d, own).is_none())
}
