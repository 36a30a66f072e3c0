//! `one-page-driver-nopage`: the same driver, which is asked for its page at the fault.

use faultless_posix::{MapFlags, Pid, Trouble};

use crate::drivers::{How, OnePage};
use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "one-page-driver-nopage",
    summary: "a driver is asked for its page when that is touched; it has one only",
    claims: &["B12", "B21"],
    rows: &[Row::Driver, Row::Nopage],
    frames: 8,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("a program maps two pages of a driver that has one");
    let node = stage.device("/dev/mymap", 1, OnePage(How::Nopage));
    let at = stage.map_file(a, node, 2 * PAGE, MapFlags::SHARED)?;
    stage.check("there is no entry yet", stage.frame_at(a, at).is_none())?;

    stage.step("it prints ten bytes: a fault, for which the driver names its page");
    let printed = stage.bytes(a, at, 10)?;
    stage.equal("it prints", printed, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])?;
    let faults = stage.machine().stats().faults;
    stage.equal("page faults until now", faults, 1)?;
    stage.check("now there is an entry", stage.frame_at(a, at).is_some())?;

    stage.step("it touches the second page, which the driver doesn't have");
    let access = stage.bytes(a, at + PAGE, 1);
    stage.ends("the program", access, Trouble::Bus, at + PAGE)?;

    stage.step("another process maps it, too: a fault of its own, the same frame");
    let b = stage.fork_as(a, "B")?;
    let second = stage.map_file(b, node, PAGE, MapFlags::SHARED)?;
    stage.reads("B", b, second, &[0, 1, 2])?;
    let frames = [stage.frame_at(a, at), stage.frame_at(b, second)];
    stage.check("both entries name one frame", frames[0].is_some() && frames[0] == frames[1])
}
