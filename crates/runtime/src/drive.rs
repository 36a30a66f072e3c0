//! Carrying plans out.
//!
//! A worker does what a plan says with no lock held, then reports everything under
//! one taking of the engine's lock; what the engine says next is the next plan.
//! Reads and writes go to the worker's queue and are reported when they have ended.

use std::io;

use faultless_addr::{
    Access, FrameNo, ObjectId, PAGE_BYTES, PAGE_SIZE, PageIndex, SpaceId, VirtAddr, VirtRange,
    WriteAccess,
};
use faultless_engine::{Engine, Failure, Leaver, Op, Plan, Pressure, ReadEnd, Run, Source};
use faultless_machine::{Buffer, Machine, Stores, Then};
use faultless_pager::{Direction, Shrunk};
use faultless_sys::ring::RingUser;

use crate::core::{Core, Rings};
use crate::handoff::HandedOff;
use crate::io::{Buffers, Frames, Io, Job, copy_page, fill, zero};
use crate::lock::assert_none_held;
use crate::say::say;

/// What is done with the reads of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// All are started at once.
    Queue,
    /// The first is carried out here and now, which is quickest for one; handlers
    /// are given the rest, which nobody waits for.
    FirstHere,
    /// Handlers are given all.
    HandOff,
}

/// An access that a thread serves for itself.
#[derive(Clone, Copy, Debug)]
pub struct Awaited {
    pub space: SpaceId,
    pub at: VirtAddr,
    pub access: Access,
}

impl Awaited {
    /// Can the access be tried again once `op` has been carried out?
    fn is_served_by(&self, plan: &Plan, op: &Op) -> bool {
        let (space, at, frames, stores) = match *op {
            Op::Map { space, at, frames, write } => {
                (space, at, frames, write == WriteAccess::Allowed)
            }
            Op::Grant { space, at, frames } => (space, at, frames, true),
            _ => return false,
        };
        space == self.space
            && pages_at(at, plan.frames(frames).len()).contains(self.at)
            && (stores || self.access != Access::Write)
    }
}

/// What a thread needs to carry plans out; kept for the next thread.
pub struct Worker {
    pub plan: Plan,
    /// Until it has been served.
    pub awaited: Option<Awaited>,
    /// How short frames were when reads ended, or something but reads was carried out, last.
    pub pressure: Pressure,
    next: Plan,
    pub io: Io,
    ended: Vec<(Job, io::Result<u64>)>,
    moves: Vec<(VirtAddr, FrameNo)>,
    /// Frames that could not leave their addresses.
    stayed: Vec<FrameNo>,
    /// For each operation that writes, its object's length in bytes.
    sizes: Vec<u64>,
    /// What pages begin with that are pinned to be stored over.
    pub given: Given,
}

/// Bytes of pages that need no reading, for they are about to be stored.
pub struct Given {
    pub first: PageIndex,
    pub bytes: Vec<u8>,
}

impl Given {
    pub const NOTHING: Given = Given { first: PageIndex(0), bytes: Vec::new() };

    /// The bytes of a page and of those behind it.
    fn from(&self, page: PageIndex) -> &[u8] {
        let skip = (page.0 - self.first.0) * PAGE_BYTES;
        self.bytes.get(skip as usize..).unwrap_or_default()
    }
}

impl Worker {
    pub fn new(rings: Rings, user: RingUser) -> Worker {
        Worker {
            plan: Plan::new(),
            awaited: None,
            pressure: Pressure::None,
            next: Plan::new(),
            io: Io::new(rings, user),
            ended: Vec::new(),
            moves: Vec::new(),
            stayed: Vec::new(),
            sizes: Vec::new(),
            given: Given::NOTHING,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.plan.is_empty() && self.io.in_flight() == 0
    }
}

/// An operation of the machine that has no answer but to stop: the kernel refused
/// to change a translation, so what programs see can't be kept right.
fn must(what: &str, result: io::Result<()>) {
    if let Err(error) = result {
        say(format_args!("the kernel refused to {what}: {error}; stopping before data is lost"));
        std::process::abort();
    }
}

impl<M: Machine> Core<M> {
    /// Carries out `worker.plan` and the plans that follow. Started reads and writes
    /// may still be under way afterwards, or gathered: whoever neither waits for them
    /// nor starts more tells the kernel ([`Io::flush`]).
    pub(crate) fn carry_out(&self, worker: &mut Worker, mut reads: Reads) {
        assert_none_held();
        while !worker.plan.is_empty() {
            self.carry_out_one(worker, &mut reads);
            worker.plan.clear();
            std::mem::swap(&mut worker.plan, &mut worker.next);
        }
    }

