//! `lock` and `unlock`: areas whose pages stay in memory.
//!
//! ```text
//!   areas     ┌─── A ───┐┌── B ──┐      ┌─ C ─┐
//!   lock           ╞══════════════════════╡
//!   after     ┌ A ─┐┌ A ┐┌── B ──┐      ┌─ C ─┐
//!                   locked        ▲
//!                                 └ Hole: what is before is locked, and stays so
//! ```
//!
//! A lock is counted page by page, touched or not, against `RLIMIT_MEMLOCK`. Ranges here
//! need not lie between pages: every page with a byte in one is meant.
//!
//! Source: mlock(2), mlockall(2); the order of the checks is that of Linux 6.18. A length
//! that wraps to 0 when rounded up is a length of 0 there, too.

use faultless_addr::{PAGE_BYTES, VirtAddr, VirtRange};

use super::edit::{TooManyAreas, page_align};
use super::{AddressSpace, Vma, VmaFlags, errno};

/// When a locked area's pages come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Now.
    Full,
    /// When they are touched (`MLOCK_ONFAULT`).
    OnFault,
}

impl LockKind {
    /// What the `flags` of mlock2(2) ask for.
    pub fn from_flags(flags: u32) -> Result<LockKind, LockError> {
        match flags {
            0 => Ok(LockKind::Full),
            1 => Ok(LockKind::OnFault),
            _ => Err(LockError::BadFlags),
        }
    }

    fn flags(self) -> VmaFlags {
        match self {
            LockKind::Full => VmaFlags::LOCKED,
            LockKind::OnFault => VmaFlags::LOCKS,
        }
    }
}

bitflags::bitflags! {
    /// Which areas `lock_all` means; the bits are those of mlockall(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct LockAll: u32 {
        /// Those that are there.
        const CURRENT = 1;
        /// Those that will come.
        const FUTURE = 2;
        /// Their pages come when they are touched.
        const ON_FAULT = 4;
    }
}

/// Why a range is not locked or unlocked, or not all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// There are no such flags, or not on their own.
    #[error("there are no such flags")]
    BadFlags,
    /// Nothing may be locked at all.
    #[error("locking memory is not allowed")]
    Forbidden,
    /// There would be more locked pages than there may be. Nothing has changed.
    #[error("there would be more locked pages than there may be")]
    TooManyLocked,
    /// The range passes the last address there is. Nothing has changed.
    #[error("the range is outside of the address space")]
    OutOfBounds,
    /// There is no area at this address. What is before it has changed.
    #[error("there is no area at {at:?}")]
    Hole {
        /// The first address without an area.
        at: VirtAddr,
    },
    /// The area at this address would have to be split, and there may be no more areas.
    /// What is before it has changed.
    #[error("there are as many areas as there may be, and the one at {at:?} would be split")]
    TooManyAreas {
        /// The first address that stays as it was.
        at: VirtAddr,
    },
}

impl LockError {
    /// What Linux calls it.
    pub fn errno(self) -> i32 {
        match self {
            LockError::BadFlags | LockError::OutOfBounds => errno::EINVAL,
            LockError::Forbidden => errno::EPERM,
            LockError::TooManyLocked | LockError::Hole { .. } | LockError::TooManyAreas { .. } => {
                errno::ENOMEM
            }
        }
    }
}

impl AddressSpace {
    /// Locks every page that has one of these bytes. The answer is what must be brought
    /// in now, see [`to_populate`](AddressSpace::to_populate): where that fails, so does
    /// mlock(2), with ENOMEM, and the locks stay.
    pub fn lock(
        &mut self,
        start: VirtAddr,
        len: u64,
        kind: LockKind,
    ) -> Result<VirtRange, LockError> {
        if !self.limits.allow_locks() {
            return Err(LockError::Forbidden);
        }
        let len = page_align(len.wrapping_add(start.0 % PAGE_BYTES));
        let range = VirtRange::from_len(start.page_start(), len);
        let already = range.map_or(0, |range| self.locked_in(range));
        let more = VirtRange::new(VirtAddr(0), VirtAddr(len)).pages().saturating_sub(already);
        if !self.limits.allow_locked(self.locked_pages() + more) {
            return Err(LockError::TooManyLocked);
        }
        let range = range.ok_or(LockError::OutOfBounds)?;
        self.set_locks(range, kind.flags())?;
        Ok(range)
    }

