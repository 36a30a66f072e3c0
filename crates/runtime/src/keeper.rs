//! The keeper: a thread that lets time pass for the engine.
//!
//! It writes pages that have been dirty for long, tries again what could not be
//! read, and notices files whose length others have changed, and forked children that are
//! gone. It gives room of the swap file back that nobody uses. And it carries on the flushes that nobody waits for.

use std::time::{Duration, Instant};

use faultless_addr::ObjectId;
use faultless_machine::Machine;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;

use crate::core::Core;
use crate::gate::Active;

const PERIOD: Duration = Duration::from_millis(200);
/// Frames looked at in one taking of the lock.
const LOOKS: u32 = 4096;
/// Files whose size is asked in one period.
const SIZES: usize = 64;

impl<M: Machine> Core<M> {
    /// The keeper's life.
    pub(crate) fn keep(&self) {
        let mut next_size = 0;
        let mut next_look = Instant::now() + PERIOD;
        while !self.is_stopping() {
            // Asleep it holds no lock: a fork doesn't wait for it.
            self.sleep_until(next_look);
            if self.is_stopping() {
                return;
            }
            let _active = Active::enter();
            self.carry_on_flushes();
            if Instant::now() >= next_look {
                self.end_leases();
                self.punch_much_swap();
                self.let_time_pass();
                next_size = self.look_at_sizes(next_size);
                next_look = Instant::now() + PERIOD;
            }
        }
    }

    /// Sleeps until `time`, or until the bell rings.
    fn sleep_until(&self, time: Instant) {
        let left = time.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: 0, tv_nsec: left.min(PERIOD).as_nanos() as _ };
        let mut bell = [PollFd::from_borrowed_fd(self.keeper_bell.as_fd(), PollFlags::IN)];
        let _ = poll(&mut bell, Some(&left));
        self.keeper_bell.drain();
    }

    fn let_time_pass(&self) {
        let mut worker = self.worker();
        let mut engine = self.engine.lock();
        engine.tick(self.now(), &mut worker.plan);
        let frames = engine.stats().frames_total as u32;
        drop(engine);
        let mut looked = 0;
        while looked < frames {
            let mut engine = self.engine.lock();
            if engine.stats().pages_dirty == 0 {
                break;
            }
            engine.write_aged(self.options.write_age_ms, LOOKS, &mut worker.plan);
            drop(engine);
            self.finish(&mut worker);
            looked += LOOKS;
        }
        self.finish(&mut worker);
        self.rest(worker);
    }

    /// Asks the backings of some objects for their size; returns where to go on.
    fn look_at_sizes(&self, from: usize) -> usize {
        let pagers: Vec<_> = {
            let pagers = self.pagers.lock();
            let some = pagers.iter().enumerate().skip(from).take(SIZES);
            some.filter_map(|(n, pager)| Some((ObjectId(n as u32), pager.clone()?))).collect()
        };
        let mut worker = self.worker();
        for (object, pager) in &pagers {
            if !self.is_withdrawn(*object)
                && let Some(seen) = self.look(*object, pager)
            {
                self.size_seen(*object, pager, seen, &mut worker.plan);
            }
        }
        self.finish(&mut worker);
        self.rest(worker);
        let all = self.pagers.lock().len();
        if from + SIZES >= all { 0 } else { from + SIZES }
    }
}
