//! Handlers: threads that serve the faults of threads that the machine holds, and
//! read what others have handed off.
//!
//! A handler never waits for one page: it starts reads, goes on with other faults,
//! and maps pages as their reads end. So a few handlers keep the disk's queue full
//! for any number of held threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use faultless_addr::VirtRange;
use faultless_engine::{Outcome, Scope, Signal, Waiter};
use faultless_machine::{Held, Machine, Segv};
use faultless_sys::awake::{A_WHILE, awake, awake_in_turns};
use faultless_sys::ring::{RingUser, WakeUp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;

use crate::core::Core;
use crate::drive::{Reads, Worker};
use crate::gate::{Active, is_closing, is_shut, wait_outside};
use crate::io::TOKEN_POLL;
use crate::say::say;
use crate::serve::{PATIENCE, batch};

const TOKEN_HELD: u64 = TOKEN_POLL;
const TOKEN_BELL: u64 = TOKEN_POLL + 1;
const TOKEN_HELD_ALL: u64 = TOKEN_POLL + 2;
/// How soon a fault that found no frame is tried again, if no bell rings before.
const RETRY: Duration = Duration::from_millis(2);

/// Reads whose end a handler sees to before it looks for faults again: threads go on as soon
/// as their pages are there, and the disk should not wait until all are.
const REAPED_AT_ONCE: usize = 4;

/// Faults that a handler takes at a time.
const TAKEN_AT_ONCE: usize = 4;

/// After so many takings that left nothing to be taken in, another handler is told that there
/// is more. Sooner is no help: what the first would have taken next costs a wake-up then.
const FULL_TAKINGS: usize = 3;

/// With so many reads of few pages under way a handler waits awake: that many threads are held,
/// or soon would be.
const MANY: usize = 6;

/// How long it does: a little longer than disks rest between two batches of ends.
const AWAKE: Duration = Duration::from_micros(500);

/// After so many takings on end that no read followed, the next is awaited awake, too: who
/// stores to one page after the other, or fills memory, comes again before a handler that
/// slept would be awake. Between reads it would do harm: W4 by two threads lost 4 %.
const QUICK: u32 = 4;

/// How often it lets others have the processor meanwhile.
const TURN: Duration = Duration::from_micros(100);

/// The polls that a handler's ring works on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Armed {
    No,
    /// Its bell, and held threads, of which it is told if no other handler is.
    One,
    /// And held threads, of which it is told whoever else is.
    All,
}

/// A fault that has come in.
#[derive(Clone, Copy)]
struct Came {
    held: Held,
    at: Instant,
}

/// Waits for an end or a poll where one is soon to come: so the disk and held threads don't
/// wait until the handler wakes. Answers whether one came. For few reads it would do harm:
/// their threads have better use for the processor.
fn stay_awake(handler: &mut Handler) -> bool {
    let io = &mut handler.worker.io;
    let came = if io.short_reads_in_flight() >= MANY {
        io.flush();
        awake_in_turns(AWAKE, TURN, || io.has_ended())
    } else if handler.quick_takings >= QUICK {
        io.flush();
        let came = awake(A_WHILE, || io.has_ended());
        if !came {
            handler.quick_takings = 0;
        }
        came
    } else {
        return false;
    };
    io.flush();
    came
}

/// One handler's own state.
struct Handler {
    number: usize,
    worker: Worker,
    /// Faults that have come in.
    held: Vec<Held>,
    /// Faults that found no frame.
    stalled: Vec<Came>,
    /// There may be faults that nobody has taken.
    look: bool,
    /// Takings on end that found as many faults as there is room for.
    full_takings: usize,
    /// Takings on end after which nothing was under way.
    quick_takings: u32,
    armed: Armed,
}

/// Who is sent SIGBUS can't know why: it is said, once.
fn say_no_frame() {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        say(format_args!(
            "no page has left memory for {} s: budget and swap are full, or nothing can be \
             written; an access ends in SIGBUS",
            PATIENCE.as_secs()
        ));
    }
}

