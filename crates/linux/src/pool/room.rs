//! Room for pages: the bound is kept here.
//!
//! Whoever is about to make pages counts them first, and drops ready ones where the
//! count would pass the bound. Where none is ready, others are in the middle of
//! dropping or copying, and it waits for them.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use faultless_addr::{VirtAddr, VirtRange};
use faultless_sys::Errno;
use faultless_sys::memory::dont_need_many;

use super::{BATCH, Pool};
use crate::calls::Counters;
use crate::slots::{Run, Slots};

/// How long somebody may wait for others to give room. Only a driver that uses more
/// frames than there are makes anybody wait longer than a system call takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ready pages that are dropped together, if there are twice as many.
const DROPPED_AT_ONCE: u32 = 16;

/// What has come of pages that were to be copied.
pub(crate) struct Copying {
    /// As [`Pool::begin_copying`] said.
    pub granted: u32,
    /// Pages that were counted and don't exist.
    pub not_made: u32,
    /// Slots whose pages nobody needs any more.
    pub ready: Run,
}

impl Pool {
    pub fn begin_copying(&self, wanted: u32) -> Result<u32, Errno> {
        Ok(self.grant(wanted)?.1)
    }

    /// As [`begin_copying`](Self::begin_copying), for pages that are made by it, which are
    /// counted as well. Mostly one taking of the lock.
    pub(super) fn begin_copying_in(&self, wanted: u32, calls: &Counters) -> Result<u32, Errno> {
        let (mut slots, granted) = self.grant(wanted)?;
        if slots.try_make(granted).is_ok() {
            return Ok(granted);
        }
        drop(slots);
        let room = self.make_room(granted, calls);
        if room.is_err() {
            self.end_copying(Copying { granted, not_made: 0, ready: Run::EMPTY });
        }
        room.map(|()| granted)
    }

    fn grant(&self, wanted: u32) -> Result<(MutexGuard<'_, Slots>, u32), Errno> {
        let mut wait = Wait::new();
        let mut slots = self.lock();
        loop {
            match slots.begin_copying(wanted) {
                0 => slots = wait.for_change(self, slots)?,
                granted => return Ok((slots, granted)),
            }
        }
    }

    pub fn end_copying(&self, copying: Copying) {
        let Copying { granted, not_made, ready } = copying;
        let mut slots = self.lock();
        slots.give_ready(ready);
        slots.end_copying(granted);
        slots.unmade(not_made);
        drop(slots);
        self.tell_waiting();
    }

    /// Drops ready pages until at most `keep` are left.
    pub fn trim(&self, keep: usize, calls: &Counters) -> Result<(), Errno> {
        loop {
            let slots = self.lock();
            let excess = slots.ready().saturating_sub(keep);
            if excess == 0 {
                return Ok(());
            }
            let (slots, dropped) = self.drop_ready(slots, excess as u32, calls)?;
            drop(slots);
            if dropped == 0 {
                return Ok(());
            }
        }
    }

    /// Counts `count` pages that the caller is about to make, after dropping ready
    /// ones, or waiting for others to, where the bound is reached.
    pub(super) fn make_room(&self, count: u32, calls: &Counters) -> Result<(), Errno> {
        let mut wait = Wait::new();
        let mut slots = self.lock();
        loop {
            let Err(excess) = slots.try_make(count) else { return Ok(()) };
            // One call for many: whoever comes next finds room.
            let excess = excess.max(DROPPED_AT_ONCE.min(slots.ready() as u32 / 2));
            let dropped;
            (slots, dropped) = self.drop_ready(slots, excess, calls)?;
            if dropped == 0 {
                slots = wait.for_change(self, slots)?;
            }
        }
    }

