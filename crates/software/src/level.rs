//! How an address names an entry in each of four tables.
//!
//! ```text
//!   63          48 47      39 38      30 29      21 20      12 11         0
//!  ┌──────────────┬──────────┬──────────┬──────────┬──────────┬────────────┐
//!  │ all as bit 47│ PML4     │ PDPT     │ PD       │ PT       │ offset     │
//!  └──────────────┴──────────┴──────────┴──────────┴──────────┴────────────┘
//!     canonical     9 bits     9 bits     9 bits     9 bits     12 bits
//! ```
//!
//! Source: Intel SDM vol. 3A, section 4.5.4; canonical addresses: vol. 1,
//! section 3.3.7.1.

use faultless_addr::{PAGE_BYTES, PAGE_SHIFT, VirtAddr, VirtRange};

use crate::memory::WORDS;

/// Bits of an address that tables translate or that are the offset.
const ADDRESS_BITS: u32 = 48;

/// Every address that a range of whole pages can have: all but the last page.
pub const EVERYWHERE: VirtRange =
    VirtRange { start: VirtAddr(0), end: VirtAddr(0u64.wrapping_sub(PAGE_BYTES)) };

/// One of the four tables on the way to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The page table: its entries name pages, 4 KiB each.
    Pt,
    /// The page directory: 2 MiB each.
    Pd,
    /// The page-directory-pointer table: 1 GiB each.
    Pdpt,
    /// The page map, level 4; a space's root: 512 GiB each.
    Pml4,
}

impl Level {
    /// The level that this one's entries name, or `None` where they name pages.
    pub fn next(self) -> Option<Level> {
        match self {
            Level::Pml4 => Some(Level::Pdpt),
            Level::Pdpt => Some(Level::Pd),
            Level::Pd => Some(Level::Pt),
            Level::Pt => None,
        }
    }

    /// The field's name for a table of this level.
    pub fn name(self) -> &'static str {
        match self {
            Level::Pml4 => "PML4",
            Level::Pdpt => "PDPT",
            Level::Pd => "PD",
            Level::Pt => "PT",
        }
    }

    /// Which entry of a table of this level is on the way to `addr`.
    pub fn index(self, addr: VirtAddr) -> usize {
        (addr.0 >> self.shift()) as usize % WORDS
    }

    /// The first address of entry `index`, in a table whose own first address is `base`.
    pub fn address(self, base: VirtAddr, index: usize) -> VirtAddr {
        canonical(VirtAddr(base.0 + ((index as u64) << self.shift())))
    }

    /// The addresses of entry `index`, in a table whose own first address is `base`; but
    /// not the world's last page, which no range holds.
    pub fn span(self, base: VirtAddr, index: usize) -> VirtRange {
        let start = self.address(base, index);
        let end = start.0.checked_add(1 << self.shift()).map_or(EVERYWHERE.end, VirtAddr);
        VirtRange::new(start, end)
    }

    fn shift(self) -> u32 {
        PAGE_SHIFT + 9 * self as u32
    }
}

/// Can a processor translate `addr`? Its upper 17 bits must be equal.
pub fn is_canonical(addr: VirtAddr) -> bool {
    canonical(addr) == addr
}

/// Is every address of `range` canonical? Such a range lies in one half of the world.
pub fn is_canonical_range(range: VirtRange) -> bool {
    let last = VirtAddr(range.end.0.saturating_sub(1).max(range.start.0));
    let half = |addr: VirtAddr| addr.0 >> (ADDRESS_BITS - 1);
    is_canonical(range.start) && half(range.start) == half(last)
}

/// `addr` with its upper bits made equal to bit 47.
fn canonical(addr: VirtAddr) -> VirtAddr {
    let unused = u64::BITS - ADDRESS_BITS;
    VirtAddr(((addr.0 << unused) as i64 >> unused) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: u64 = 1 << 47;
    const UPPER: u64 = 0xffff_8000_0000_0000;

    #[test]
    fn an_address_is_four_indices() {
        let addr = VirtAddr(1 << 39 | 2 << 30 | 3 << 21 | 4 << 12 | 5);
        let indices = [Level::Pml4, Level::Pdpt, Level::Pd, Level::Pt].map(|l| l.index(addr));
        assert_eq!(indices, [1, 2, 3, 4]);
        assert_eq!(Level::Pml4.index(VirtAddr(UPPER)), 256);
        assert_eq!(Level::Pml4.address(VirtAddr(0), 256), VirtAddr(UPPER));
        assert_eq!(Level::Pt.address(VirtAddr(UPPER), 1), VirtAddr(UPPER + 4096));
    }

    #[test]
    fn spans_follow_each_other() {
        let lower = Level::Pml4.span(VirtAddr(0), 255);
        assert_eq!(lower, VirtRange::new(VirtAddr(255 << 39), VirtAddr(HALF)));
        let upper = Level::Pml4.span(VirtAddr(0), 511);
        assert_eq!(upper, VirtRange::new(VirtAddr(0xffff_ff80_0000_0000), EVERYWHERE.end));
        assert_eq!(Level::Pt.span(VirtAddr(UPPER), 3).start, VirtAddr(UPPER + 3 * PAGE_BYTES));
    }

    #[test]
    fn the_middle_of_the_world_is_not_canonical() {
        for addr in [0, HALF - 1, UPPER, u64::MAX] {
            assert!(is_canonical(VirtAddr(addr)), "{addr:#x}");
        }
        for addr in [HALF, UPPER - 1, 1 << 63] {
            assert!(!is_canonical(VirtAddr(addr)), "{addr:#x}");
        }
    }

    #[test]
    fn a_range_must_be_in_one_half() {
        let range = |start, end| is_canonical_range(VirtRange::new(VirtAddr(start), VirtAddr(end)));
        assert!(range(0, HALF) && range(UPPER, u64::MAX) && range(4096, 4096));
        assert!(!range(0, HALF + 1) && !range(0, UPPER + 1) && !range(HALF, HALF + 1));
    }
}
