//! Pages of an object, and bytes of an object.

use core::fmt;

use crate::{PAGE_BYTES, PAGE_SHIFT};

/// The number of a page within its object, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageIndex(pub u64);

impl PageIndex {
    /// The page that holds byte `offset`.
    pub fn containing(offset: u64) -> PageIndex {
        PageIndex(offset >> PAGE_SHIFT)
    }

    /// The offset of the page's first byte.
    pub fn offset(self) -> u64 {
        self.0 << PAGE_SHIFT
    }

    /// The page `count` further on.
    pub fn plus(self, count: u64) -> PageIndex {
        PageIndex(self.0 + count)
    }

    /// The page after this one.
    pub fn next(self) -> PageIndex {
        self.plus(1)
    }
}

/// Pages `start..end` of an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageRange {
    /// The first page.
    pub start: PageIndex,
    /// The page after the last one.
    pub end: PageIndex,
}

impl PageRange {
    /// Pages `start..end`; an `end` before `start` makes an empty range.
    pub fn new(start: PageIndex, end: PageIndex) -> PageRange {
        PageRange { start, end: end.max(start) }
    }

    /// `count` pages from `start`.
    pub fn from_len(start: PageIndex, count: u64) -> PageRange {
        PageRange { start, end: start.plus(count) }
    }

    /// Every page that an object can have.
    pub fn all() -> PageRange {
        PageRange { start: PageIndex(0), end: PageIndex(u64::MAX >> PAGE_SHIFT) }
    }

    /// The number of pages.
    pub fn len(self) -> u64 {
        self.end.0 - self.start.0
    }

    /// Is there no page in it?
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Is `page` one of them?
    pub fn contains(self, page: PageIndex) -> bool {
        self.start <= page && page < self.end
    }

    /// The pages that are in both.
    pub fn intersect(self, other: PageRange) -> PageRange {
        PageRange::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// The pages, in order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = PageIndex> {
        (self.start.0..self.end.0).map(PageIndex)
    }
}

impl fmt::Debug for PageRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pages {}..{}", self.start.0, self.end.0)
    }
}

/// Bytes `start..end` of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// The byte after the last one.
    pub end: u64,
}

impl ByteRange {
    /// Bytes `start..end`; an `end` before `start` makes an empty range.
    pub fn new(start: u64, end: u64) -> ByteRange {
        ByteRange { start, end: end.max(start) }
    }

    /// `len` bytes from `start`, or `None` where that passes the last offset there is.
    pub fn from_len(start: u64, len: u64) -> Option<ByteRange> {
        Some(ByteRange { start, end: start.checked_add(len)? })
    }

    /// The number of bytes.
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// Is there no byte in it?
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Every page that holds one of these bytes.
    ///
    /// ```
    /// use faultless_addr::ByteRange;
    /// assert_eq!(ByteRange::new(4095, 4097).pages().len(), 2);
    /// assert!(ByteRange::new(5, 5).pages().is_empty());
    /// ```
    #[inline]
    pub fn pages(self) -> PageRange {
        if self.is_empty() {
            return PageRange::from_len(PageIndex::containing(self.start), 0);
        }
        PageRange::new(
            PageIndex::containing(self.start),
            PageIndex((self.end - 1) / PAGE_BYTES).next(),
        )
    }
}