impl<M: Machine> Core<M> {
    /// A handler's life.
    pub(crate) fn handle_faults(&self, number: usize) {
        let mut handler = Handler {
            number,
            worker: Worker::new(self.options.rings, RingUser::ThisThread),
            held: Vec::new(),
            stalled: Vec::new(),
            look: true,
            full_takings: 0,
            quick_takings: 0,
            armed: Armed::No,
        };
        let mut active = Some(Active::enter());
        handler.worker.io.ring();
        while !self.is_stopping() {
            // Who waits to fork waits for what is under way, which may need what was handed
            // off. Faults wait until it is their turn.
            active.get_or_insert_with(Active::enter_to_help);
            let held_up = is_shut();
            if !held_up {
                self.take_faults(&mut handler);
            }
            self.take_handed_off(&mut handler.worker);
            let goes_on = !held_up && self.reclaim_ahead(&mut handler);
            if handler.worker.is_idle() {
                active = None;
            }
            let rests = active.is_none();
            if held_up && !rests {
                handler.worker.io.wait();
            } else if rests && is_closing() {
                wait_outside(|| self.handoff.has_some() || self.is_stopping());
            } else if !(held_up || handler.look || goes_on) {
                self.wait_for_work(&mut handler);
            } else {
                // It goes on, and the disk has something to do meanwhile.
                handler.worker.io.flush();
            }
            let come = self.reap(&mut handler.worker, REAPED_AT_ONCE);
            self.hear_polls(&mut handler);
            self.carry_out(&mut handler.worker, Reads::Queue);
            // Threads whose pages came may have come for more.
            handler.look |= come && handler.worker.io.has_ended();
        }
        let _active = Active::enter();
        self.finish(&mut handler.worker);
    }

    fn take_faults(&self, handler: &mut Handler) {
        if std::mem::take(&mut handler.look) {
            if let Err(error) = self.machine.held(TAKEN_AT_ONCE, &mut handler.held) {
                say(format_args!("reading faults: {error}"));
            }
            handler.look = handler.held.len() == TAKEN_AT_ONCE;
        }
        handler.full_takings = if handler.look { handler.full_takings + 1 } else { 0 };
        if handler.full_takings >= FULL_TAKINGS {
            self.handler_bells[(handler.number + 1) % self.handler_bells.len()].signal();
        }
        let again = std::mem::take(&mut handler.stalled);
        if handler.held.is_empty() && again.is_empty() {
            return;
        }
        let at = Instant::now();
        let new = std::mem::take(&mut handler.held);
        for came in again.into_iter().chain(new.iter().map(|&held| Came { held, at })) {
            self.serve_held(handler, came);
        }
        handler.held = new;
        handler.held.clear();
        self.carry_out(&mut handler.worker, Reads::Queue);
        let quick = handler.worker.io.in_flight() == 0;
        handler.quick_takings = if quick { handler.quick_takings.saturating_add(1) } else { 0 };
    }

    fn serve_held(&self, handler: &mut Handler, came: Came) {
        let held = came.held;
        let plan = &mut handler.worker.plan;
        let mut engine = self.engine.lock();
        let outcome = engine.fault(held.space, held.addr, held.access, Waiter::Machine, plan);
        let signal = match outcome {
            Outcome::Resolved | Outcome::Waiting(_) => return,
            Outcome::Signal(signal) => signal,
            Outcome::NoFrame(scope) if came.at.elapsed() < PATIENCE => {
                let target = batch(&engine);
                engine.reclaim(scope, target, plan);
                drop(engine);
                handler.stalled.push(came);
                return self.carry_out(&mut handler.worker, Reads::Queue);
            }
            Outcome::NoFrame(_) => {
                say_no_frame();
                Signal::Bus
            }
        };
        match signal {
            Signal::Bus => engine.will_mark(held.space, held.addr),
            Signal::SegvMapErr | Signal::SegvAccErr => {
                engine.will_end_access(held.space, held.addr);
            }
        }
        drop(engine);
        self.refuse_held(handler, &held, signal);
    }

