//! Physical pages: frames that are aside, and pages that are ready for frames.
//!
//! One mutex (rank: leaf) guards [`Slots`]. It is held for a few table look-ups and
//! never across a system call: slots are taken under it, worked on outside, and
//! given back under it. It may be taken in a signal handler that serves an inline
//! fault, because no code touches an arena while it holds it.

mod heritage;
mod quarry;
mod room;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use faultless_addr::{FrameNo, PAGE_BYTES, PAGE_SIZE, VirtAddr};
use faultless_sys::Errno;
use faultless_sys::memory::Reservation;
use faultless_sys::uffd::{Features, Protect, Stopped, Userfaultfd};

use crate::calls::Counters;
use crate::error::{NewError, PageError, Verb};
use crate::segv::Moments;
use crate::slots::{Run, Slots, Taken};
use quarry::Quarry;
pub(crate) use room::Copying;

/// `slot_of` a frame that isn't aside.
const NOWHERE: u32 = u32::MAX;

/// Beside the slot of a frame: it got its page in a run of whole words of slots, whose pages
/// are to stay together.
const TOGETHER: u32 = 1 << 31;

/// Pages made or copied by one call.
const BATCH: u32 = 64;

/// See the [module's description](self).
#[derive(Debug)]
pub(crate) struct Pool {
    /// Given back before the descriptor is closed, as in an arena.
    reservation: Reservation,
    /// Needed because only registered ranges can be moved into. It is of the kind
    /// that raises SIGBUS: touching a slot without a page is a mistake, never a wait.
    uffd: Userfaultfd,
    /// Never written, so reading it costs no memory.
    zeros: Reservation,
    quarry: Quarry,
    slots: Mutex<Slots>,
    /// Somebody gave room.
    changed: Condvar,
    /// How many wait for that: telling nobody would be a system call, too. Raised
    /// under the lock, so whoever gives room afterwards sees it.
    waiting: AtomicU32,
    slot_of: Box<[AtomicU32]>,
    /// More ready pages than this aren't collected by [`recycle`](Pool::recycle).
    ready_max: usize,
    /// A fork has left pages shared with another process.
    shares: AtomicBool,
    /// Held off while pages come to addresses of programs, or leave them.
    pub moments: Moments,
}

impl Pool {
    pub fn new(frames: u32, spare: u32) -> Result<Pool, NewError> {
        // Twice as many slots as pages: runs of free slots are easy to find, and
        // there is a hollow one for every page that could come in.
        let slots = (2 * (frames + spare)).next_multiple_of(64);
        let uffd = Userfaultfd::open(Features::MOVE.with(Features::SIGBUS))?;
        let reservation = reserve(slots)?;
        // SAFETY: 1. the reservation is ours alone, and is unmapped before the
        // descriptor in the same structure is closed; 2. its bytes are reached only
        // through raw pointers (`Buffer`).
        unsafe { uffd.register(reservation.range()) }.map_err(NewError::Register)?;
        Ok(Pool {
            reservation,
            uffd,
            zeros: reserve(BATCH)?,
            quarry: Quarry::new()?,
            slots: Mutex::new(Slots::new(slots, frames, spare)),
            changed: Condvar::new(),
            waiting: AtomicU32::new(0),
            slot_of: (0..frames).map(|_| AtomicU32::new(NOWHERE)).collect(),
            ready_max: (frames as usize / 8).max(spare as usize),
            shares: AtomicBool::new(false),
            moments: Moments::default(),
        })
    }

    pub fn bookkeeping_bytes(&self) -> usize {
        self.lock().bookkeeping_bytes() + self.slot_of.len() * size_of::<AtomicU32>()
    }

    /// Physical pages now, and the most there can be.
    pub fn physical(&self) -> (usize, usize) {
        let slots = self.lock();
        (slots.physical(), slots.bound())
    }

    /// Where slot `slot` is.
    pub fn addr(&self, slot: u32) -> VirtAddr {
        self.reservation.range().start.plus_pages(slot.into())
    }

    /// The slot of a frame that is aside; panics if it isn't.
    pub fn slot(&self, frame: FrameNo) -> u32 {
        let slot = self.slot_if_aside(frame);
        slot.unwrap_or_else(|| panic!("{frame:?} is not aside"))
    }

