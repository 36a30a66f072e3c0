//! Ranges of bytes of a mapping, as the pages that a verb is for.

use std::ops::{Bound, RangeBounds};

use faultless_addr::{PAGE_BYTES, SpaceId, VirtAddr, VirtRange};

use crate::error::Error;

/// Where the bytes of a mapping are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub space: SpaceId,
    /// The first byte, which need not be the first of a page.
    pub start: VirtAddr,
    pub len: usize,
}

impl Extent {
    /// The pages of a range that begins with a page, or with the mapping; its end is rounded
    /// up, as by most calls.
    pub fn pages(&self, range: impl RangeBounds<usize>) -> Result<VirtRange, Error> {
        let (start, end) = self.bounds(&range)?;
        let first = VirtAddr(self.start.0 + start as u64);
        if start > 0 && !first.is_page_aligned() {
            return Err(Error::Unaligned { start: start as u64 });
        }
        Ok(self.rounded(start, end))
    }

    /// Every page with a byte in the range, as for `mlock(2)`.
    pub fn touched(&self, range: impl RangeBounds<usize>) -> Result<VirtRange, Error> {
        let (start, end) = self.bounds(&range)?;
        Ok(self.rounded(start, end))
    }

    fn rounded(&self, start: usize, end: usize) -> VirtRange {
        let first = VirtAddr(self.start.0 + start as u64).page_start();
        if start == end {
            return VirtRange::new(first, first);
        }
        let end = (self.start.0 + end as u64).next_multiple_of(PAGE_BYTES);
        VirtRange::new(first, VirtAddr(end))
    }

    pub fn bounds(&self, range: &impl RangeBounds<usize>) -> Result<(usize, usize), Error> {
        let start = match range.start_bound() {
            Bound::Included(start) => Some(*start),
            Bound::Excluded(before) => before.checked_add(1),
            Bound::Unbounded => Some(0),
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.checked_add(1),
            Bound::Excluded(end) => Some(*end),
            Bound::Unbounded => Some(self.len),
        };
        match (start, end) {
            (Some(start), Some(end)) if start <= end && end <= self.len => Ok((start, end)),
            _ => Err(Error::Outside {
                start: start.map_or(u64::MAX, |start| start as u64),
                end: end.map_or(u64::MAX, |end| end as u64),
                len: self.len as u64,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: Extent = Extent { space: SpaceId(0), start: VirtAddr(0x10_100), len: 0x3000 };

    fn pages(range: impl RangeBounds<usize>) -> Option<(u64, u64)> {
        EXTENT.pages(range).ok().map(|range| (range.start.0, range.end.0))
    }

    #[test]
    fn a_range_begins_with_a_page_or_with_the_mapping_and_ends_anywhere() {
        assert_eq!(pages(..), Some((0x10_000, 0x14_000)));
        assert_eq!(pages(0xf00..0xf01), Some((0x11_000, 0x12_000)));
        assert_eq!(pages(0xf00..=0x1eff), Some((0x11_000, 0x12_000)));
        assert_eq!(pages(..0xf00), Some((0x10_000, 0x11_000)));
        assert_eq!(pages(0x1f00..0x1f00), Some((0x12_000, 0x12_000)));
        assert_eq!(pages(1..2), None);
        assert_eq!(pages(..0x3001), None);
        assert_eq!(pages(0..=usize::MAX), None);
        assert_eq!(EXTENT.pages(1..2).unwrap_err().errno(), libc::EINVAL);
        assert_eq!(EXTENT.pages(0x4000..).unwrap_err().errno(), libc::ENOMEM);
        assert_eq!(EXTENT.touched(1..2).unwrap().len(), 0x1000);
    }
}
