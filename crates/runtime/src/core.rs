//! What all threads of a runtime share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use faultless_addr::{FrameNo, ObjectId};
use faultless_engine::pass::Passes;
use faultless_engine::{Config, Engine, Stats, Tick, Wakes};
use faultless_machine::Machine;
use faultless_pager::Pager;
use faultless_sys::fork::Birthplace;
use faultless_sys::process::EventFd;
use faultless_sys::ring::RingUser;
use faultless_sys::thread::Thread;

use crate::drive::Worker;
use crate::error::Error;
use crate::flush::Flush;
use crate::handoff::Handoff;
use crate::inherit::Kept;
use crate::inside::Inside;
use crate::lock::{ENGINE, Guard, LEAF, Ranked};
use crate::sleep::Sleepers;

/// How a runtime works.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads that handle the faults of held threads, and read ahead.
    pub handlers: usize,
    /// Milliseconds after which a dirty page is written without being asked to.
    pub write_age_ms: Tick,
    /// Use io_uring where the system lets us.
    pub rings: Rings,
}

/// May io_uring be used?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rings {
    /// If the system lets us.
    Allowed,
    /// No: pagers are called.
    Refused,
}

impl Default for Options {
    fn default() -> Options {
        Options { handlers: 2, write_age_ms: 5000, rings: Rings::Allowed }
    }
}

/// An engine, a machine, and what drives them.
pub struct Core<M: Machine> {
    pub(crate) machine: M,
    pub(crate) engine: Ranked<Engine>,
    /// The engine's, for whoever has no need of it.
    pub(crate) passes: Arc<Passes>,
    sleepers: Sleepers,
    pub(crate) pagers: Ranked<Vec<Option<Arc<dyn Pager>>>>,
    #[expect(clippy::vec_box, reason = "taken and put back at every fault: as a pointer")]
    pub(crate) workers: Ranked<Vec<Box<Worker>>>,
    pub(crate) handoff: Handoff,
    /// What the keeper is to write because somebody asked for it; changed under the
    /// engine's lock as well, but for taking the first.
    pub(crate) flushes: Ranked<VecDeque<Flush>>,
    pub(crate) handler_bells: Vec<EventFd>,
    /// Some pager has to be called, which may take long: a handler that does so must
    /// not be the only one that is told of faults.
    pub(crate) pagers_block: AtomicBool,
    /// A handler has been told that frames are short, and has not looked yet.
    pub(crate) reclaim_called: AtomicBool,
    pub(crate) keeper_bell: EventFd,
    /// What forked children may still read.
    pub(crate) kept: Ranked<Vec<Kept>>,
    pub(crate) stopping: AtomicBool,
    pub(crate) options: Options,
    began: Instant,
    pub(crate) birthplace: Birthplace,
}

/// A runtime's threads; they end when this is dropped.
pub struct Threads<M: Machine> {
    core: Arc<Core<M>>,
    joins: Ranked<Vec<Thread>>,
}

impl<M: Machine> Core<M> {
    /// A core without threads.
    pub fn new(machine: M, config: Config, options: Options) -> Result<Arc<Core<M>>, Error> {
        let setup =
            |what| move |errno: faultless_sys::Errno| Error::Setup { what, source: errno.into() };
        let bells: Result<_, _> = (0..options.handlers).map(|_| EventFd::new()).collect();
        let engine = Engine::new(config);
        Ok(Arc::new(Core {
            machine,
            passes: engine.passes(),
            engine: Ranked::new(ENGINE, engine),
            sleepers: Sleepers::new(),
            pagers: Ranked::new(LEAF, Vec::new()),
            workers: Ranked::new(LEAF, Vec::new()),
            handoff: Handoff::new(),
            flushes: Ranked::new(LEAF, VecDeque::new()),
            handler_bells: bells.map_err(setup("an eventfd"))?,
            pagers_block: AtomicBool::new(false),
            reclaim_called: AtomicBool::new(false),
            keeper_bell: EventFd::new().map_err(setup("an eventfd"))?,
            kept: Ranked::new(LEAF, Vec::new()),
            stopping: AtomicBool::new(false),
            options,
            began: Instant::now(),
            birthplace: Birthplace::here(),
        }))
    }

    /// Starts the threads.
    pub fn start(self: &Arc<Self>) -> Result<Threads<M>, Error> {
        let threads = Threads { core: self.clone(), joins: Ranked::new(LEAF, Vec::new()) };
        threads.spawn_all()?;
        Ok(threads)
    }

