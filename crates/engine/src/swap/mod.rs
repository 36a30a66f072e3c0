//! Swap slots: which pages of a swap area are free, and how many hold each.
//!
//! A swap area is a backing for pages that have no file: slot `n` is its page `n`.
//! Pages that leave together are given slots that lie together, so that one write
//! takes them out and, since what left together is often wanted together, one read
//! brings them back.
//!
//! ```text
//!   slots     ·12·1111 ········ 111····· ········      a count of holders each,
//!                                  ▲                   · is free
//!                                  └ cursor: the next run begins here (next-fit)
//! ```
//!
//! - [`SwapMap`] counts holders (after a fork, parent and child hold the same
//!   slot) and chooses slots. Linux: `swap_map` and the clusters of
//!   `mm/swapfile.c`.
//! - [`SwapMap::cluster_of`] says what to read besides a wanted slot. Linux: the
//!   window of `mm/swap_state.c`, aligned in the same way.
//! - [`SwapMap::begin_punch`] says which free slots still take room in the file.
//!
//! **The swap cache**, from a slot to the frame that holds the same bytes in
//! memory, is not here: a swap area is an object whose page numbers are slots
//! ([`SwapSlot::page`]), so the page cache's own
//! [`PageCache`](crate::object::cache::PageCache) is its index, with a `PageOf`
//! that answers a frame's slot. `tests.rs` shows it. Nor is there I/O, or a way to
//! make an area smaller.

mod bits;
mod map;
#[cfg(test)]
mod tests;
mod window;

use core::fmt;

use faultless_addr::{PageIndex, PageRange};

pub use map::{Put, SwapMap, TooManyHolders};
pub use window::SwapWindow;

/// The number of a page of a swap area, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SwapSlot(pub u32);

impl SwapSlot {
    /// The slot's place in tables.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The slot as a page of its area: what a pager reads, what a page cache names.
    pub fn page(self) -> PageIndex {
        PageIndex(u64::from(self.0))
    }
}

/// Consecutive slots, at least one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SwapRun {
    /// The first slot.
    pub start: SwapSlot,
    /// How many there are.
    pub len: u32,
}

impl SwapRun {
    /// The slots, in order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = SwapSlot> {
        (self.start.0..self.end()).map(SwapSlot)
    }

    /// Is `slot` one of them?
    pub fn contains(self, slot: SwapSlot) -> bool {
        self.start <= slot && slot.0 < self.end()
    }

    /// The slots as pages of their area.
    pub fn pages(self) -> PageRange {
        PageRange::from_len(self.start.page(), u64::from(self.len))
    }

    /// The number after the last slot's; an area has no slot `u32::MAX`.
    fn end(self) -> u32 {
        self.start.0 + self.len
    }
}

impl fmt::Debug for SwapRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slots {}..{}", self.start.0, self.end())
    }
}