    fn carry_out_one(&self, worker: &mut Worker, reads: &mut Reads) {
        let Worker { plan, next, io, moves, stayed, sizes, awaited, pressure, given, .. } = worker;
        stayed.clear();
        self.wake(plan.wakes);
        self.unmap(&mut plan.drop, |_| Then::Drop, moves, stayed);
        self.stop_before_leaving(&plan.keep);
        self.unmap(&mut plan.keep, keep, moves, stayed);
        for op in &plan.ops {
            self.carry_out_op(plan, *op);
        }
        sizes.clear();
        // Reads are reported when they have ended.
        if !plan.only_reads() {
            let mut engine = self.engine.lock();
            engine.carried_out(plan, stayed, next);
            *pressure = engine.pressure();
            sizes.extend(plan.ops.iter().filter_map(|op| match op {
                Op::Write { run, .. } => Some(engine.size(run.object)),
                _ => None,
            }));
        }
        if awaited.is_some_and(|it| plan.ops.iter().any(|op| it.is_served_by(plan, op))) {
            *awaited = None;
        }
        let mut sizes = sizes.iter();
        for op in &plan.ops {
            match *op {
                Op::Write { run, mapped, .. } => {
                    let size = *sizes.next().expect("a size for each write");
                    self.start_write(plan, (run, size), mapped, io);
                }
                Op::Read { run, source: Source::Pager { size } } => {
                    self.start_read(plan, (run, size), io, reads);
                }
                Op::Read { run, source: Source::Zeros } => self.fill_here(plan, run, &[], next),
                Op::Read { run, source: Source::Given } => {
                    self.fill_here(plan, run, given.from(run.first), next);
                }
                _ => {}
            }
        }
        self.report_ended(worker, 0);
    }

    /// Where a page leaves all its addresses with the first, no store may pass at another.
    fn stop_before_leaving(&self, leavers: &[Leaver]) {
        if !self.machine.leaves_at_once() {
            return;
        }
        for leaver in leavers.iter().filter(|leaver| leaver.writable) {
            let page = pages_at(leaver.at, 1);
            let stopped = self.machine.set_write(leaver.space, page, WriteAccess::Tracked);
            must("stop writes", stopped);
        }
    }

    fn unmap(
        &self,
        leavers: &mut [Leaver],
        then: fn(&Leaver) -> Then,
        moves: &mut Vec<(VirtAddr, FrameNo)>,
        stayed: &mut Vec<FrameNo>,
    ) {
        // Neighbours leave by one call.
        let kind = |leaver: &Leaver| (leaver.space, then(leaver) == Then::Keep(Stores::Pass));
        leavers.sort_unstable_by_key(|leaver| (kind(leaver), leaver.at));
        for group in leavers.chunk_by(|a, b| kind(a) == kind(b)) {
            moves.clear();
            moves.extend(group.iter().map(|leaver| (leaver.at, leaver.frame)));
            let mut rest = &moves[..];
            while !rest.is_empty() {
                match self.machine.unmap(group[0].space, rest, then(&group[0])) {
                    Ok(done) if done < rest.len() => {
                        stayed.push(rest[done].1);
                        rest = &rest[done + 1..];
                    }
                    Ok(_) => break,
                    Err(error) => must("unmap pages", Err(error)),
                }
            }
        }
    }

