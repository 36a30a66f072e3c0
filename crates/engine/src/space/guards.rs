//! Guard markers: pages of areas that no access may touch.
//!
//! ```text
//!   areas     ┌───────────── A ────────────┐
//!   guards        ▓▓▓▓            ▓▓▓▓▓▓▓▓ │
//! ```
//!
//! A program puts one below each of its stacks without paying with an area for it: a
//! marker is a property of a page, and areas are not split. An access is SIGSEGV. Markers
//! go where `mremap` moves their pages, go away with `munmap`, and outlive everything
//! that discards what a page holds.
//!
//! Source: madvise(2), `MADV_GUARD_INSTALL` (Linux 6.13).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use faultless_addr::{VirtAddr, VirtRange};

/// A set of pages, as ranges that don't touch: end by start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guards {
    ranges: BTreeMap<VirtAddr, VirtAddr>,
}

impl Guards {
    /// Is the page that holds `addr` marked?
    pub fn contains(&self, addr: VirtAddr) -> bool {
        self.ranges.range(..=addr).next_back().is_some_and(|(_, &end)| addr < end)
    }

    /// Is no page marked?
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The marked ranges, by address.
    pub fn iter(&self) -> impl Iterator<Item = VirtRange> + '_ {
        self.ranges.iter().map(|(&start, &end)| VirtRange::new(start, end))
    }

    /// The marked parts of `range`, by address.
    pub fn within(&self, range: VirtRange) -> impl Iterator<Item = VirtRange> + '_ {
        let before = self.ranges.range(..range.start).next_back();
        let inside = self.ranges.range(range.start..range.end);
        let all = before.into_iter().chain(inside);
        all.map(move |(&start, &end)| VirtRange::new(start, end).intersect(range))
            .filter(|part| !part.is_empty())
    }

    /// Marks every page of `range`.
    pub(super) fn install(&mut self, range: VirtRange) {
        if range.is_empty() {
            return;
        }
        let mut whole = range;
        while let Some((&start, &end)) = self.ranges.range(..=whole.end).next_back()
            && end >= whole.start
        {
            self.ranges.remove(&start);
            whole = VirtRange::new(whole.start.min(start), whole.end.max(end));
        }
        self.ranges.insert(whole.start, whole.end);
    }

    /// Takes the marks of `range` away.
    pub(super) fn remove(&mut self, range: VirtRange) {
        if range.is_empty() {
            return;
        }
        while let Some((&start, &end)) = self.ranges.range(..range.end).next_back()
            && end > range.start
        {
            self.ranges.remove(&start);
            for rest in [VirtRange::new(start, range.start), VirtRange::new(range.end, end)] {
                if !rest.is_empty() {
                    self.ranges.insert(rest.start, rest.end);
                }
            }
        }
    }

    /// Takes the marks of `range` away, and says which pages had them.
    pub(super) fn take(&mut self, range: VirtRange) -> Vec<VirtRange> {
        let marked = self.within(range).collect();
        self.remove(range);
        marked
    }

    /// Marks the pages that were at `marked` when their area began at `from`, and that
    /// begins at `to` now.
    pub(super) fn install_moved(&mut self, marked: &[VirtRange], from: VirtAddr, to: VirtAddr) {
        for range in marked {
            let start = VirtAddr(to.0 + (range.start.0 - from.0));
            self.install(VirtRange::new(start, VirtAddr(start.0 + range.len())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn pages(start: u64, end: u64) -> VirtRange {
        let at = |page| VirtAddr(0).plus_pages(page);
        VirtRange::new(at(start), at(end))
    }

    proptest! {
        #[test]
        fn ranges_are_what_single_pages_are(
            steps in prop::collection::vec((0..3u8, 0..40u64, 0..8u64, 0..40u64), 0..60),
        ) {
            let (mut guards, mut oracle) = (Guards::default(), BTreeSet::new());
            for (what, start, count, to) in steps {
                let range = start..start + count;
                match what {
                    0 => {
                        guards.install(pages(range.start, range.end));
                        oracle.extend(range);
                    }
                    1 => {
                        guards.remove(pages(range.start, range.end));
                        oracle.retain(|page| !range.contains(page));
                    }
                    // Nothing is where pages are moved to.
                    _ => {
                        let to = to + 100;
                        let from = pages(range.start, range.end);
                        let marked = guards.take(from);
                        guards.install_moved(&marked, from.start, pages(to, to).start);
                        let moved: Vec<u64> = range.filter(|page| oracle.remove(page)).collect();
                        oracle.extend(moved.iter().map(|page| page - start + to));
                    }
                }
                let listed: Vec<u64> = guards
                    .iter()
                    .flat_map(|range| range.start.0 / 4096..range.end.0 / 4096)
                    .collect();
                prop_assert!(listed.iter().eq(oracle.iter()), "{:?} {:?}", guards, oracle);
                let mut neighbours = guards.iter().zip(guards.iter().skip(1));
                prop_assert!(neighbours.all(|(low, high)| low.end < high.start));
                for page in 0..150 {
                    prop_assert_eq!(guards.contains(pages(page, page).start), oracle.contains(&page));
                }
            }
        }
    }
}
