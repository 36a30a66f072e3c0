//! Carrying plans out as the runtime does on Linux: what a plan says is done step by
//! step with no lock held, other threads' steps between, and then reported all at once.
//!
//! ```text
//!   lock: engine ──► plan │ drop … keep … ops …  │ lock: report ──► plan │ reads, writes …
//!                         └─ others run between ─┘
//! ```
//!
//! Only at a pause do others run, so that everything between two pauses is under the
//! lock, or is one step of the machine.

use std::rc::Rc;

use faultless_addr::Access;
use faultless_addr::{FrameNo, ObjectId, PageIndex, VirtAddr, WriteAccess};
use faultless_engine::{
    Engine, Leaver, Op, Outcome, Plan, ReadEnd, Run, Scope, Signal, Source, Waiter,
};
use faultless_machine::{Stores, Then};

use super::schedule::{Sleep, pause};
use super::{SPACE, Shared, State};

/// What is done with the reads of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// All are started at once.
    Queue,
    /// The first is carried out here and now, handlers are given the rest.
    FirstHere,
    /// Handlers are given all.
    HandOff,
}

/// A read or a write under way.
pub struct Job {
    kind: JobKind,
    object: ObjectId,
    first: PageIndex,
    frames: Vec<FrameNo>,
}

enum JobKind {
    Read,
    /// What is written.
    Write(Vec<Vec<u8>>),
}

/// Pages that a handler is to read.
pub struct HandedOff {
    object: ObjectId,
    first: PageIndex,
    frames: Vec<FrameNo>,
}

/// A thread, and what it is about to do.
pub struct Worker {
    shared: Rc<Shared>,
    number: usize,
    plan: Plan,
    next: Plan,
    jobs: Vec<Job>,
}

impl Worker {
    pub fn new(shared: &Rc<Shared>) -> Worker {
        let number = shared.with(|state| state.sleepers.add());
        let (plan, next) = (Plan::new(), Plan::new());
        Worker { shared: shared.clone(), number, plan, next, jobs: Vec::new() }
    }

    /// What all share, up to the next pause.
    pub fn with<R>(&self, call: impl FnOnce(&mut State) -> R) -> R {
        self.shared.with(call)
    }

    /// Calls the engine, whose plan is to be carried out.
    pub fn plan<R>(&mut self, call: impl FnOnce(&mut Engine, &mut Plan) -> R) -> R {
        let Worker { shared, plan, .. } = self;
        shared.with(|state| call(&mut state.engine, plan))
    }

    fn report(&mut self, call: impl FnOnce(&mut Engine, &mut Plan)) {
        let Worker { shared, next, .. } = self;
        shared.with(|state| call(&mut state.engine, next));
    }

    pub fn number(&self) -> usize {
        self.number
    }

    pub async fn sleep(&self, sleep: Sleep) {
        self.with(|state| state.sleepers.sleep(self.number, sleep));
        pause().await;
    }

    /// Serves an access that was not translated, as inline delivery does.
    pub async fn serve(&mut self, at: VirtAddr, access: Access) -> Option<Signal> {
        let served = self.serve_fault(at, access).await;
        self.make_up().await;
        served
    }

    async fn serve_fault(&mut self, at: VirtAddr, access: Access) -> Option<Signal> {
        let mut waiter = Waiter::Caller;
        for _ in 0..10_000 {
            let outcome = self.plan(|engine, plan| engine.fault(SPACE, at, access, waiter, plan));
            if let Outcome::Waiting(no) = outcome {
                waiter = Waiter::Again;
                if self.plan.is_empty() {
                    self.sleep(Sleep::until_settled(no)).await;
                    continue;
                }
            }
            let reads = match outcome {
                Outcome::Waiting(no) if self.plan.reads_first(no) => Reads::FirstHere,
                _ => Reads::HandOff,
            };
            self.carry_out(reads).await;
            self.finish().await;
            match outcome {
                Outcome::Resolved => return None,
                Outcome::Waiting(_) => {}
                Outcome::Signal(signal) => return Some(signal),
                Outcome::NoFrame(scope) => self.make_room(scope).await,
            }
        }
        panic!("a fault at {at:?} is never served");
    }

