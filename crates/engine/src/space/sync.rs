//! `sync` and `mincore`: ranges that are only looked at.
//!
//! ```text
//!   areas     ┌─ A shared ─┐┌─ B private ─┐     ┌─ C shared ─┐
//!   sync         ╞═══════════════════════════════════════╡
//!   pieces       └── A ────┘                    └── C ───┘   to be written back
//!                                          ▲
//!                                          └ Hole: told when the rest is written
//!   mincore: pieces are A and B, and the hole ends it
//! ```
//!
//! Source: msync(2), mincore(2), and Linux 6.18: `MS_ASYNC` alone writes nothing, and
//! ends at a hole.

use alloc::vec::Vec;

use faultless_addr::{VirtAddr, VirtRange};

use super::edit::page_align;
use super::{AddressSpace, Sharing, Vma, VmaFlags, errno};

bitflags::bitflags! {
    /// What `sync` is to do; the bits are those of msync(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct SyncFlags: u32 {
        /// Soon. That is so anyway.
        const ASYNC = 1;
        /// Other maps shall see it. They do anyway; locked pages refuse it.
        const INVALIDATE = 2;
        /// Now.
        const SYNC = 4;
    }
}

/// Why a range is not written back, or not only that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// There are no such flags, or they contradict each other.
    #[error("there are no such flags, or they contradict each other")]
    BadFlags,
    /// The range begins inside a page: round it.
    #[error("the range does not lie between pages")]
    Unaligned,
    /// The range passes the last address there is.
    #[error("the range is outside of the address space")]
    OutOfBounds,
    /// There is no area at this address. The pieces are to be written all the same.
    #[error("there is no area at {at:?}")]
    Hole {
        /// The first address without an area.
        at: VirtAddr,
    },
    /// The area at this address is locked. The pieces are to be written all the same.
    #[error("the area at {at:?} is locked")]
    Locked {
        /// Where it ended.
        at: VirtAddr,
    },
}

impl SyncError {
    /// What Linux calls it.
    pub fn errno(self) -> i32 {
        match self {
            SyncError::BadFlags | SyncError::Unaligned => errno::EINVAL,
            SyncError::OutOfBounds | SyncError::Hole { .. } => errno::ENOMEM,
            SyncError::Locked { .. } => errno::EBUSY,
        }
    }
}

/// Why residency is not known, or not of all pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MincoreError {
    /// The range begins inside a page: round it.
    #[error("the range does not lie between pages")]
    Unaligned,
    /// The range leaves the address space.
    #[error("the range is outside of the address space")]
    OutOfBounds,
    /// There is no area at this address. The answer for the pages before it holds.
    #[error("there is no area at {at:?}")]
    Hole {
        /// The first address without an area.
        at: VirtAddr,
    },
}

impl MincoreError {
    /// What Linux calls it.
    pub fn errno(self) -> i32 {
        match self {
            MincoreError::Unaligned => errno::EINVAL,
            MincoreError::OutOfBounds | MincoreError::Hole { .. } => errno::ENOMEM,
        }
    }
}

impl AddressSpace {
    /// Puts the pieces of shared areas whose dirty pages are to be written now into
    /// `pieces`, by address. Pages of private areas are never written back.
    pub fn sync(
        &self,
        start: VirtAddr,
        len: u64,
        flags: SyncFlags,
        pieces: &mut Vec<Vma>,
    ) -> Result<(), SyncError> {
        let both = SyncFlags::ASYNC | SyncFlags::SYNC;
        if !SyncFlags::all().contains(flags) {
            return Err(SyncError::BadFlags);
        }
        if !start.is_page_aligned() {
            return Err(SyncError::Unaligned);
        }
        if flags.contains(both) {
            return Err(SyncError::BadFlags);
        }
        let range = VirtRange::from_len(start, page_align(len)).ok_or(SyncError::OutOfBounds)?;
        let hole = self.first_hole(range);
        for area in self.overlapping(range) {
            let piece = area.part(area.range.intersect(range));
            let at = piece.range.start;
            if let Some(at) = hole.filter(|&hole| hole < at && flags == SyncFlags::ASYNC) {
                return Err(SyncError::Hole { at });
            }
            if flags.contains(SyncFlags::INVALIDATE) && area.is_locked() {
                return Err(SyncError::Locked { at });
            }
            let writes =
                area.sharing == Sharing::Shared && !area.flags.contains(VmaFlags::NEVER_WRITE);
            if writes && flags.contains(SyncFlags::SYNC) {
                pieces.push(piece);
            }
        }
        hole.map_or(Ok(()), |at| Err(SyncError::Hole { at }))
    }

    /// Puts the pieces of areas of which residency is asked into `pieces`, by address, up
    /// to the first hole.
    pub fn mincore(
        &self,
        start: VirtAddr,
        len: u64,
        pieces: &mut Vec<Vma>,
    ) -> Result<(), MincoreError> {
        if !start.is_page_aligned() {
            return Err(MincoreError::Unaligned);
        }
        let bytes = VirtRange::from_len(start, len);
        bytes
            .filter(|range| range.end <= self.config.bounds.end)
            .ok_or(MincoreError::OutOfBounds)?;
        let range = VirtRange::new(start, VirtAddr(start.0 + page_align(len)));
        let hole = self.first_hole(range);
        let known = VirtRange::new(start, hole.unwrap_or(range.end));
        let areas = self.overlapping(known);
        pieces.extend(areas.map(|area| area.part(area.range.intersect(known))));
        hole.map_or(Ok(()), |at| Err(MincoreError::Hole { at }))
    }
}
