//! `unmap`: addresses that mean nothing from now on.
//!
//! ```text
//!   areas      ┌─── A ───┐  ┌─ B ─┐ ┌──── C ────┐
//!   range            ╞═════════════════════╡
//!   left       ┌─ A ─┐                      ┌ C ┐
//!   removed          └ A ┘  └─ B ─┘ └── C ──┘
//! ```
//!
//! Holes are fine. A sealed area anywhere in the range, and nothing goes at all.
//!
//! Source: munmap(2).

use alloc::vec::Vec;

use faultless_addr::{PAGE_BYTES, VirtAddr, VirtRange};

use super::{AddressSpace, Vma, errno};

/// Why nothing was unmapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnmapError {
    /// The range has no page: name one at least.
    #[error("the range is empty")]
    Empty,
    /// An end of the range is inside a page: round it.
    #[error("the range does not lie between pages")]
    Unaligned,
    /// The range passes the end of the space.
    #[error("the range is outside of the address space")]
    OutOfBounds,
    /// A hole in the middle of an area makes it two, and there may be no more: unmap
    /// one from an end, or raise the limit.
    #[error("there are as many areas as there may be")]
    TooManyAreas,
    /// A sealed area is in the range: it stays.
    #[error("the area at {at:?} is sealed")]
    Sealed {
        /// Where the area starts.
        at: VirtAddr,
    },
}

impl UnmapError {
    /// What Linux calls it.
    pub fn errno(self) -> i32 {
        match self {
            UnmapError::Empty | UnmapError::Unaligned | UnmapError::OutOfBounds => errno::EINVAL,
            UnmapError::TooManyAreas => errno::ENOMEM,
            UnmapError::Sealed { .. } => errno::EPERM,
        }
    }
}

impl AddressSpace {
    /// Removes everything in `range`, and puts the pieces into `removed`, by address.
    pub fn unmap(&mut self, range: VirtRange, removed: &mut Vec<Vma>) -> Result<(), UnmapError> {
        if range.is_empty() {
            return Err(UnmapError::Empty);
        }
        if !range.is_page_aligned() {
            return Err(UnmapError::Unaligned);
        }
        if range.end > self.config.bounds.end {
            return Err(UnmapError::OutOfBounds);
        }
        self.check_removal(range)?;
        self.remove_all(range, removed);
        Ok(())
    }

    /// Removes everything, sealed or not, and puts the pieces into `removed`, by address.
    pub fn unmap_all(&mut self, removed: &mut Vec<Vma>) {
        self.remove_all(self.config.bounds, removed);
    }

    /// The range of whole pages that an address and a number of bytes name.
    pub fn unmap_range(&self, start: VirtAddr, len: u64) -> Result<VirtRange, UnmapError> {
        if len == 0 {
            return Err(UnmapError::Empty);
        }
        if !start.is_page_aligned() {
            return Err(UnmapError::Unaligned);
        }
        len.checked_next_multiple_of(PAGE_BYTES)
            .and_then(|len| VirtRange::from_len(start, len))
            .filter(|range| range.end <= self.config.bounds.end)
            .ok_or(UnmapError::OutOfBounds)
    }

    /// May everything in `range` go?
    pub(super) fn check_removal(&self, range: VirtRange) -> Result<(), UnmapError> {
        if self.covering(range).is_some() && self.len() >= self.config.areas_max {
            return Err(UnmapError::TooManyAreas);
        }
        let sealed = self.sealed_in(range).map(|area| area.range.start);
        sealed.map_or(Ok(()), |at| Err(UnmapError::Sealed { at }))
    }
}
