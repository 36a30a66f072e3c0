//! `unmap`: addresses that mean nothing from now on.
//!
//! ```text
//!   areas      ┌─── A ───┐  ┌─ B ─┐ ┌──── C ────┐
//!   range            ╞═════════════════════╡
//!   left       ┌─ A ─┐                      ┌ C ┐
//!   removed          └ A ┘  └─ B ─┘ └── C ──┘
//! ```
//!
//! Source: munmap(2). Holes are fine.

use alloc::vec::Vec;

use faultless_addr::VirtRange;

use super::{AddressSpace, Vma};

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
        if covering(self, range).is_some() && self.len() >= self.config.areas_max {
            return Err(UnmapError::TooManyAreas);
        }
        self.remove_all(range, removed);
        Ok(())
    }

    /// Removes everything in `range`, which lies between pages.
    pub(super) fn remove_all(&mut self, range: VirtRange, removed: &mut Vec<Vma>) {
        let first_removed = removed.len();
        removed.extend(self.overlapping(range).copied());
        for piece in &mut removed[first_removed..] {
            let area = *piece;
            *piece = area.part(area.range.intersect(range));
            self.cut(area, piece.range);
            self.gaps.give(piece.range);
            self.pages -= piece.range.pages();
        }
    }
}

/// The area that `range` would leave in two.
pub fn covering(space: &AddressSpace, range: VirtRange) -> Option<&Vma> {
    let inside = |area: &&Vma| area.range.start < range.start && range.end < area.range.end;
    space.find(range.start).filter(inside)
}
