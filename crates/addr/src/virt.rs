//! Virtual addresses and ranges of them.

use core::fmt;

use crate::{PAGE_BYTES, PAGE_SHIFT};

/// An address as a program sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VirtAddr(pub u64);

impl VirtAddr {
    /// The start of the page that holds this address.
    pub fn page_start(self) -> VirtAddr {
        VirtAddr(self.0 & !(PAGE_BYTES - 1))
    }

    /// Is it the first address of a page?
    pub fn is_page_aligned(self) -> bool {
        self.0.is_multiple_of(PAGE_BYTES)
    }

    /// The address `bytes` further on, or `None` past the end of the world.
    pub fn checked_add(self, bytes: u64) -> Option<VirtAddr> {
        self.0.checked_add(bytes).map(VirtAddr)
    }

    /// The address `pages` whole pages further on.
    pub fn plus_pages(self, pages: u64) -> VirtAddr {
        VirtAddr(self.0 + (pages << PAGE_SHIFT))
    }
}

impl fmt::Debug for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Addresses `start..end`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VirtRange {
    /// The first address.
    pub start: VirtAddr,
    /// The address after the last one.
    pub end: VirtAddr,
}

impl VirtRange {
    /// Addresses `start..end`; an `end` before `start` makes an empty range.
    #[inline]
    pub fn new(start: VirtAddr, end: VirtAddr) -> VirtRange {
        VirtRange { start, end: end.max(start) }
    }

    /// `len` bytes from `start`, or `None` where that wraps around.
    pub fn from_len(start: VirtAddr, len: u64) -> Option<VirtRange> {
        Some(VirtRange { start, end: start.checked_add(len)? })
    }

    /// The page at `start`, which is the first address of a page.
    pub fn page(start: VirtAddr) -> VirtRange {
        VirtRange { start, end: start.plus_pages(1) }
    }

    /// The number of bytes.
    pub fn len(self) -> u64 {
        self.end.0 - self.start.0
    }

    /// The number of whole pages.
    pub fn pages(self) -> u64 {
        self.len() >> PAGE_SHIFT
    }

    /// Is there no address in it?
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Do both ends lie between pages?
    pub fn is_page_aligned(self) -> bool {
        self.start.is_page_aligned() && self.end.is_page_aligned()
    }

    /// Is `addr` one of them?
    pub fn contains(self, addr: VirtAddr) -> bool {
        self.start <= addr && addr < self.end
    }

    /// Is every address of `other` one of them?
    pub fn encloses(self, other: VirtRange) -> bool {
        other.is_empty() || (self.start <= other.start && other.end <= self.end)
    }

    /// Is any address in both?
    pub fn overlaps(self, other: VirtRange) -> bool {
        self.start < other.end && other.start < self.end && !self.is_empty() && !other.is_empty()
    }

    /// The addresses that are in both.
    pub fn intersect(self, other: VirtRange) -> VirtRange {
        VirtRange::new(self.start.max(other.start), self.end.min(other.end))
    }
}

impl fmt::Debug for VirtRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x}", self.start.0, self.end.0)
    }
}
