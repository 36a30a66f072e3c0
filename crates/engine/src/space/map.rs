//! `map`: a new area, and where it goes.
//!
//! ```text
//!   Anywhere         the highest gap with room, at its upper end
//!   Hint             there if that is free, else Anywhere
//!   Fixed            there, whatever was there before
//!   FixedNoReplace   there, or not at all
//! ```
//!
//! Source: mmap(2), and what Linux 6 does where that says nothing: a hint is rounded
//! down, and placement is top-down.

use alloc::vec::Vec;

use faultless_addr::{PAGE_BYTES, PAGE_SHIFT, Prot, VirtAddr, VirtRange};

use super::{AddressSpace, Backing, Merge, Sharing, Vma, VmaFlags, unmap::covering};

/// Where a new area shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where there is room.
    Anywhere,
    /// At this address, rounded down to a page, if nothing is there.
    Hint(VirtAddr),
    /// At this address, in place of what is there (`MAP_FIXED`).
    Fixed(VirtAddr),
    /// At this address, where nothing may be (`MAP_FIXED_NOREPLACE`).
    FixedNoReplace(VirtAddr),
}

/// A new area, before it has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRequest {
    /// Where it shall be.
    pub place: Place,
    /// How many bytes it has at least: whole pages are mapped.
    pub len: u64,
    /// What the program may do.
    pub prot: Prot,
    /// Who sees what is stored.
    pub sharing: Sharing,
    /// Where its pages come from.
    pub backing: Backing,
    /// Further properties.
    pub flags: VmaFlags,
    /// May it merge with a neighbour?
    pub merge: Merge,
}

impl MapRequest {
    /// The bytes of its pages, where that is a number.
    fn len_aligned(&self) -> Option<u64> {
        self.len.checked_next_multiple_of(PAGE_BYTES)
    }

    /// The area, at `range`.
    fn at(&self, range: VirtRange) -> Vma {
        Vma {
            range,
            prot: self.prot,
            sharing: self.sharing,
            backing: self.backing,
            flags: self.flags,
            merge: self.merge,
        }
    }
}

/// Why there is no new area. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// It would have no page: ask for one at least.
    #[error("an area has at least one page")]
    Empty,
    /// The fixed address is not the first of a page: round it.
    #[error("a fixed address lies between pages")]
    Unaligned,
    /// The fixed range leaves the space: choose another.
    #[error("the range is outside of the address space")]
    OutOfBounds,
    /// Something is at the fixed range: choose another, or replace it.
    #[error("there is something at this address already")]
    Occupied,
    /// No gap has room: unmap something.
    #[error("no gap in the address space is large enough")]
    NoRoom,
    /// The limit of areas would be passed: unmap some, or raise it.
    #[error("there are as many areas as there may be")]
    TooManyAreas,
}

impl AddressSpace {
    /// Adds an area and says where it is. What was there before (`Place::Fixed`) is put
    /// into `replaced`, in pieces, by address.
    ///
    /// The answer is the range of what was asked for; [`find`](AddressSpace::find) may
    /// show a larger area, if it merged.
    pub fn map(
        &mut self,
        request: MapRequest,
        replaced: &mut Vec<Vma>,
    ) -> Result<VirtRange, MapError> {
        let range = self.place(&request)?;
        let area = request.at(range);
        if self.len_with(&area) > self.config.areas_max {
            return Err(MapError::TooManyAreas);
        }
        self.remove_all(range, replaced);
        self.gaps.take(range);
        self.pages += range.pages();
        self.insert_merged(area);
        Ok(range)
    }

    /// Decides where an area goes.
    fn place(&self, request: &MapRequest) -> Result<VirtRange, MapError> {
        if request.len == 0 {
            return Err(MapError::Empty);
        }
        match request.place {
            Place::Anywhere => self.highest_place(request),
            Place::Hint(addr) => {
                let hinted = request
                    .len_aligned()
                    .and_then(|len| VirtRange::from_len(addr.page_start(), len))
                    .filter(|&range| self.gaps.encloses(range));
                hinted.map_or_else(|| self.highest_place(request), Ok)
            }
            Place::Fixed(addr) => self.fixed_place(request, addr),
            Place::FixedNoReplace(addr) => {
                let range = self.fixed_place(request, addr)?;
                self.gaps.encloses(range).then_some(range).ok_or(MapError::Occupied)
            }
        }
    }

    fn fixed_place(&self, request: &MapRequest, addr: VirtAddr) -> Result<VirtRange, MapError> {
        if !addr.is_page_aligned() {
            return Err(MapError::Unaligned);
        }
        request
            .len_aligned()
            .and_then(|len| VirtRange::from_len(addr, len))
            .filter(|&range| self.config.bounds.encloses(range))
            .ok_or(MapError::OutOfBounds)
    }

    /// The upper end of the highest gap with room. Room is measured with both guards,
    /// but an area that merges with the one above it touches that: a guard in the middle
    /// of one area would guard nothing.
    fn highest_place(&self, request: &MapRequest) -> Result<VirtRange, MapError> {
        let len = request.len_aligned().ok_or(MapError::NoRoom)?;
        let gap = self.gaps.highest(len >> PAGE_SHIFT).ok_or(MapError::NoRoom)?;
        let ending_at = |end: u64| VirtRange::new(VirtAddr(end - len), VirtAddr(end));
        let touching = ending_at(gap.end.0);
        let apart =
            gap.end != self.config.bounds.end && self.merges_above(&request.at(touching)).is_none();
        match apart {
            true => Ok(ending_at(gap.end.0 - (self.config.guard_pages << PAGE_SHIFT))),
            false => Ok(touching),
        }
    }

    /// The number of areas that there will be when `area` is in its place.
    fn len_with(&self, area: &Vma) -> usize {
        let range = area.range;
        let whole = |old: &&Vma| range.encloses(old.range);
        let removed = self.overlapping(range).filter(whole).count();
        let split = usize::from(covering(self, range).is_some());
        // What is cut off at an end is a neighbour then, and may merge like one.
        let below = self.find_before(range.start).is_some_and(|low| low.can_merge(area));
        let above = self.find_part_from(range.end).is_some_and(|high| area.can_merge(&high));
        self.len() - removed + split + 1 - usize::from(below) - usize::from(above)
    }

    /// The part below `addr` of the area that reaches it from below.
    fn find_before(&self, addr: VirtAddr) -> Option<Vma> {
        let (_, area) = self.areas.range(..addr).next_back()?;
        let range = VirtRange::new(area.range.start, area.range.end.min(addr));
        Some(area.part(range))
    }

    /// The part from `addr` on of the area that holds it.
    fn find_part_from(&self, addr: VirtAddr) -> Option<Vma> {
        let area = self.find(addr)?;
        Some(area.part(VirtRange::new(addr, area.range.end)))
    }
}
