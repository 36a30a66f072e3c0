//! `copy-on-write`: after fork, variables are copies, made when one of both stores (text
//! B).

use faultless_posix::{MapFlags, Pid};
use faultless_sys::child::Child;

use crate::linux::Host;
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
    linux: Some(linux),
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

/// Real processes; memory of four budgets, so that most of it is in swap at the fork.
fn linux(host: &mut Host) -> Played {
    host.step("the parent has a variable and 4 MiB beside it, and forks");
    let mut memory = host.vm.anonymous(4 << 20)?;
    for (page, bytes) in memory.chunks_mut(4096).enumerate() {
        bytes[..8].copy_from_slice(&page.to_le_bytes());
    }
    memory[100..103].copy_from_slice(b"old");
    let at = memory.as_ptr();
    let sum = |memory: &[u8]| -> usize {
        let numbers = memory.chunks(4096).map(|page| page[..8].try_into().expect("8 bytes"));
        numbers.map(usize::from_le_bytes).sum()
    };
    let sums: usize = 1023 * 1024 / 2;
    let mut child = Child::fork(|parent| {
        parent.say(&(memory.as_ptr() as usize).to_le_bytes())?;
        parent.say(&memory[100..103])?;
        parent.hear()?;
        memory[100..103].copy_from_slice(b"new");
        parent.say(&memory[100..103])?;
        parent.hear()?;
        parent.say(&memory[100..103])?;
        parent.say(&sum(&memory).to_le_bytes())
    })?;
    let there = child.talk().hear()?;
    host.same("the child's address is the parent's", &there, &(at as usize).to_le_bytes())?;
    let seen = child.talk().hear()?;
    host.same("the child sees", &seen, b"old")?;

    host.step("the child stores: it gets a copy");
    child.talk().say(b"store")?;
    let seen = child.talk().hear()?;
    host.same("the child sees", &seen, b"new")?;
    host.same("the parent sees", &memory[100..103], b"old")?;

    host.step("the parent stores to all of it");
    memory.fill(0);
    memory[100..103].copy_from_slice(b"now");
    child.talk().say(b"look")?;
    let seen = child.talk().hear()?;
    host.same("the child sees", &seen, b"new")?;
    let seen = child.talk().hear()?;
    host.same("the child's numbers add up to what they did", &seen, &sums.to_le_bytes())?;
    child.end()?;
    host.equal("the parent's add up to", sum(&memory), 0)?;
    host.same("and it sees", &memory[100..103], b"now")
}