    /// Operations that are over when the call returns.
    fn carry_out_op(&self, plan: &Plan, op: Op) {
        match op {
            Op::Map { space, at, frames, write } => {
                let frames = plan.frames(frames);
                must("map pages", self.machine.map(space, at, frames, write));
            }
            Op::Grant { space, at, frames } => {
                let range = pages_at(at, plan.frames(frames).len());
                must("allow writes", self.machine.set_write(space, range, WriteAccess::Allowed));
            }
            Op::Protect { space, at } | Op::Stop { space, at, .. } => {
                let range = pages_at(at, 1);
                must("stop writes", self.machine.set_write(space, range, WriteAccess::Tracked));
            }
            Op::ClearAccessed { .. } => unreachable!("no machine with such bits is driven here"),
            Op::Copy { from, mapped, to } => self.copy(from, mapped, to),
            Op::Poison { space, at, .. } => {
                must("mark a page", self.machine.poison(space, pages_at(at, 1)));
            }
            Op::Heal { space, range } => must("unmark pages", self.machine.heal(space, range)),
            Op::Wake { space, range } => self.machine.wake(space, range),
            Op::StopRange { space, range } => {
                must("stop writes", self.machine.set_write(space, range, WriteAccess::Tracked));
            }
            Op::Write { mapped: Some((space, at)), run, stopped: false } => {
                let range = pages_at(at, plan.frames(run.frames).len());
                must("stop writes", self.machine.set_write(space, range, WriteAccess::Tracked));
            }
            Op::Read { .. } | Op::Write { .. } => {}
        }
    }

    /// Copies a frame, wherever it is, to one that is empty.
    fn copy(&self, from: FrameNo, mapped: Option<(SpaceId, VirtAddr)>, to: FrameNo) {
        self.machine.release(&[to]);
        must("provide memory", self.machine.back(&[to]));
        let from = match mapped {
            Some((space, at)) => self.machine.mapped(space, at, from),
            None => self.machine.buffer(from),
        };
        copy_page(from, self.machine.buffer(to));
    }

    fn start_write(
        &self,
        plan: &Plan,
        (run, size): (Run, u64),
        mapped: Option<(SpaceId, VirtAddr)>,
        io: &mut Io,
    ) {
        let frames = plan.frames(run.frames);
        let buffers = match mapped {
            Some((space, at)) => joined(
                (0..)
                    .zip(frames)
                    .map(|(n, frame)| self.machine.mapped(space, at.plus_pages(n), *frame)),
            ),
            None => self.aside(frames),
        };
        let bytes = size.saturating_sub(run.first.offset()).min(run.frames.len() * PAGE_BYTES);
        let job = Job {
            direction: Direction::Write,
            object: run.object,
            first: run.first,
            frames: Frames::from_slice(frames),
            pager: self.pager(run.object),
            buffers,
            bytes,
        };
        // A write of the ring would make a file that was cut long again; the pager's
        // own doesn't.
        match job.pager.size() {
            Ok(now) if now < run.first.offset() + bytes => io.run_here(job),
            _ => io.start(job),
        }
    }

    /// With bytes, and with zeros behind them.
    fn fill_here(&self, plan: &Plan, run: Run, bytes: &[u8], next: &mut Plan) {
        let frames = plan.frames(run.frames);
        self.machine.release(frames);
        must("provide memory", self.machine.back(frames));
        let buffers = self.aside(frames);
        fill(&buffers, bytes);
        zero(&buffers, bytes.len() as u64);
        let mut engine = self.engine.lock();
        engine.read_ended(run.first, frames, ReadEnd::GOOD, next);
    }

    fn start_read(&self, plan: &Plan, (run, size): (Run, u64), io: &mut Io, reads: &mut Reads) {
        let frames = plan.frames(run.frames);
        match *reads {
            Reads::Queue => io.start(self.read_job(run.object, run.first, frames, size)),
            Reads::FirstHere => {
                io.run_here(self.read_job(run.object, run.first, frames, size));
                // From here on nobody waits for what is read.
                *reads = Reads::HandOff;
            }
            Reads::HandOff => {
                let frames = Frames::from_slice(frames);
                let job = HandedOff { object: run.object, first: run.first, frames };
                self.handoff.push(job);
                self.handler_bells[run.first.0 as usize % self.handler_bells.len()].signal();
            }
        }
    }

