//! `parent-and-child`: father and son leave each other messages in a shared anonymous map
//! (text B).

use faultless_posix::{MapFlags, Pid};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "parent-and-child",
    summary: "a shared anonymous map from before fork lets parent and child talk",
    claims: &["A19", "B10", "B17", "B18", "E15"],
    rows: &[Row::Fork, Row::FourKinds],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("the parent maps memory and forks");
    stage.call(a, "parent");
    let at = stage.map_anonymous(a, 100, MapFlags::SHARED)?;
    let child = stage.fork_as(a, "child")?;
    let areas = [stage.area(a, at), stage.area(child, at)];
    let same = areas[0].map(|area| area.range) == areas[1].map(|area| area.range);
    stage.check("the child has the area at the same address", areas[0].is_some() && same)?;

    stage.step("the parent leaves a message, and the child reads it");
    stage.reads("the child", child, at, b"\0\0\0\0")?;
    stage.store(a, at, b"hi, this is father\0")?;
    let message = stage.text(child, at)?;
    stage.same("the child gets", message.as_bytes(), b"hi, this is father")?;
    let frames = [stage.frame_at(a, at), stage.frame_at(child, at)];
    stage.check("both entries name one frame", frames[0].is_some() && frames[0] == frames[1])?;

    stage.step("the child answers, unmaps, and ends");
    stage.store(child, at, b"hi, dad, this is son\0")?;
    stage.munmap(child, at, PAGE)?;
    stage.end(child);

    stage.step("the parent reads");
    let message = stage.text(a, at)?;
    stage.same("the parent gets", message.as_bytes(), b"hi, dad, this is son")?;

    stage.step("memory is short: the page leaves, and comes back with what it held");
    stage.evict(a, at)?;
    let message = stage.text(a, at)?;
    stage.same("the parent gets", message.as_bytes(), b"hi, dad, this is son")?;

    stage.step("the parent ends without munmap");
    stage.end(a);
    stage.equal("frames in use", stage.used(), 0)
}
