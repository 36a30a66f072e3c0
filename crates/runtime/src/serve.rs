//! Serving one fault.
//!
//! Inline: the thread that faulted serves itself and comes back when its access
//! can be tried again. By a handler: the machine holds the thread; see `handlers`.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use faultless_addr::{Access, SpaceId, VirtAddr};
use faultless_engine::{Engine, Marked, Outcome, Pressure, Scope, Signal, Waiter};
use faultless_machine::Machine;

use crate::core::Core;
use crate::drive::{Awaited, Reads, Worker};
use crate::error::Error;

/// How a fault was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The access can be tried again.
    Yes,
    /// It ends with a signal.
    Signal(Signal),
}

/// How long a caller waits for a frame before it gets an error.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Remembers since when a caller has been short of frames.
#[derive(Default)]
pub(crate) struct Patience {
    since: Option<Instant>,
}

impl Patience {
    /// Still short: is it enough now?
    pub fn is_over(&mut self) -> bool {
        self.since.get_or_insert_with(Instant::now).elapsed() > PATIENCE
    }
}

/// Frames that are reclaimed at once: enough to make a batch worth its call.
pub(crate) fn batch(engine: &Engine) -> u32 {
    (engine.stats().frames_total as u32 / 16).clamp(1, 64)
}

impl<M: Machine> Core<M> {
    /// Serves an access at `addr` that was not translated, in the thread that made
    /// it. Sleeps as long as it takes.
    ///
    /// May be called by a signal handler for a fault of ordinary code: it takes locks
    /// and memory, but none that code outside of this crate holds at a fault.
    pub fn serve_here(&self, space: SpaceId, addr: VirtAddr, access: Access) -> Served {
        if !self.is_here() {
            return Served::Signal(Signal::Bus);
        }
        let mut worker = self.worker();
        let served = self.serve_with(&mut worker, space, addr, access);
        self.make_up(&mut worker);
        self.rest(worker);
        served
    }

    /// An access met an error at its address, which the kernel tells whatever the rights are:
    /// those come first. And the error may be another's, who is being told of it, from before
    /// the address came to mean what it does; then the access is tried again.
    pub fn judge_mark(&self, space: SpaceId, addr: VirtAddr, access: Access) -> Served {
        if !self.is_here() {
            return Served::Signal(Signal::Bus);
        }
        let mut engine = self.engine.lock();
        loop {
            if let Err(signal) = engine.allowed(space, addr, access) {
                return Served::Signal(signal);
            }
            match engine.marked_at(space, addr) {
                Marked::Yes => return Served::Signal(Signal::Bus),
                Marked::No => return Served::Yes,
                Marked::Changing => engine = self.wait_frames(engine, Duration::from_millis(1)),
            }
        }
    }

    fn serve_with(
        &self,
        worker: &mut Worker,
        space: SpaceId,
        addr: VirtAddr,
        access: Access,
    ) -> Served {
        let (mut patience, mut waiter) = (Patience::default(), Waiter::Caller);
        loop {
            let mut engine = self.engine.lock();
            let outcome = engine.fault(space, addr, access, waiter, &mut worker.plan);
            if let Outcome::Waiting(_) = outcome {
                waiter = Waiter::Again;
            }
            if let Outcome::Waiting(no) = outcome
                && worker.plan.is_empty()
            {
                drop(self.wait_settled(engine, no));
                continue;
            }
            drop(engine);
            worker.awaited = Some(Awaited { space, at: addr, access });
            let reads = match outcome {
                Outcome::Waiting(no) if worker.plan.reads_first(no) => Reads::FirstHere,
                _ => Reads::HandOff,
            };
            self.carry_out(worker, reads);
            self.finish(worker);
            if worker.awaited.take().is_none() {
                return Served::Yes;
            }
            match outcome {
                Outcome::Resolved => return Served::Yes,
                Outcome::Waiting(_) => {}
                Outcome::Signal(signal) => return Served::Signal(signal),
                Outcome::NoFrame(scope) => {
                    if self.make_room(worker, scope, &mut patience).is_err() {
                        return Served::Signal(Signal::Bus);
                    }
                }
            }
        }
    }

    /// Gets some frames free, or waits until some are, or gives up.
    pub(crate) fn make_room(
        &self,
        worker: &mut Worker,
        scope: Scope,
        patience: &mut Patience,
    ) -> Result<(), Error> {
        if patience.is_over() {
            return Err(Error::NoFrame { seconds: PATIENCE.as_secs() });
        }
        let mut engine = self.engine.lock();
        let target = batch(&engine);
        let failed = engine.stats().write_errors;
        engine.reclaim(scope, target, &mut worker.plan);
        if !worker.plan.is_empty() {
            drop(engine);
            self.finish(worker);
            engine = self.engine.lock();
            if engine.stats().write_errors == failed {
                return Ok(());
            }
        }
        // Nothing can go, or there is no place for it, just now.
        drop(self.wait_frames(engine, Duration::from_millis(5)));
        Ok(())
    }

    /// Whoever used frames up sees to it that the next fault finds one free: a handler gets
    /// some back meanwhile, or, where that is not enough, they are got back here.
    pub(crate) fn make_up(&self, worker: &mut Worker) {
        match std::mem::replace(&mut worker.pressure, Pressure::None) {
            Pressure::None => return,
            Pressure::Low => return self.call_for_reclaim(),
            Pressure::High => {}
        }
        let mut engine = self.engine.lock();
        let shortage = engine.shortage().min(64);
        if shortage == 0 {
            return;
        }
        engine.reclaim(Scope::All, shortage, &mut worker.plan);
        drop(engine);
        self.finish(worker);
    }

    fn call_for_reclaim(&self) {
        let last = self.handler_bells.last();
        if let Some(bell) = last.filter(|_| !self.reclaim_called.swap(true, Ordering::AcqRel)) {
            bell.signal();
        }
    }
}
