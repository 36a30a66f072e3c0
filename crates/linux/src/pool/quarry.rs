//! Pages that are neighbours in physical memory, cut out of huge ones.
//!
//! A disk is told where the bytes of a read are to go piece by piece, one for each stretch of
//! physical memory, and takes so many pieces at a time. Where each page is a piece of its
//! own, a virtual disk has room for two reads of 512 KiB, and such a read costs it 128 times
//! as much to look at. So while the pool grows for long reads, it takes pages by the huge
//! page: 512 neighbours, made by one call, that are then pages like others.
//!
//! They stay neighbours as long as they are moved together, which all that moves runs sees to:
//! reads end and pages leave where groups of 64 pages of a file do (the engine's `GROUP`), each
//! group lies in a word of slots, and a page of one is moved in, not copied, also alone.

use std::sync::{Mutex, MutexGuard, TryLockError};

use faultless_addr::{PAGE_BYTES, VirtAddr, VirtRange};
use faultless_sys::memory::{Reservation, dont_need};
use faultless_sys::uffd::WhenBusy;

use super::{Pool, bytes, pages, reserve};
use crate::calls::Counters;
use crate::error::NewError;
use crate::slots::Run;

/// Pages of a huge page.
const BLOCK: u32 = 512;

/// Reads of fewer pages gain nothing.
const LONG: u32 = 32;

/// What each page of a huge page begins with. A huge page that is split, by us or because memory
/// is short, keeps no page that is all zeros: each becomes the zero page, and with the first store
/// a page from elsewhere (Linux since 6.12, `try_to_map_unused_to_zeropage`).
const NOT_ZERO: u8 = 1;

/// Huge pages that can be made at the same time.
const FACES: u32 = 4;

/// Where huge pages are made; empty but for that moment.
#[derive(Debug)]
pub(super) struct Quarry {
    /// A block more, so that aligned ones are within.
    reservation: Reservation,
    /// One for each block. They are tried, never waited for, and so have no rank among locks.
    working: [Mutex<()>; FACES as usize],
}

impl Quarry {
    pub fn new() -> Result<Quarry, NewError> {
        let reservation = reserve((FACES + 1) * BLOCK)?;
        // Without huge pages its pages are like any others.
        reservation.prefer_huge().ok();
        Ok(Quarry { reservation, working: Default::default() })
    }

    /// The reservation, for what a fork does to it.
    pub fn reservation(&self) -> &Reservation {
        &self.reservation
    }

    /// Where a huge page fits that nobody else makes, for as long as the guard lives.
    fn block(&self) -> Option<(VirtRange, MutexGuard<'_, ()>)> {
        let len = u64::from(BLOCK) * PAGE_BYTES;
        let first = self.reservation.range().start.0.next_multiple_of(len);
        let starts = (0..).map(|n| VirtAddr(first + n * len));
        starts.zip(&self.working).find_map(|(start, working)| {
            let guard = match working.try_lock() {
                Ok(guard) => guard,
                Err(TryLockError::Poisoned(guard)) => guard.into_inner(),
                Err(TryLockError::WouldBlock) => return None,
            };
            Some((VirtRange { start, end: VirtAddr(start.0 + len) }, guard))
        })
    }
}

impl Pool {
    /// Before `wanted` frames get pages: has neighbours ready for them, if as many pages as a
    /// huge one has can be made and none need be dropped for it.
    pub(super) fn quarry(&self, wanted: u32, calls: &Counters) {
        if wanted < LONG {
            return;
        }
        // Who would have to wait could as well make pages one by one.
        let Some((block, working)) = self.quarry.block() else { return };
        let Some(mut run) = self.lock().take_block(wanted, BLOCK) else { return };
        let done = self.hew(block, run, calls);
        drop(working);
        let mut slots = self.lock();
        slots.give_ready(run.split_front(done));
        slots.give_hollow(run);
        slots.unmade(run.len);
        drop(slots);
        self.tell_waiting();
    }