    /// Unlocks every page that has one of these bytes.
    pub fn unlock(&mut self, start: VirtAddr, len: u64) -> Result<(), LockError> {
        let len = page_align(len.wrapping_add(start.0 % PAGE_BYTES));
        let range = VirtRange::from_len(start.page_start(), len);
        self.set_locks(range.ok_or(LockError::OutOfBounds)?, VmaFlags::empty())
    }

    /// Locks all areas that are there, or will come, or both. The answer is what must be
    /// brought in now; what can't be is no error of mlockall(2).
    pub fn lock_all(&mut self, which: LockAll) -> Result<VirtRange, LockError> {
        let none = VirtRange::new(self.config.bounds.start, self.config.bounds.start);
        if !LockAll::all().contains(which) || which.is_empty() || which == LockAll::ON_FAULT {
            return Err(LockError::BadFlags);
        }
        if !self.limits.allow_locks() {
            return Err(LockError::Forbidden);
        }
        let current = which.contains(LockAll::CURRENT);
        if current && !self.limits.allow_locked(self.pages()) {
            return Err(LockError::TooManyLocked);
        }
        let kind = match which.contains(LockAll::ON_FAULT) {
            true => LockKind::OnFault,
            false => LockKind::Full,
        };
        self.future_locks = match which.contains(LockAll::FUTURE) {
            true => kind.flags(),
            false => VmaFlags::empty(),
        };
        if current {
            self.set_all_locks(kind.flags());
        }
        Ok(if current { self.config.bounds } else { none })
    }

    /// Unlocks everything, also what will come.
    pub fn unlock_all(&mut self) {
        self.future_locks = VmaFlags::empty();
        self.set_all_locks(VmaFlags::empty());
    }

    /// The locks of areas to come.
    pub fn future_locks(&self) -> VmaFlags {
        self.future_locks
    }

    fn locked_in(&self, range: VirtRange) -> u64 {
        let locked = self.overlapping(range).filter(|area| area.is_locked());
        locked.map(|area| area.range.intersect(range).pages()).sum()
    }

    /// What is in no area is left out; and since every area changes, there are not more
    /// of them afterwards.
    fn set_all_locks(&mut self, locks: VmaFlags) {
        let mut at = self.config.bounds.start;
        while let Some((_, &area)) = self.areas.range(at..).next() {
            at = area.range.end;
            let changed = self.set_area_locks(area, locks);
            debug_assert!(changed.is_ok(), "a whole area changes without another");
        }
    }

    /// Up to the first hole.
    fn set_locks(&mut self, range: VirtRange, locks: VmaFlags) -> Result<(), LockError> {
        let mut at = range.start;
        while at < range.end {
            let area = *self.find(at).ok_or(LockError::Hole { at })?;
            let piece = area.part(area.range.intersect(VirtRange::new(at, range.end)));
            self.set_area_locks(piece, locks).map_err(|_| LockError::TooManyAreas { at })?;
            at = piece.range.end;
        }
        Ok(())
    }

    /// A device's pages stay without a lock, and what may be dropped has none.
    fn set_area_locks(&mut self, piece: Vma, locks: VmaFlags) -> Result<(), TooManyAreas> {
        let flags = (piece.flags - VmaFlags::LOCKS) | locks;
        let has_none = piece.flags.intersects(VmaFlags::DEVICE | VmaFlags::DROPPABLE);
        if flags == piece.flags || has_none {
            return Ok(());
        }
        self.change_flags(piece, flags)
    }
}