    /// The machine.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Counters of the engine; in a fork, whose copy of it may be locked for ever,
    /// zeros.
    pub fn stats(&self) -> Stats {
        if !self.is_here() {
            return Stats::default();
        }
        let mut stats = self.engine.lock().stats();
        stats.lock_waits = self.engine.waits();
        stats.bookkeeping_bytes += self.machine.bookkeeping_bytes() as u64;
        let pagers: Vec<_> = self.pagers.lock().iter().flatten().cloned().collect();
        let tables = pagers.iter().map(|pager| pager.bookkeeping_bytes() as u64);
        stats.bookkeeping_bytes += tables.sum::<u64>();
        stats
    }

    /// Fails in a fork of the process that made this core.
    pub fn check_birthplace(&self) -> Result<(), Error> {
        if self.birthplace.is_here() { Ok(()) } else { Err(Error::Forked) }
    }

    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.birthplace.is_here()
    }

    /// Milliseconds since this core was made.
    pub(crate) fn now(&self) -> Tick {
        self.began.elapsed().as_millis() as Tick
    }

    pub(crate) fn pager(&self, object: ObjectId) -> Arc<dyn Pager> {
        self.pagers.lock()[object.index()].clone().expect("an object in use has its pager")
    }

    /// A worker that is at rest, or a new one.
    pub(crate) fn worker(&self) -> Box<Worker> {
        let rested = self.workers.lock().pop();
        rested.unwrap_or_else(|| Box::new(Worker::new(self.options.rings, RingUser::OneAtATime)))
    }

    /// The worker rests until it is needed again.
    pub(crate) fn rest(&self, worker: Box<Worker>) {
        debug_assert!(worker.is_idle(), "a worker rests with work under way");
        let mut workers = self.workers.lock();
        if workers.len() < 64 {
            workers.push(worker);
        }
    }

    /// See [`Sleepers::wait_settled`].
    pub(crate) fn wait_settled<'a>(
        &self,
        engine: Guard<'a, Engine>,
        no: FrameNo,
    ) -> Guard<'a, Engine> {
        self.sleepers.wait_settled(engine, no)
    }

    /// See [`Sleepers::wait_frames`].
    pub(crate) fn wait_frames<'a>(
        &self,
        engine: Guard<'a, Engine>,
        timeout: std::time::Duration,
    ) -> Guard<'a, Engine> {
        self.sleepers.wait_frames(engine, timeout)
    }

    /// Wakes whom a plan says to wake.
    pub(crate) fn wake(&self, wakes: Wakes) {
        self.sleepers.wake(wakes);
        if wakes.frames {
            self.ring_handlers();
        }
    }

    pub(crate) fn ring_handlers(&self) {
        for bell in &self.handler_bells {
            bell.signal();
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

impl<M: Machine> Threads<M> {
    /// In a forked child, which has the handles but not the threads: others take their place.
    pub fn start_again(&self) -> Result<(), Error> {
        self.joins.lock().drain(..).for_each(std::mem::forget);
        self.spawn_all()
    }

    fn spawn_all(&self) -> Result<(), Error> {
        for n in 0..self.core.options.handlers {
            let core = self.core.clone();
            self.spawn("faultless-fault", move || core.handle_faults(n))?;
        }
        let core = self.core.clone();
        self.spawn("faultless-keep", move || core.keep())
    }

    fn spawn(&self, name: &'static str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let body = move || {
            let _end = AbortOnPanic;
            let _inside = Inside::at_rest();
            body();
        };
        let join = Thread::spawn(256 << 10, name, Box::new(body))
            .map_err(|errno| Error::Setup { what: "a thread", source: errno.into() })?;
        self.joins.lock().push(join);
        Ok(())
    }
}

/// A runtime that has lost a thread would leave others waiting for ever.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("faultless: a thread of the runtime has panicked; stopping");
            std::process::abort();
        }
    }
}

impl<M: Machine> Drop for Threads<M> {
    fn drop(&mut self) {
        if !self.core.is_here() {
            // A fork has the handles but not the threads.
            return self.joins.lock().drain(..).for_each(std::mem::forget);
        }
        {
            let _engine = self.core.engine.lock();
            self.core.stopping.store(true, Ordering::Release);
        }
        self.core.keeper_bell.signal();
        self.core.ring_handlers();
        let joins = std::mem::take(&mut *self.joins.lock());
        for join in joins {
            join.join();
        }
    }
}