    /// Drops up to `wanted` ready pages, with the lock released meanwhile.
    fn drop_ready<'a>(
        &'a self,
        mut slots: MutexGuard<'a, Slots>,
        wanted: u32,
        calls: &Counters,
    ) -> Result<(MutexGuard<'a, Slots>, u32), Errno> {
        let mut runs = [Run::EMPTY; BATCH as usize];
        let mut ranges = [VirtRange { start: VirtAddr(0), end: VirtAddr(0) }; BATCH as usize];
        let (mut used, mut count) = (0, 0);
        while count < wanted && used < runs.len() {
            let Some(run) = slots.take_ready(wanted - count) else { break };
            runs[used] = run;
            ranges[used].start = self.addr(run.start);
            ranges[used].end = self.addr(run.start + run.len);
            count += run.len;
            used += 1;
        }
        if used == 0 {
            return Ok((slots, 0));
        }
        drop(slots);
        calls.drop_();
        // SAFETY: 1. the slots are in our reservation; 2. they were ready, so they are
        // no frame's, and we have taken them, so they are nobody else's.
        let result = unsafe { dont_need_many(&ranges[..used]) };
        if result.is_err() {
            runs[..used].iter().for_each(|run| self.make_ready_again(*run, calls));
        }
        result?;
        let mut slots = self.lock();
        runs[..used].iter().for_each(|run| slots.give_hollow(*run));
        slots.unmade(count);
        self.tell_waiting();
        Ok((slots, count))
    }

    /// The kernel refused to drop the pages of a run, and some are gone: those are made
    /// anew, within what is counted. A slot of which nobody knows whether it has a page
    /// is nobody's from here on: as a frame's, it could be without bytes.
    fn make_ready_again(&self, run: Run, calls: &Counters) {
        for start in run.start..run.start + run.len {
            let one = Run { start, len: 1 };
            match self.populate(one, &mut 0, calls) {
                Ok(()) => {}
                Err(error) if error.errno == Errno::EXIST => {}
                Err(_) => continue,
            }
            self.lock().give_ready(one);
        }
    }
}

/// A wait for room that ends some time.
struct Wait(Option<Instant>);

impl Wait {
    fn new() -> Wait {
        Wait(None)
    }

    fn for_change<'a>(
        &mut self,
        pool: &'a Pool,
        slots: MutexGuard<'a, Slots>,
    ) -> Result<MutexGuard<'a, Slots>, Errno> {
        let since = *self.0.get_or_insert_with(Instant::now);
        if since.elapsed() > PATIENCE {
            return Err(Errno::NOMEM);
        }
        let step = Duration::from_millis(20);
        pool.waiting.fetch_add(1, Ordering::AcqRel);
        let waited = pool.changed.wait_timeout(slots, step);
        pool.waiting.fetch_sub(1, Ordering::AcqRel);
        Ok(waited.unwrap_or_else(PoisonError::into_inner).0)
    }
}

#[cfg(test)]
mod tests {
    use faultless_addr::{FrameNo, PAGE_SIZE};

    use super::*;

    /// Seals pages for good, which the kernel then refuses to drop: only of memory that
    /// may be written to can anybody have the bytes vanish (mseal(2)).
    fn seal(pool: &Pool, run: Run) -> bool {
        let (start, len) = (pool.addr(run.start).0 as *mut _, run.len as usize * PAGE_SIZE);
        // SAFETY: the pages are the pool's, of a test that doesn't store to them.
        unsafe {
            libc::mprotect(start, len, libc::PROT_READ) == 0
                && libc::syscall(libc::SYS_mseal, start, len, 0) == 0
        }
    }

    #[test]
    fn ready_slots_have_pages_also_where_dropping_stopped_half_way() {
        let pool = match Pool::new(64, 8) {
            Ok(pool) => pool,
            Err(error) => return println!("skipped: {error}"),
        };
        let calls = Counters::default();
        let frames: Vec<_> = (0..64).map(FrameNo).collect();
        pool.back(&frames, &calls).unwrap();
        let (first, last) = (pool.slot(FrameNo(0)), pool.slot(FrameNo(63)));
        assert_eq!(last - first, 63, "neighbours");
        pool.release(&frames);
        // The kernel drops the first half and stops at the second.
        let second = Run { start: first + 32, len: 32 };
        if !seal(&pool, second) {
            return println!("skipped: no memory can be sealed");
        }
        assert!(pool.trim(0, &calls).is_err(), "sealed pages can't be dropped");
        assert_eq!(pool.physical().0, 64);
        pool.back(&frames, &calls).unwrap();
        for frame in frames {
            let byte = pool.addr(pool.slot(frame)).0 as *const u8;
            // SAFETY: the slot is the frame's, which is aside. (Without a page, it is a
            // SIGBUS.)
            unsafe { byte.read_volatile() };
        }
    }
}
