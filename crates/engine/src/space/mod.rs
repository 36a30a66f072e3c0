//! Address spaces: which addresses mean something, and what.
//!
//! ```text
//!   bounds.start                                                     bounds.end
//!   │                                                                         │
//!   ▼     gap      ┌──────┐  gap  ┌──────┬────────┐          gap              ▼
//!   ├──────────────┤ Vma  ├───────┤ Vma  │  Vma   ├───────────────────────────┤
//!                  └──────┘       └──────┴────────┘
//! ```
//!
//! An [`AddressSpace`] is a map from addresses to areas ([`Vma`]), ordered by start, and
//! its complement, the gaps. Areas never overlap and never are empty; neighbours
//! that could be one area are one area, because each verb merges what it changes.
//!
//! A verb has a file: [`map`](AddressSpace::map), [`unmap`](AddressSpace::unmap),
//! [`protect`](AddressSpace::protect). They change areas only. What was mapped where an
//! area went is for the caller to take away, from the pieces that a verb hands back.
//!
//! There is no lock, no translation and no page here.

mod gaps;
mod map;
mod protect;
#[cfg(test)]
mod tests;
mod unmap;
mod vma;

use alloc::collections::BTreeMap;

use faultless_addr::{VirtAddr, VirtRange};

use gaps::Gaps;
pub use map::{MapError, MapRequest, Place};
pub use protect::ProtectError;
pub use unmap::UnmapError;
pub use vma::{Backing, Merge, Sharing, Vma, VmaFlags};

/// What an address space is like from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceConfig {
    /// The addresses that there are; both ends lie between pages.
    pub bounds: VirtRange,
    /// Pages that [`Place::Anywhere`] leaves free between two areas. A program that runs
    /// off the end of one then faults, and does not find itself in the other.
    pub guard_pages: u64,
    /// The most areas that there may be.
    pub areas_max: usize,
}

impl SpaceConfig {
    /// The most areas that Linux allows unless told otherwise (`vm.max_map_count`).
    pub const AREAS_MAX: usize = 65_530;
}

/// The areas of one address space, and where there are none.
#[derive(Clone)]
pub struct AddressSpace {
    config: SpaceConfig,
    /// Keyed by the start of their range.
    areas: BTreeMap<VirtAddr, Vma>,
    /// The complement of `areas` within the bounds.
    gaps: Gaps,
    pages: u64,
}

/// The area limit would be passed. The verbs have this in their own errors.
struct TooManyAreas;

impl AddressSpace {
    /// A space without areas, with Linux's usual limit on their number.
    pub fn new(bounds: VirtRange, guard_pages: u64) -> AddressSpace {
        let areas_max = SpaceConfig::AREAS_MAX;
        AddressSpace::with_config(SpaceConfig { bounds, guard_pages, areas_max })
    }

    /// A space without areas.
    pub fn with_config(config: SpaceConfig) -> AddressSpace {
        assert!(config.bounds.is_page_aligned(), "the bounds lie between pages");
        let gaps = Gaps::new(config.bounds, config.guard_pages);
        AddressSpace { config, areas: BTreeMap::new(), gaps, pages: 0 }
    }

    /// What the space was made with.
    pub fn config(&self) -> &SpaceConfig {
        &self.config
    }

    /// The number of areas.
    pub fn len(&self) -> usize {
        self.areas.len()
    }

