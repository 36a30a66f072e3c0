//! `copy-on-write`: after fork, variables are copies, made when one of both stores (text
//! B).

use faultless_posix::{MapFlags, Pid};

use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{PAGE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "copy-on-write",
    summary: "after fork, variables are inherited as copies, made at the first store",
    claims: &["A10", "B11", "E16"],
    rows: &[Row::CopyOnWrite, Row::Fork],
    frames: 16,
    software,
    linux: None,
};

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("the parent has a variable, and forks");
    stage.call(a, "parent");
    let at = stage.map_anonymous(a, PAGE, MapFlags::PRIVATE)?;
    stage.store(a, at, b"old")?;
    let child = stage.fork_as(a, "child")?;
    stage.reads("the child", child, at, b"old")?;
    let before = stage.frame_at(a, at);
    stage.equal("the child's frame is the parent's", stage.frame_at(child, at), before)?;
    let stores = stage.stores_pass(a, at) || stage.stores_pass(child, at);
    stage.check("W is clear in both entries: no store passes unseen", !stores)?;

    stage.step("the child stores: it gets a copy");
    stage.store(child, at, b"new")?;
    stage.reads("the child", child, at, b"new")?;
    stage.reads("the parent", a, at, b"old")?;
    stage.equal("the parent's frame is as before", stage.frame_at(a, at), before)?;
    stage.check("the child's is another", stage.frame_at(child, at) != before)?;

    stage.step("the parent stores: nobody else means the page any more, so no copy is made");
    stage.store(a, at, b"now")?;
    stage.equal("the parent's frame is as before", stage.frame_at(a, at), before)?;
    stage.equal("copies made in all", stage.engine().stats().faults_copy, 1)?;
    stage.reads("the child", child, at, b"new")
}
