//! A driver that does at once what plans say, and what follows from that.

use std::vec::Vec;

use faultless_addr::*;

use crate::*;

/// How the write of a page ends.
pub type Written = core::result::Result<(), (Failure, i32)>;

/// Carries a plan out until nothing is left of it; everything succeeds. Answers what was done,
/// in order.
pub fn carry_out(engine: &mut Engine, plan: &mut Plan) -> Vec<&'static str> {
    carry_out_writing(engine, plan, |_, _, _| Ok(()))
}

/// As [`carry_out`], where `write` says how the write of each page ends: this one of this
/// object, in this frame.
pub fn carry_out_writing(
    engine: &mut Engine,
    plan: &mut Plan,
    mut write: impl FnMut(&Engine, PageKey, FrameNo) -> Written,
) -> Vec<&'static str> {
    let mut done = Vec::new();
    while !plan.is_empty() {
        let now = core::mem::take(plan);
        for leaver in &now.drop {
            engine.unmapped(leaver, Leave::Drop, plan);
            done.push("drop");
        }
        for leaver in &now.keep {
            engine.unmapped(leaver, Leave::Keep, plan);
            done.push("keep");
        }
        for op in &now.ops {
            done.push(match *op {
                Op::Write { run, .. } => {
                    write_run(engine, run, now.frames(run.frames), &mut write, plan);
                    "write"
                }
                op => carry_out_op(engine, &now, op, plan),
            });
        }
        engine.check_invariants();
    }
    done
}

fn carry_out_op(engine: &mut Engine, now: &Plan, op: Op, next: &mut Plan) -> &'static str {
    match op {
        Op::Read { run, source } => {
            engine.read_ended(run.first, now.frames(run.frames), ReadEnd::GOOD, next);
            match source {
                Source::Pager { .. } => "read",
                Source::Zeros => "zeros",
                Source::Given => "given",
            }
        }
        Op::Map { space, at, frames, write } => {
            engine.mapped(space, at, now.frames(frames), write, next);
            match write {
                WriteAccess::Allowed => "map writable",
                WriteAccess::Tracked => "map tracked",
                WriteAccess::Forbidden => "map read-only",
            }
        }
        Op::Grant { space, at, frames } => {
            engine.granted(space, at, now.frames(frames), next);
            "grant"
        }
        Op::Stop { space, at, frame } => {
            engine.stopped(space, at, frame, next);
            "stop"
        }
        Op::Copy { from, to, .. } => {
            engine.copied(from, to, next);
            "copy"
        }
        Op::Wake { .. } => "wake",
        Op::Protect { .. } => "protect",
        Op::StopRange { space, range } => {
            engine.range_stopped(space, range);
            "stop range"
        }
        Op::ClearAccessed { .. } => "clear accessed",
        other => panic!("{other:?}"),
    }
}

/// Together where all end well, else each page for itself.
fn write_run(
    engine: &mut Engine,
    run: Run,
    frames: &[FrameNo],
    write: &mut impl FnMut(&Engine, PageKey, FrameNo) -> Written,
    next: &mut Plan,
) {
    let page = |n| PageKey { object: run.object, page: run.first.plus(n as u64) };
    let ends = frames.iter().enumerate().map(|(n, no)| write(engine, page(n), *no));
    let ends: Vec<Written> = ends.collect();
    if ends.iter().all(Result::is_ok) {
        return engine.write_ended(run.object, run.first, frames, Ok(()), next);
    }
    for (n, end) in ends.into_iter().enumerate() {
        engine.write_ended(run.object, page(n).page, &frames[n..=n], end, next);
    }
}