    /// Are there no areas?
    pub fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }

    /// The number of pages in all areas: what `RLIMIT_AS` limits.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// The area that holds `addr`.
    pub fn find(&self, addr: VirtAddr) -> Option<&Vma> {
        let (_, area) = self.areas.range(..=addr).next_back()?;
        area.range.contains(addr).then_some(area)
    }

    /// Every area, by address.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Vma> {
        self.areas.values()
    }

    /// The areas that have an address in `range`, each whole, by address.
    pub fn overlapping(&self, range: VirtRange) -> impl DoubleEndedIterator<Item = &Vma> {
        let first = self.find(range.start).map_or(range.start, |area| area.range.start);
        // An empty range overlaps nothing, though it may lie inside an area.
        let first = if range.is_empty() { range.end } else { first };
        self.areas.range(first..range.end).map(|(_, area)| area)
    }

    /// The ranges without an area, by address.
    pub fn gaps(&self) -> impl Iterator<Item = VirtRange> + '_ {
        self.gaps.iter()
    }

    /// Panics unless the areas are in order and apart, whatever can be merged is, and
    /// the gaps are what the areas leave.
    pub fn check_invariants(&self) {
        let (mut end, mut pages) = (self.config.bounds.start, 0);
        let mut before: Option<&Vma> = None;
        let mut gaps = self.gaps.iter();
        for (&start, area) in &self.areas {
            assert_eq!(start, area.range.start, "an area has another key");
            assert!(!area.range.is_empty() && area.range.is_page_aligned(), "{area:?}");
            assert!(start >= end, "{area:?} overlaps its neighbour or leaves the bounds");
            assert!(!before.is_some_and(|low| low.can_merge(area)), "{before:?} and {area:?}");
            if end < start {
                assert_eq!(gaps.next(), Some(VirtRange::new(end, start)), "another gap");
            }
            pages += area.range.pages();
            (end, before) = (area.range.end, Some(area));
        }
        let bounds = self.config.bounds;
        assert!(end <= bounds.end, "an area leaves the bounds");
        let last = (end < bounds.end).then_some(VirtRange::new(end, bounds.end));
        assert_eq!(gaps.next(), last, "another last gap");
        assert_eq!(gaps.next(), None, "a gap too many");
        assert_eq!(pages, self.pages, "another number of pages");
        assert!(self.len() <= self.config.areas_max, "too many areas");
        self.gaps.check_invariants();
    }

    /// The area that ends where `area` starts, if both could be one.
    fn merges_below(&self, area: &Vma) -> Option<Vma> {
        let (_, low) = self.areas.range(..area.range.start).next_back()?;
        low.can_merge(area).then_some(*low)
    }

    /// The area that starts where `area` ends, if both could be one.
    fn merges_above(&self, area: &Vma) -> Option<Vma> {
        let high = self.areas.get(&area.range.end)?;
        area.can_merge(high).then_some(*high)
    }

    /// Adds an area where there is none, as one with the neighbours that it merges with.
    /// The gaps and the page count are the caller's.
    fn insert_merged(&mut self, area: Vma) {
        let mut range = area.range;
        let mut whole = area;
        if let Some(low) = self.merges_below(&area) {
            // The lower one's backing begins where the merged one's does.
            whole = low;
            range.start = low.range.start;
        }
        if let Some(high) = self.merges_above(&area) {
            self.areas.remove(&high.range.start);
            range.end = high.range.end;
        }
        whole.range = range;
        self.areas.insert(range.start, whole);
    }

    /// Takes the addresses of `range` out of `area`, which holds all of them, and leaves
    /// the rest of it. The gaps and the page count are the caller's.
    fn cut(&mut self, area: Vma, range: VirtRange) {
        let head = VirtRange::new(area.range.start, range.start);
        let tail = VirtRange::new(range.end, area.range.end);
        self.areas.remove(&area.range.start);
        for rest in [head, tail] {
            if !rest.is_empty() {
                self.areas.insert(rest.start, area.part(rest));
            }
        }
    }

    /// Puts `piece` in place of the addresses that it has in common with `area`, which
    /// holds all of them.
    fn change(&mut self, area: Vma, piece: Vma) -> Result<(), TooManyAreas> {
        let head = area.range.start < piece.range.start;
        let tail = piece.range.end < area.range.end;
        let below = !head && self.merges_below(&piece).is_some();
        let above = !tail && self.merges_above(&piece).is_some();
        let count = self.len() + usize::from(head) + usize::from(tail);
        if count - usize::from(below) - usize::from(above) > self.config.areas_max {
            return Err(TooManyAreas);
        }
        self.cut(area, piece.range);
        self.insert_merged(piece);
        Ok(())
    }
}