    /// Gets some frames free, or waits a moment.
    async fn make_room(&mut self, scope: Scope) {
        self.plan(|engine, plan| {
            let target = (engine.stats().frames_total as u32 / 16).clamp(1, 64);
            engine.reclaim(scope, target, plan);
        });
        match self.plan.is_empty() {
            true => pause().await,
            false => self.finish().await,
        }
    }

    async fn make_up(&mut self) {
        self.reclaim_shortage();
        self.finish().await;
    }

    pub fn reclaim_shortage(&mut self) {
        self.plan(|engine, plan| {
            let shortage = engine.shortage().min(64);
            if shortage > 0 {
                engine.reclaim(Scope::All, shortage, plan);
            }
        });
    }

    /// Takes the steps of a verb until there is none.
    pub async fn finish_steps(&mut self, step: impl Fn(&mut Engine, &mut Plan) -> Option<FrameNo>) {
        while let Some(no) = self.plan(&step) {
            match self.plan.is_empty() {
                true => self.sleep(Sleep::until_settled(no)).await,
                false => self.finish().await,
            }
        }
        self.finish().await;
    }

    /// Carries out the plan and those that follow. Jobs may be under way afterwards.
    pub async fn carry_out(&mut self, mut reads: Reads) {
        while !self.plan.is_empty() {
            self.carry_out_one(&mut reads).await;
            self.plan.clear();
            std::mem::swap(&mut self.plan, &mut self.next);
        }
    }

    /// Goes on until nothing of the thread's is under way.
    pub async fn finish(&mut self) {
        loop {
            self.carry_out(Reads::Queue).await;
            if !self.end_a_job().await {
                return;
            }
            std::mem::swap(&mut self.plan, &mut self.next);
        }
    }

    async fn carry_out_one(&mut self, reads: &mut Reads) {
        let mut plan = std::mem::take(&mut self.plan);
        self.with(|state| state.sleepers.wake(plan.wakes));
        plan.drop.sort_unstable_by_key(|it| (it.space, it.at));
        plan.keep.sort_unstable_by_key(|it| (it.writable, it.at));
        for leaver in &plan.drop {
            self.take_away(leaver).await;
        }
        let mut stayed = Vec::new();
        for leaver in &plan.keep {
            if !self.take_aside(leaver).await {
                stayed.push(leaver.frame);
            }
        }
        for op in &plan.ops {
            self.carry_out_op(&plan, *op).await;
        }
        self.report(|engine, next| engine.carried_out(&plan, &stayed, next));
        pause().await;
        for op in &plan.ops {
            match *op {
                Op::Write { run, .. } => {
                    self.start_write(run.object, run.first, plan.frames(run.frames))
                }
                Op::Read { run, source } => {
                    self.start_read(run, plan.frames(run.frames), source, reads).await;
                }
                _ => {}
            }
        }
        if self.with(|state| state.rng.bool()) {
            self.end_a_job().await;
        }
        self.plan = plan;
    }

    /// The page goes, and its bytes with it.
    async fn take_away(&mut self, leaver: &Leaver) {
        self.with(|state| {
            state.check_drop(leaver);
            state.unmap(leaver, Then::Drop);
        });
        pause().await;
    }

    /// The page goes and its bytes stay. Where stores may pass until it goes, it is moved,
    /// which fails while somebody holds it. Else it may be copied before it goes.
    async fn take_aside(&mut self, leaver: &Leaver) -> bool {
        if leaver.writable {
            let held = self.with(|state| state.rng.u32(..16) == 0);
            if held {
                self.with(|state| state.tally.note("thread: page stays"));
            } else {
                self.with(|state| state.unmap(leaver, Then::Keep(Stores::Pass)));
            }
            pause().await;
            return !held;
        }
        let copied = self.with(|state| state.bytes_of(leaver.frame));
        pause().await;
        self.with(|state| {
            let now = state.bytes_of(leaver.frame);
            assert_eq!(now, copied, "{leaver:?}: a store passed while it was copied aside");
            state.unmap(leaver, Then::Keep(Stores::Stopped));
        });
        pause().await;
        true
    }