    /// Starts the reads that others have handed off; returns how many.
    pub(crate) fn take_handed_off(&self, worker: &mut Worker) -> usize {
        let mut taken = 0;
        while worker.io.in_flight() < 32 {
            let Some(job) = self.handoff.pop() else { break };
            let size = self.engine.lock().size(job.object);
            worker.io.start(self.read_job(job.object, job.first, &job.frames, size));
            taken += 1;
        }
        taken
    }

    /// Gives frames memory and describes the read into them.
    fn read_job(&self, object: ObjectId, first: PageIndex, frames: &[FrameNo], size: u64) -> Job {
        self.machine.release(frames);
        must("provide memory", self.machine.back(frames));
        let bytes = size.saturating_sub(first.offset()).min(frames.len() as u64 * PAGE_BYTES);
        Job {
            direction: Direction::Read,
            object,
            first,
            frames: Frames::from_slice(frames),
            pager: self.pager(object),
            buffers: self.aside(frames),
            bytes,
        }
    }

    /// Where frames that are aside are, neighbours as one.
    fn aside(&self, frames: &[FrameNo]) -> Buffers {
        joined(frames.iter().map(|frame| self.machine.buffer(*frame)))
    }

    /// Waits for the worker's reads and writes and goes on with what follows, until
    /// nothing is under way.
    pub(crate) fn finish(&self, worker: &mut Worker) {
        loop {
            self.carry_out(worker, Reads::Queue);
            if worker.io.in_flight() == 0 {
                return;
            }
            worker.io.wait_for_end();
            self.report_ended(worker, usize::MAX);
            std::mem::swap(&mut worker.plan, &mut worker.next);
        }
    }

    /// Takes the steps of a verb, each with what follows from it, until there is none:
    /// a step answers a frame that has to settle before the next.
    pub(crate) fn finish_steps(
        &self,
        worker: &mut Worker,
        mut step: impl FnMut(&mut Engine, &mut Plan) -> Option<FrameNo>,
    ) {
        loop {
            let mut engine = self.engine.lock();
            let Some(no) = step(&mut engine, &mut worker.plan) else { break };
            if worker.plan.is_empty() {
                drop(self.wait_settled(engine, no));
                continue;
            }
            drop(engine);
            self.finish(worker);
        }
        self.finish(worker);
    }

    /// Reports jobs that have ended, without waiting, of those that the kernel worked on at
    /// most `most`; what follows is added to the plan. Answers whether pages have come.
    pub(crate) fn reap(&self, worker: &mut Worker, most: usize) -> bool {
        debug_assert!(worker.plan.is_empty());
        let come = self.report_ended(worker, most);
        std::mem::swap(&mut worker.plan, &mut worker.next);
        come
    }

    fn report_ended(&self, worker: &mut Worker, most: usize) -> bool {
        let Worker { next, io, ended, pressure, .. } = worker;
        io.ended(most, ended);
        // Those that went well, which are nearly all, under one taking of the lock.
        let went_well = |(job, result): &(Job, io::Result<u64>)| {
            let whole = result.as_ref().is_ok_and(|bytes| *bytes >= job.bytes);
            whole && job.direction == Direction::Read
        };
        for (job, _) in ended.iter().filter(|end| went_well(end)) {
            zero(&job.buffers, job.bytes);
        }
        let come = ended.iter().any(went_well);
        if come {
            let mut engine = self.engine.lock();
            for (job, _) in ended.iter().filter(|end| went_well(end)) {
                engine.read_ended(job.first, &job.frames, ReadEnd::GOOD, next);
            }
            *pressure = engine.pressure();
        }
        ended.retain(|end| !went_well(end));
        for (job, result) in ended.drain(..) {
            match job.direction {
                Direction::Read => self.read_again(&job, next),
                Direction::Write => self.report_write(&job, result, next),
            }
        }
        come
    }