    /// Makes pages, in a block, for slots that have none; answers how many.
    fn hew(&self, block: VirtRange, run: Run, calls: &Counters) -> u32 {
        if self.quarry.reservation.fill(block).is_err() {
            // Some may have been made.
            self.clear(block);
            return 0;
        }
        for page in 0..u64::from(BLOCK) {
            let byte = block.start.plus_pages(page).0 as *mut u8;
            // SAFETY: the block is ours, it has pages, and nobody else uses its addresses.
            unsafe { byte.write_volatile(NOT_ZERO) };
        }
        calls.move_();
        let (to, len) = (self.addr(run.start), bytes(run.len));
        // SAFETY: the block is ours, and nobody else uses its addresses.
        let moved = unsafe { self.uffd.move_pages(to, block.start, len, WhenBusy::Wait, || ()) };
        // What is left, and the page table: only where there is none can a huge page come.
        self.clear(block);
        moved.map_or_else(|stopped| pages(stopped.done), |()| run.len)
    }

    fn clear(&self, block: VirtRange) {
        // SAFETY: as in `hew`. Should it be refused, the next `fill` finds them there.
        unsafe { dont_need(block) }.ok();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use faultless_addr::FrameNo;

    use super::*;

    fn backed(pool: &Pool, first: u32, count: u32) -> Vec<FrameNo> {
        let frames: Vec<_> = (first..first + count).map(FrameNo).collect();
        pool.back(&frames, &Counters::default()).unwrap();
        frames
    }

    /// Numbers of physical pages; none where the kernel doesn't tell.
    fn physical(pool: &Pool, frames: &[FrameNo]) -> Option<Vec<u64>> {
        let pagemap = std::fs::File::open("/proc/self/pagemap").ok()?;
        let number = |frame: &FrameNo| {
            let (mut entry, page) = ([0; 8], pool.addr(pool.slot(*frame)).0 / PAGE_BYTES);
            pagemap.read_exact_at(&mut entry, page * 8).ok()?;
            Some(u64::from_le_bytes(entry) & ((1 << 55) - 1)).filter(|number| *number != 0)
        };
        frames.iter().map(number).collect()
    }

    fn has_huge_pages() -> bool {
        let mode = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
        mode.is_ok_and(|mode| !mode.contains("[never]"))
    }

    #[test]
    fn frames_of_a_long_read_are_neighbours_in_memory() {
        let pool = match Pool::new(4096, 256) {
            Ok(pool) => pool,
            Err(error) => return println!("skipped: {error}"),
        };
        for n in 0..8 {
            let frames = backed(&pool, n * 128, 128);
            let made = (n / 4 + 1) * BLOCK;
            assert_eq!(pool.physical().0, made as usize, "by the huge page");
            for frame in &frames {
                let byte = pool.addr(pool.slot(*frame)).0 as *mut u8;
                // SAFETY: the slot is the frame's, which is aside and nobody else's.
                unsafe {
                    assert_eq!(byte.read_volatile(), NOT_ZERO, "or it could be the zero page");
                    byte.write_volatile(NOT_ZERO + 1);
                }
            }
            match physical(&pool, &frames).filter(|_| has_huge_pages()) {
                // The machine may be short of huge pages once, not always.
                Some(numbers) if numbers.windows(2).all(|two| two[0] + 1 == two[1]) => return,
                Some(_) => {}
                None => return println!("skipped: nothing is known of physical pages"),
            }
        }
        panic!("none of eight runs lies in neighbouring pages");
    }

    #[test]
    fn short_reads_and_small_budgets_make_what_they_need() {
        let pool = match Pool::new(256, 64) {
            Ok(pool) => pool,
            Err(error) => return println!("skipped: {error}"),
        };
        backed(&pool, 0, LONG - 1);
        assert_eq!(pool.physical().0, LONG as usize - 1);
        backed(&pool, LONG, 128);
        assert_eq!(pool.physical().0, LONG as usize - 1 + 128, "no room for a huge page");
    }
}