    async fn carry_out_op(&mut self, plan: &Plan, op: Op) {
        match op {
            Op::Map { space, at, frames, write } => {
                for (n, frame) in plan.frames(frames).iter().enumerate() {
                    self.with(|state| state.map(space, at.plus_pages(n as u64), *frame, write));
                    pause().await;
                }
            }
            Op::Grant { space, at, frames } => {
                for n in 0..plan.frames(frames).len() as u64 {
                    self.with(|state| {
                        state.set_write(space, at.plus_pages(n), WriteAccess::Allowed)
                    });
                    pause().await;
                }
            }
            Op::Protect { space, at } | Op::Stop { space, at, .. } => {
                self.with(|state| state.set_write(space, at, WriteAccess::Tracked));
                pause().await;
            }
            Op::StopRange { space, range } => {
                self.with(|state| state.stop_range(space, range));
                pause().await;
            }
            Op::Write { mapped: Some((space, at)), run, stopped: false } => {
                for n in 0..run.frames.len() {
                    self.with(|state| {
                        state.set_write(space, at.plus_pages(n), WriteAccess::Tracked)
                    });
                    pause().await;
                }
            }
            Op::Copy { from, to, .. } => {
                self.with(|state| {
                    state.back(&[to]);
                    state.machine.copy_frame(from, to);
                });
                pause().await;
            }
            Op::Read { .. } | Op::Write { .. } | Op::Wake { .. } => {}
            Op::Poison { .. } | Op::Heal { .. } => unreachable!("nobody is held: {op:?}"),
            Op::ClearAccessed { .. } => unreachable!("there are no such bits"),
        }
    }

    fn start_write(&mut self, object: ObjectId, first: PageIndex, frames: &[FrameNo]) {
        let bytes = self.with(|state| frames.iter().map(|it| state.bytes_of(*it)).collect());
        let (kind, frames) = (JobKind::Write(bytes), frames.to_vec());
        self.jobs.push(Job { kind, object, first, frames });
    }

    async fn start_read(
        &mut self,
        run: Run,
        frames: &[FrameNo],
        source: Source,
        reads: &mut Reads,
    ) {
        if source == Source::Zeros {
            self.with(|state| state.back(frames));
            pause().await;
            self.with(|state| frames.iter().for_each(|it| state.machine.zero_frame(*it)));
            return self
                .report(|engine, next| engine.read_ended(run.first, frames, ReadEnd::GOOD, next));
        }
        let (object, first) = (run.object, run.first);
        match *reads {
            Reads::Queue => self.start_job(HandedOff { object, first, frames: frames.to_vec() }),
            Reads::FirstHere => {
                self.start_job(HandedOff { object, first, frames: frames.to_vec() });
                pause().await;
                let job = self.jobs.pop().expect("it was pushed");
                self.end_job(job);
                *reads = Reads::HandOff;
            }
            Reads::HandOff => self.with(|state| {
                state.handoff.push_back(HandedOff { object, first, frames: frames.to_vec() });
                state.sleepers.ring();
            }),
        }
    }

    /// Gives frames memory, and begins to read into them.
    fn start_job(&mut self, HandedOff { object, first, frames }: HandedOff) {
        self.with(|state| state.back(&frames));
        self.jobs.push(Job { kind: JobKind::Read, object, first, frames });
    }

    /// Starts what others have handed off; answers whether there was something.
    pub fn take_handed_off(&mut self) -> bool {
        let handed = self.with(|state| state.handoff.pop_front());
        let any = handed.is_some();
        handed.into_iter().for_each(|job| self.start_job(job));
        any
    }

    /// Is there something to be carried out?
    pub fn has_plan(&self) -> bool {
        !self.plan.is_empty()
    }

    /// Some job ends, some time later; answers whether there was one. What follows is the
    /// next plan.
    pub async fn end_a_job(&mut self) -> bool {
        if self.jobs.is_empty() {
            return false;
        }
        pause().await;
        let n = self.with(|state| state.rng.usize(..self.jobs.len()));
        let job = self.jobs.swap_remove(n);
        self.end_job(job);
        true
    }

    /// What has ended is to be gone on with.
    pub fn reap(&mut self) {
        std::mem::swap(&mut self.plan, &mut self.next);
    }

    fn end_job(&mut self, job: Job) {
        let Job { kind, object, first, frames } = job;
        match kind {
            JobKind::Read => {
                let end = self.with(|state| state.fill(object, first, &frames));
                self.report(|engine, next| engine.read_ended(first, &frames, end, next));
            }
            JobKind::Write(bytes) => {
                let end = self.with(|state| state.write(object, first, &frames, &bytes));
                self.report(|engine, next| engine.write_ended(object, first, &frames, end, next));
            }
        }
    }
}
