//! Memory of frames that are aside: a place each, and few pages more than are in use.

use std::sync::{Mutex, MutexGuard, PoisonError};

use faultless_addr::{PAGE_BYTES, PAGE_SIZE, VirtAddr, VirtRange};
use faultless_sys::memory::{Reservation, dont_need_many};

use crate::error::NewError;

/// As many places as there are frames.
#[derive(Debug)]
pub struct Buffers {
    reservation: Reservation,
    free: Mutex<Free>,
    /// More pages than this aren't kept for the next frame.
    keep: usize,
}

#[derive(Debug)]
struct Free {
    /// Places that have a page.
    ready: Vec<u32>,
    /// Places that have none.
    hollow: Vec<u32>,
}

impl Buffers {
    pub fn new(frames: u32, keep: u32) -> Result<Buffers, NewError> {
        let bytes = u64::from(frames) * PAGE_BYTES;
        let reservation = Reservation::new(bytes as usize)
            .map_err(|errno| NewError::Addresses { bytes, errno })?;
        // The lowest are given out first.
        let hollow = (0..frames).rev().collect();
        let free = Mutex::new(Free { ready: Vec::with_capacity(keep as usize), hollow });
        Ok(Buffers { reservation, free, keep: keep as usize })
    }

    /// A place, its bytes unspecified. There is one for each frame.
    pub fn take(&self) -> VirtAddr {
        let mut free = self.lock();
        let place = free.ready.pop().or_else(|| free.hollow.pop());
        self.addr(place.expect("a place for each frame"))
    }

    /// Places that are free again.
    pub fn give(&self, places: &[VirtAddr]) {
        let mut free = self.lock();
        free.ready.extend(places.iter().map(|at| self.number(*at)));
        let excess = free.ready.len().saturating_sub(self.keep);
        if excess == 0 {
            return;
        }
        let mut dropped: Vec<u32> = free.ready.drain(..excess).collect();
        drop(free);
        dropped.sort_unstable();
        let page = |place: &u32| VirtRange::page(self.addr(*place));
        let pages: Vec<VirtRange> = dropped.iter().map(page).collect();
        // SAFETY: 1. the places are in our reservation; 2. they were free, and are nobody's
        // until they are given back below. Should it be refused, memory stays; no byte of
        // a place matters before it is written.
        let _ = unsafe { dont_need_many(&pages) };
        self.lock().hollow.extend(dropped.into_iter().rev());
    }

    /// Is it one of the places?
    pub fn holds(&self, at: VirtAddr) -> bool {
        self.reservation.range().contains(at)
    }

    pub fn bookkeeping_bytes(&self) -> usize {
        let free = self.lock();
        (free.ready.capacity() + free.hollow.capacity()) * size_of::<u32>()
    }

    fn addr(&self, place: u32) -> VirtAddr {
        self.reservation.range().start.plus_pages(place.into())
    }

    fn number(&self, at: VirtAddr) -> u32 {
        ((at.0 - self.reservation.range().start.0) / PAGE_SIZE as u64) as u32
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_beyond_what_is_kept_lose_their_pages() {
        let buffers = Buffers::new(8, 2).unwrap();
        let places: Vec<VirtAddr> = (0..8).map(|_| buffers.take()).collect();
        let byte = |at: &VirtAddr| at.0 as *mut u8;
        for at in &places {
            // SAFETY: 1. the place is ours until it is given back.
            unsafe { byte(at).write_volatile(9) };
        }
        buffers.give(&places);
        let again: Vec<VirtAddr> = (0..8).map(|_| buffers.take()).collect();
        // SAFETY: as above.
        let kept = again.iter().filter(|at| unsafe { byte(at).read_volatile() } == 9).count();
        assert_eq!(kept, 2);
    }
}