    /// A read came up short or failed: page by page, to tell the good from the bad.
    fn read_again(&self, job: &Job, next: &mut Plan) {
        let look = self.engine.lock().begin_look(job.object);
        let size = job.pager.size();
        for (n, frame) in job.frames.iter().enumerate() {
            let page = job.first.plus(n as u64);
            let bytes = match &size {
                Ok(size) => size.saturating_sub(page.offset()).min(PAGE_BYTES),
                Err(_) => PAGE_BYTES,
            };
            let end = match job.run_page_here(n) {
                _ if bytes == 0 => ReadEnd { good: 0, failure: Failure::Shrunk, errno: libc::EIO },
                Ok(read) if read >= bytes.min(job.bytes.saturating_sub(n as u64 * PAGE_BYTES)) => {
                    job.zero_page_tail(n, read);
                    ReadEnd::GOOD
                }
                Ok(_) => ReadEnd { good: 0, failure: Failure::Read, errno: libc::EIO },
                Err(error) => ReadEnd { good: 0, failure: Failure::Read, errno: errno_of(&error) },
            };
            self.engine.lock().read_ended(page, &[*frame], end, next);
        }
        if let Ok(size) = size {
            self.size_seen(job.object, &job.pager, (look, size), next);
        }
    }

    fn report_write(&self, job: &Job, result: io::Result<u64>, next: &mut Plan) {
        let result = match result {
            Ok(bytes) if bytes >= job.bytes => Ok(()),
            // A short or refused write of the ring: the pager knows how to go on.
            Ok(_) => job.run_here().map(drop),
            Err(error) if errno_of(&error) == libc::EINVAL => job.run_here().map(drop),
            Err(error) => Err(error),
        };
        if !result.as_ref().is_err_and(is_full) {
            return self.page_run_written(job, job.first, &job.frames, result, next);
        }
        if self.is_swap(job.object) {
            self.make_room_for(job);
        }
        // Where a run finds no room, some of its pages may: those that have theirs already.
        for (n, frame) in job.frames.iter().enumerate() {
            let result = job.run_page_here(n).map(drop);
            self.page_run_written(job, job.first.plus(n as u64), &[*frame], result, next);
        }
    }

    fn page_run_written(
        &self,
        job: &Job,
        first: PageIndex,
        frames: &[FrameNo],
        result: io::Result<()>,
        next: &mut Plan,
    ) {
        let result = result.map_err(|error| match Shrunk::of(&error) {
            Some(_) => (Failure::Shrunk, libc::EIO),
            None => (Failure::Write, errno_of(&error)),
        });
        let shrunk = matches!(result, Err((Failure::Shrunk, _)));
        let seen = if shrunk { self.look(job.object, &job.pager) } else { None };
        self.engine.lock().write_ended(job.object, first, frames, result, next);
        if let Some(seen) = seen {
            self.size_seen(job.object, &job.pager, seen, next);
        }
    }
}

/// Is there no room for what was to be written?
fn is_full(error: &io::Error) -> bool {
    [libc::ENOSPC, libc::EDQUOT].contains(&errno_of(error))
}

/// Buffers in order, those that follow each other as one.
fn joined(pages: impl Iterator<Item = Buffer>) -> Buffers {
    let mut buffers = Buffers::new();
    for page in pages {
        match buffers.last_mut() {
            Some(last) if last.start.wrapping_add(last.len) == page.start => last.len += page.len,
            _ => buffers.push(page),
        }
    }
    buffers
}

fn keep(leaver: &Leaver) -> Then {
    Then::Keep(if leaver.writable { Stores::Pass } else { Stores::Stopped })
}

fn pages_at(at: VirtAddr, count: usize) -> VirtRange {
    VirtRange::from_len(at, (count * PAGE_SIZE) as u64).expect("a range of an arena")
}

pub(crate) fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}