    /// Ends an access with a signal.
    fn refuse_held(&self, handler: &mut Handler, held: &Held, signal: Signal) {
        let page = VirtRange::page(held.addr.page_start());
        let result = match signal {
            Signal::Bus => self.machine.poison(held.space, page),
            Signal::SegvMapErr => self.machine.segv(held, Segv::MapErr),
            Signal::SegvAccErr => self.machine.segv(held, Segv::AccErr),
        };
        let plan = &mut handler.worker.plan;
        match signal {
            Signal::Bus => self.engine.lock().marked(held.space, held.addr, plan),
            Signal::SegvMapErr | Signal::SegvAccErr => {
                self.engine.lock().access_ended(held.space, held.addr, plan);
            }
        }
        if let Err(error) = result {
            say(format_args!("refusing an access at {:?}: {error}", held.addr));
        }
    }

    /// Keeps some frames free, so that faults don't have to wait for one. Answers whether
    /// there is more to be had at once.
    fn reclaim_ahead(&self, handler: &mut Handler) -> bool {
        self.reclaim_called.store(false, Ordering::Release);
        let mut engine = self.engine.lock();
        let shortage = engine.shortage().min(64);
        if shortage == 0 {
            return false;
        }
        let begun = engine.reclaim(Scope::All, shortage, &mut handler.worker.plan);
        let goes_on = begun > 0 && engine.shortage() > 0;
        drop(engine);
        // The disk works while pages leave.
        handler.worker.io.flush();
        self.carry_out(&mut handler.worker, Reads::Queue);
        goes_on
    }

    /// Sleeps until there is a fault, a bell or the end of a read.
    fn wait_for_work(&self, handler: &mut Handler) {
        let bell = &self.handler_bells[handler.number];
        let retry = !handler.stalled.is_empty();
        if handler.worker.io.ring().is_none() {
            self.poll_for_work(handler, retry);
            bell.drain();
            handler.look = true;
            return;
        }
        self.arm_polls(handler);
        if retry {
            handler.worker.io.wait_for(RETRY);
        } else if !stay_awake(handler) {
            handler.worker.io.wait();
        }
    }

    /// Of the handlers, one is told of a fault; all, where each may be held up by a pager.
    fn arm_polls(&self, handler: &mut Handler) {
        let bell = self.handler_bells[handler.number].as_fd();
        let held = self.machine.held_fd();
        let Some(ring) = handler.worker.io.ring() else { return };
        if handler.armed == Armed::No {
            let asked =
                held.is_none_or(|fd| ring.poll_readable(fd, WakeUp::One, TOKEN_HELD).is_ok());
            let rung = ring.poll_readable(bell, WakeUp::All, TOKEN_BELL).is_ok();
            handler.armed = if asked && rung { Armed::One } else { Armed::No };
        }
        if handler.armed == Armed::One && self.pagers_block.load(Ordering::Acquire) {
            let asked =
                held.is_none_or(|fd| ring.poll_readable(fd, WakeUp::All, TOKEN_HELD_ALL).is_ok());
            handler.armed = if asked { Armed::All } else { Armed::One };
        }
    }

    /// What the ends of polls say, which come among those of reads.
    fn hear_polls(&self, handler: &mut Handler) {
        let polls = handler.worker.io.take_polls();
        if polls.over {
            handler.armed = Armed::No;
        }
        handler.look |= polls.fired != 0;
        if polls.has(TOKEN_BELL) {
            // Polls that fire from here on are met by the next wait.
            self.handler_bells[handler.number].drain();
        }
    }

    /// The same without a ring, whose reads have ended when they were started.
    fn poll_for_work(&self, handler: &Handler, retry: bool) {
        if handler.worker.io.in_flight() > 0 {
            return;
        }
        let bell = &self.handler_bells[handler.number];
        let mut fds = vec![PollFd::from_borrowed_fd(bell.as_fd(), PollFlags::IN)];
        fds.extend(self.machine.held_fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let timeout = Timespec { tv_sec: 0, tv_nsec: RETRY.as_nanos() as _ };
        let _ = poll(&mut fds, retry.then_some(&timeout));
    }
}
