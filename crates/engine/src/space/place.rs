//! Where a new area goes.
//!
//! ```text
//!   Anywhere         the highest gap with room, at its upper end
//!   Hint             there if that is free, else Anywhere
//!   Low              there if that is free and below 2 GiB, else the lowest place in the
//!                    second GiB
//!   Fixed            there, whatever was there before
//!   FixedNoReplace   there, or not at all
//! ```
//!
//! Source: mmap(2), and what Linux 6 does where that says nothing: a hint is rounded
//! down, and placement is top-down, from the base of the layout if there is one. An area
//! that grows down keeps 256 pages below it free of everything but fixed areas.

use faultless_addr::{PAGE_SHIFT, VirtAddr, VirtRange};

use super::gaps::{Above, Gap};
use super::{AddressSpace, MapError, Vma};

/// Where Linux on x86-64 looks for room if an address has to fit into 31 bits.
const LOW: VirtRange = VirtRange { start: VirtAddr(1 << 30), end: VirtAddr(2 << 30) };

/// Where a new area shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where there is room.
    Anywhere,
    /// At this address, rounded down to a page, if nothing is there.
    Hint(VirtAddr),
    /// Below 2 GiB (`MAP_32BIT`): at this address, rounded down to a page, if it is not in
    /// the first page and nothing is there; else from 1 GiB on, as low as there is room.
    Low(VirtAddr),
    /// At this address, in place of what is there (`MAP_FIXED`).
    Fixed(VirtAddr),
    /// At this address, where nothing may be (`MAP_FIXED_NOREPLACE`).
    FixedNoReplace(VirtAddr),
}

impl AddressSpace {
    /// Decides where an area like `area` goes, with so many bytes; `None` is more bytes
    /// than there are numbers.
    pub(super) fn place(
        &self,
        place: Place,
        area: &Vma,
        len: Option<u64>,
    ) -> Result<VirtRange, MapError> {
        match place {
            Place::Anywhere => self.highest_place(area, len),
            Place::Hint(addr) => {
                let hinted = len
                    .and_then(|len| VirtRange::from_len(addr.page_start(), len))
                    .filter(|&range| self.gaps.has_room_at(range));
                hinted.map_or_else(|| self.highest_place(area, len), Ok)
            }
            Place::Low(addr) => {
                let len = len.ok_or(MapError::NoRoom)?;
                let hinted = VirtRange::from_len(addr.page_start(), len)
                    .filter(|range| range.start.0 > 0 && range.end <= LOW.end)
                    .filter(|&range| self.gaps.has_room_at(range));
                let lowest = || self.gaps.lowest(len >> PAGE_SHIFT, LOW);
                hinted.or_else(lowest).ok_or(MapError::NoRoom)
            }
            Place::Fixed(addr) => self.fixed_place(addr, len),
            Place::FixedNoReplace(addr) => {
                let range = self.fixed_place(addr, len)?;
                self.gaps.encloses(range).then_some(range).ok_or(MapError::Occupied)
            }
        }
    }

    fn fixed_place(&self, addr: VirtAddr, len: Option<u64>) -> Result<VirtRange, MapError> {
        let bounds = self.config.bounds;
        let range = len
            .and_then(|len| VirtRange::from_len(addr, len))
            .filter(|range| range.end <= bounds.end)
            .ok_or(MapError::OutOfBounds)?;
        match addr.is_page_aligned() {
            false => Err(MapError::Unaligned),
            true if addr < bounds.start => Err(MapError::BelowBounds),
            true => Ok(range),
        }
    }

    /// The upper end of the highest gap with room. Room is measured with both guards,
    /// but an area that merges with the one above it touches that: a guard in the middle
    /// of one area would guard nothing.
    fn highest_place(&self, area: &Vma, len: Option<u64>) -> Result<VirtRange, MapError> {
        let len = len.ok_or(MapError::NoRoom)?;
        let gap = self.highest_gap(len >> PAGE_SHIFT).ok_or(MapError::NoRoom)?;
        let ending_at = |end: u64| VirtRange::new(VirtAddr(end - len), VirtAddr(end));
        let end = gap.range.end.0;
        let touching = ending_at(end);
        let merges = || self.merges_above(&area.at(touching)).is_some();
        let range = match gap.above {
            Above::Area if merges() => touching,
            above => ending_at(end - (self.gaps.guard(above) << PAGE_SHIFT)),
        };
        // Where a null pointer leads, nothing is unless somebody says so.
        Some(range).filter(|range| range.start.0 > 0).ok_or(MapError::NoRoom)
    }

    /// Below the base of mappings if there is room, else anywhere.
    fn highest_gap(&self, pages: u64) -> Option<Gap> {
        let end = self.config.bounds.end;
        let base = self.layout.as_ref().map_or(end, |layout| layout.mmap_base);
        self.gaps.highest(pages, base).or_else(|| self.gaps.highest(pages, end))
    }
}