    /// The slots of as many of `frames`, from the first on, as are neighbours.
    pub fn run_of(&self, frames: &[FrameNo]) -> Run {
        let start = self.slot(frames[0]);
        let others = frames.iter().zip(start..).skip(1);
        let next = |(frame, slot): &(&FrameNo, u32)| self.slot_if_aside(**frame) == Some(*slot);
        let len = 1 + others.take_while(next).count();
        Run { start, len: len as u32 }
    }

    fn slot_if_aside(&self, frame: FrameNo) -> Option<u32> {
        let slot = self.slot_of[frame.index()].load(Ordering::Acquire);
        (slot != NOWHERE).then_some(slot & !TOGETHER)
    }

    /// Did the frame, which is aside, get its page in a run whose pages are to stay together?
    pub fn is_of_run(&self, frame: FrameNo) -> bool {
        let slot = self.slot_of[frame.index()].load(Ordering::Acquire);
        slot != NOWHERE && slot & TOGETHER != 0
    }

    /// Gives each of `frames` a slot with a page.
    pub fn back(&self, frames: &[FrameNo], calls: &Counters) -> Result<(), PageError> {
        let mut done = 0;
        while done < frames.len() {
            let wanted = (frames.len() - done) as u32;
            self.quarry(wanted, calls);
            // A binding, so that the lock ends here.
            let taken = self.lock().take_for_back(wanted);
            let filled = match taken {
                Some(taken) => self.fill(&taken, calls).map(|()| taken.run),
                None => Err(PageError::new(Verb::Back, self.addr(0), Errno::NOMEM)),
            };
            match filled {
                Ok(run) => {
                    let mark = if run.is_whole_words() { TOGETHER } else { 0 };
                    let backed = &frames[done..done + run.len as usize];
                    self.assign(backed.iter().copied(), run.start, mark);
                    done += run.len as usize;
                }
                Err(error) => {
                    self.release(&frames[..done]);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn assign(&self, frames: impl Iterator<Item = FrameNo>, start: u32, mark: u32) {
        for (frame, slot) in frames.zip(start..) {
            let before = self.slot_of[frame.index()].swap(slot | mark, Ordering::AcqRel);
            assert_eq!(before, NOWHERE, "{frame:?} was aside already");
        }
    }

    /// Makes the pages that `taken` lacks; gives it back where that fails.
    fn fill(&self, taken: &Taken, calls: &Counters) -> Result<(), PageError> {
        let lacking = taken.hollow_count();
        if lacking == 0 {
            return Ok(());
        }
        let error = |errno| PageError::new(Verb::Back, self.addr(taken.run.start), errno);
        let mut made = 0;
        let result = self.make_room(lacking, calls).map_err(error).and_then(|()| {
            let result =
                taken.hollow_runs().try_for_each(|run| self.populate(run, &mut made, calls));
            if result.is_err() {
                self.lock().unmade(lacking - made);
            }
            result
        });
        if result.is_err() {
            let mut slots = self.lock();
            let mut hollow_seen = 0;
            for slot in taken.run.start..taken.run.start + taken.run.len {
                let one = Run { start: slot, len: 1 };
                let was_hollow = taken.is_hollow(slot);
                if was_hollow && hollow_seen >= made {
                    slots.give_hollow(one);
                } else {
                    slots.give_ready(one);
                }
                hollow_seen += u32::from(was_hollow);
            }
            drop(slots);
            self.tell_waiting();
        }
        result
    }

    fn populate(&self, mut run: Run, made: &mut u32, calls: &Counters) -> Result<(), PageError> {
        while run.len > 0 {
            let part = run.split_front(run.len.min(BATCH));
            let at = self.addr(part.start);
            calls.copy();
            // SAFETY: 1. `zeros` is BATCH readable pages; 2. nobody writes to it.
            let copied =
                unsafe { self.uffd.copy(at, self.zeros.as_ptr(), bytes(part.len), Protect::No) };
            if let Err(stopped) = copied {
                *made += pages(stopped.done);
                return Err(PageError::stopped(Verb::Back, at, stopped));
            }
            *made += part.len;
        }
        Ok(())
    }

    /// Frames that are aside become empty; their pages are ready for others.
    pub fn release(&self, frames: &[FrameNo]) {
        let mut done = 0;
        while done < frames.len() {
            if self.slot_if_aside(frames[done]).is_none() {
                done += 1;
                continue;
            }
            let run = self.run_of(&frames[done..]);
            self.leave(&frames[done..done + run.len as usize]);
            self.lock().give_ready(run);
            done += run.len as usize;
        }
        self.tell_waiting();
    }

    fn leave(&self, frames: &[FrameNo]) {
        for frame in frames {
            self.slot_of[frame.index()].store(NOWHERE, Ordering::Release);
        }
    }

    /// Moves `frames`, whose slots are `run`, to `at` of the arena of `uffd`.
    pub fn move_in(
        &self,
        uffd: &Userfaultfd,
        at: VirtAddr,
        frames: &[FrameNo],
        run: Run,
        calls: &Counters,
    ) -> Result<(), Stopped> {
        calls.move_();
        // SAFETY: 1. the slots are ours, in one reservation, and open to stores; 2. the
        // driver's promise is that nobody else uses a frame that it maps.
        let moved = unsafe { self.relocate(uffd, at, self.addr(run.start), bytes(run.len)) };
        let done = moved.map_or_else(|stopped| pages(stopped.done), |()| run.len);
        self.leave(&frames[..done as usize]);
        if done > 0 {
            self.lock().give_hollow(Run { start: run.start, len: done });
        }
        moved
    }

    /// Copies `frames` to `at` of the arena of `uffd`, with [`Protect::Yes`] protected
    /// from the first moment on; their slots become ready.
    pub fn copy_in(
        &self,
        uffd: &Userfaultfd,
        at: VirtAddr,
        frames: &[FrameNo],
        protect: Protect,
        calls: &Counters,
    ) -> Result<(), Stopped> {
        let mut done = 0;
        while done < frames.len() {
            let stopped = |done: usize| move |errno| Stopped { done: done * PAGE_SIZE, errno };
            let wanted = (frames.len() - done).min(BATCH as usize) as u32;
            let granted = self.begin_copying_in(wanted, calls).map_err(stopped(done))?;
            let batch = &frames[done..done + granted as usize];
            let to = at.plus_pages(done as u64);
            let (copied, ready, result) = self.copy_batch(uffd, to, batch, protect, calls);
            self.end_copying(Copying { granted, not_made: granted - copied, ready });
            done += copied as usize;
            result.map_err(stopped(done))?;
        }
        Ok(())
    }

    /// Answers how many frames are in place, and the last of the slots that have become ready,
    /// which the caller gives back with what else it has.
    fn copy_batch(
        &self,
        uffd: &Userfaultfd,
        at: VirtAddr,
        frames: &[FrameNo],
        protect: Protect,
        calls: &Counters,
    ) -> (u32, Run, Result<(), Errno>) {
        let (mut done, mut ready) = (0, Run::EMPTY);
        while done < frames.len() {
            if ready != Run::EMPTY {
                self.lock().give_ready(std::mem::replace(&mut ready, Run::EMPTY));
            }
            let rest = &frames[done..];
            let run = self.run_of(rest);
            let to = at.plus_pages(done as u64);
            let from = self.addr(run.start).0 as *const u8;
            calls.copy();
            let quiet = self.moments.keep_off();
            // SAFETY: 1. the slots have pages, in our reservation; 2. the driver's
            // promise is that nobody else uses a frame that it maps.
            let copied = unsafe { uffd.copy(to, from, bytes(run.len), protect) };
            drop(quiet);
            let now = copied.map_or_else(|stopped| pages(stopped.done), |()| run.len);
            self.leave(&rest[..now as usize]);
            ready = Run { start: run.start, len: now };
            done += now as usize;
            if let Err(stopped) = copied {
                return (done as u32, ready, Err(stopped.errno));
            }
        }
        (done as u32, ready, Ok(()))
    }

    /// Copies mapped pages, whose bytes can't change, into slots for their frames. The
    /// caller drops the pages.
    pub fn copy_out(
        &self,
        pages: &[(VirtAddr, FrameNo)],
        calls: &Counters,
    ) -> Result<(), PageError> {
        let mut frames = [FrameNo(0); BATCH as usize];
        for (frame, page) in frames.iter_mut().zip(pages) {
            *frame = page.1;
        }
        self.back(&frames[..pages.len()], calls)?;
        for (at, frame) in pages {
            let to = self.addr(self.slot(*frame)).0 as *mut u8;
            // SAFETY: 1. the page is mapped at `at`, in an arena of ours, and stays until
            // its driver, our caller, drops it; 2. its bytes don't change meanwhile (the
            // caller's promise: stores are stopped); 3. `to` is a slot with a page that
            // is this frame's alone, one page long.
            unsafe { to.copy_from_nonoverlapping(at.0 as *const u8, PAGE_SIZE) };
        }
        Ok(())
    }

    /// Slots that pages can be moved into, neighbours, up to `wanted`.
    pub fn take_hollow(&self, wanted: u32) -> Option<Run> {
        self.lock().take_hollow(wanted)
    }

    /// Takes back what [`take_hollow`](Pool::take_hollow) gave and nobody used.
    pub fn give_hollow(&self, run: Run) {
        if run.len > 0 {
            self.lock().give_hollow(run);
        }
    }

    /// Moves the pages at `from` into `run`, all of them open to stores. Nobody's frames
    /// yet: see [`assign_moved`](Pool::assign_moved).
    pub fn move_out(&self, from: VirtAddr, run: Run, calls: &Counters) -> Result<(), Stopped> {
        calls.move_();
        // SAFETY: 1. `from` is in an arena of ours (checked by the caller); 2. the
        // driver's promise is that the pages it unmaps are used by programs only, by
        // pointers, and a program's next access faults.
        unsafe { self.relocate(&self.uffd, self.addr(run.start), from, bytes(run.len)) }
    }

    /// As [`move_out`](Pool::move_out), whatever stores do there; stops where a page is
    /// shared with another process.
    pub fn move_out_own(&self, from: VirtAddr, run: Run, calls: &Counters) -> Result<(), Stopped> {
        calls.move_();
        let (to, len) = (self.addr(run.start), bytes(run.len));
        let hold = || self.moments.keep_off();
        // SAFETY: as for `move_out`.
        unsafe { self.uffd.move_pages(to, from, len, self.when_busy(), hold) }
    }

    /// The pages that were moved to slot `start` and following are those of `frames`.
    pub fn assign_moved(&self, frames: impl Iterator<Item = FrameNo>, start: u32) {
        self.assign(frames, start, 0);
    }

    /// Moves up to `count` pages from `from` into the pool, for any frames. It is
    /// cheaper than dropping them and making others. Answers how many; the rest the
    /// caller drops.
    pub fn recycle(&self, from: VirtAddr, count: u32, calls: &Counters) -> u32 {
        let mut slots = self.lock();
        let run = match slots.ready() < self.ready_max {
            true => slots.take_hollow(count),
            false => None,
        };
        drop(slots);
        let Some(mut run) = run else { return 0 };
        let moved = self.move_out_own(from, run, calls);
        let done = moved.map_or_else(|stopped| pages(stopped.done), |()| run.len);
        let mut slots = self.lock();
        slots.give_ready(run.split_front(done));
        slots.give_hollow(run);
        drop(slots);
        self.tell_waiting();
        done
    }

    /// `count` pages at addresses of programs are gone.
    pub fn dropped(&self, count: u32) {
        self.lock().unmade(count);
        self.tell_waiting();
    }

    /// There may be room now for whoever waits for some.
    fn tell_waiting(&self) {
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.changed.notify_all();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reserve(pages: u32) -> Result<Reservation, NewError> {
    let bytes = u64::from(pages) * PAGE_BYTES;
    Reservation::new(bytes as usize).map_err(|errno| NewError::Addresses { bytes, errno })
}

fn bytes(pages: u32) -> usize {
    pages as usize * PAGE_SIZE
}

fn pages(bytes: usize) -> u32 {
    (bytes / PAGE_SIZE) as u32
}
