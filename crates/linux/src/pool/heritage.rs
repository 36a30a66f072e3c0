//! The pool around a fork.
//!
//! A fork leaves every page shared between parent and child until one of them stores to
//! it, and the kernel moves no shared page (EBUSY). So, from the first fork on:
//!
//! | moved | stores there | a shared page |
//! |---|---|---|
//! | from the pool | go through | is made this process's own first ([`unshare`]) |
//! | aside, from where stores go through | go through | the same |
//! | aside, from where they are stopped | | is copied and dropped |
//! | aside for other frames | either | is dropped |
//!
//! A shared page that nobody moves stays shared: it is in memory once.

use std::sync::atomic::Ordering;

use faultless_addr::{VirtAddr, VirtRange};
use faultless_sys::Errno;
use faultless_sys::memory::unshare;
use faultless_sys::uffd::{Stopped, Userfaultfd, WhenBusy};

use super::Pool;
use crate::error::NewError;

impl Pool {
    /// The next child has a copy of the pages; it adopts or renounces it.
    pub fn lend(&self) -> Result<(), Errno> {
        self.reservation.lend()?;
        self.zeros.lend()?;
        self.quarry.reservation().lend()
    }

    /// Ends that, in the parent.
    pub fn end_lending(&self) {
        self.reservation.end_lending();
        self.zeros.end_lending();
        self.quarry.reservation().end_lending();
        self.shares.store(true, Ordering::Release);
    }

    /// In a child: the copy is its pool.
    pub fn adopt(&self) -> Result<(), NewError> {
        self.uffd.renew()?;
        // SAFETY: as in `new`: the copy of our reservation.
        unsafe { self.uffd.register(self.reservation.range()) }.map_err(NewError::Register)?;
        self.reservation.adopt().map_err(NewError::Register)?;
        self.zeros.adopt().map_err(NewError::Register)?;
        self.quarry.reservation().adopt().map_err(NewError::Register)?;
        self.shares.store(true, Ordering::Release);
        Ok(())
    }

    /// In a child: any access to the copy is SIGBUS.
    pub fn renounce(&self) -> Result<(), Errno> {
        self.reservation.renounce()?;
        self.zeros.renounce()?;
        self.quarry.reservation().renounce()
    }

    /// Has a fork left pages shared with another process?
    pub fn shares(&self) -> bool {
        self.shares.load(Ordering::Acquire)
    }

    /// What to do about a page that is not to be moved: while none is shared, it is pinned,
    /// mostly for an instant.
    pub(super) fn when_busy(&self) -> WhenBusy {
        match self.shares() {
            true => WhenBusy::Stop,
            false => WhenBusy::Wait,
        }
    }

    /// Moves pages, those that are shared with another process as well.
    ///
    /// # Safety
    /// As for [`Userfaultfd::move_pages`]; the pages at `from` are open to stores.
    pub(super) unsafe fn relocate(
        &self,
        uffd: &Userfaultfd,
        to: VirtAddr,
        from: VirtAddr,
        len: usize,
    ) -> Result<(), Stopped> {
        let hold = || self.moments.keep_off();
        // SAFETY: the caller's promise is ours.
        let moved = unsafe { uffd.move_pages(to, from, len, self.when_busy(), hold) };
        let Err(Stopped { done, errno: Errno::BUSY }) = moved else { return moved };
        if self.when_busy() == WhenBusy::Wait {
            return moved;
        }
        let start = |start: VirtAddr| VirtAddr(start.0 + done as u64);
        let rest = VirtRange { start: start(from), end: VirtAddr(from.0 + len as u64) };
        let quiet = hold();
        // SAFETY: 1. the range is in a reservation of ours; 2. by the caller's promise its
        // pages are there and open to stores.
        unsafe { unshare(rest) }.map_err(|errno| Stopped { done, errno })?;
        drop(quiet);
        let (to, len) = (start(to), rest.len() as usize);
        // SAFETY: the caller's promise is ours.
        let moved = unsafe { uffd.move_pages(to, rest.start, len, WhenBusy::Wait, hold) };
        moved.map_err(|stopped| Stopped { done: done + stopped.done, ..stopped })
    }
}
