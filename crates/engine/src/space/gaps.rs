//! The ranges without an area, found by address and by size.
//!
//! [`Place::Anywhere`](super::Place) takes the highest gap that is large enough. Walking
//! the areas from the top would take as long as there are areas, so gaps are also sorted
//! into classes by their room:
//!
//! ```text
//!   class     room in pages      gaps, by start
//!     1       1                  0x7000  0x9000  0xc000
//!     5       5                  0x2000
//!    17       18..20             0x40000
//!     …
//! ```
//!
//! Classes below 16 pages hold one size; above, each is an eighth of a power of two, as
//! in the TLSF allocator (Masmano et al., ECRTS 2004). Every gap of a higher class is
//! large enough for a request, so the highest of each is a candidate; only the request's
//! own class has gaps to be measured, and only those above the best candidate. There are
//! at most some 400 classes and usually a handful. A request costs O(classes · log gaps),
//! unless many gaps are smaller than it by less than an eighth: those are walked.
//!
//! A gap's *room* is what can be placed in it: its pages, less the guard pages towards
//! each area that it touches.

use alloc::collections::{BTreeMap, BTreeSet};

use faultless_addr::{VirtAddr, VirtRange};

/// Rooms below this many pages have a class of their own.
const EXACT: u64 = 16;

/// Base-2 logarithm of how many classes share a power of two.
const SHARE_SHIFT: u32 = 3;

/// The class of a gap with so much room; more room never has a lower class.
fn class(room: u64) -> u64 {
    if room < EXACT {
        return room;
    }
    let power = room.ilog2();
    let share = (room >> (power - SHARE_SHIFT)) & ((1 << SHARE_SHIFT) - 1);
    EXACT + (u64::from(power - EXACT.ilog2()) << SHARE_SHIFT) + share
}

/// The complement of the areas.
#[derive(Clone)]
pub struct Gaps {
    bounds: VirtRange,
    guard_pages: u64,
    /// End by start.
    by_start: BTreeMap<VirtAddr, VirtAddr>,
    /// Starts by class, of the gaps with any room; no set is empty.
    by_class: BTreeMap<u64, BTreeSet<VirtAddr>>,
}

impl Gaps {
    /// One gap: all of `bounds`.
    pub fn new(bounds: VirtRange, guard_pages: u64) -> Gaps {
        let (by_start, by_class) = (BTreeMap::new(), BTreeMap::new());
        let mut gaps = Gaps { bounds, guard_pages, by_start, by_class };
        gaps.add(bounds);
        gaps
    }

    /// The gaps, by address.
    pub fn iter(&self) -> impl Iterator<Item = VirtRange> + '_ {
        self.by_start.iter().map(|(&start, &end)| VirtRange::new(start, end))
    }

    /// Does `range` lie in one gap?
    pub fn encloses(&self, range: VirtRange) -> bool {
        self.holding(range).is_some()
    }

    /// The highest gap with room for `pages`, which is not 0.
    pub fn highest(&self, pages: u64) -> Option<VirtRange> {
        let own = class(pages);
        let larger = self.by_class.range(own + 1..);
        let best = larger.filter_map(|(_, starts)| starts.last()).max().copied();
        let same = self.by_class.get(&own).and_then(|starts| {
            let above = starts.range(best.unwrap_or(self.bounds.start)..);
            above.rev().copied().find(|&start| self.room(self.at(start)) >= pages)
        });
        same.or(best).map(|start| self.at(start))
    }

    /// An area takes `range`, which lies in a gap.
    pub fn take(&mut self, range: VirtRange) {
        let gap = self.holding(range).expect("an area takes addresses that are free");
        self.remove(gap);
        self.add(VirtRange::new(gap.start, range.start));
        self.add(VirtRange::new(range.end, gap.end));
    }

    /// An area gives up `range`.
    pub fn give(&mut self, range: VirtRange) {
        let mut gap = range;
        if let Some((&start, &end)) = self.by_start.range(..range.start).next_back()
            && end == range.start
        {
            self.remove(VirtRange::new(start, end));
            gap.start = start;
        }
        if let Some(&end) = self.by_start.get(&range.end) {
            self.remove(VirtRange::new(range.end, end));
            gap.end = end;
        }
        self.add(gap);
    }

    /// Panics unless each gap with room is in its class, and nothing else is.
    pub fn check_invariants(&self) {
        let mut roomy = 0;
        for gap in self.iter() {
            let room = self.room(gap);
            let listed =
                self.by_class.get(&class(room)).is_some_and(|set| set.contains(&gap.start));
            assert_eq!(listed, room > 0, "{gap:?} with room for {room} is in another class");
            roomy += usize::from(room > 0);
        }
        assert!(self.by_class.values().all(|starts| !starts.is_empty()), "an empty class");
        let listed: usize = self.by_class.values().map(BTreeSet::len).sum();
        assert_eq!(listed, roomy, "a class has a gap that is not there");
    }

    /// The pages that can be placed in `gap`, with the guards kept.
    fn room(&self, gap: VirtRange) -> u64 {
        let below = u64::from(gap.start != self.bounds.start);
        let above = u64::from(gap.end != self.bounds.end);
        gap.pages().saturating_sub(self.guard_pages.saturating_mul(below + above))
    }

    fn at(&self, start: VirtAddr) -> VirtRange {
        VirtRange::new(start, self.by_start[&start])
    }

    fn holding(&self, range: VirtRange) -> Option<VirtRange> {
        let (&start, &end) = self.by_start.range(..=range.start).next_back()?;
        let gap = VirtRange::new(start, end);
        gap.encloses(range).then_some(gap)
    }

    fn add(&mut self, gap: VirtRange) {
        if gap.is_empty() {
            return;
        }
        self.by_start.insert(gap.start, gap.end);
        let room = self.room(gap);
        if room > 0 {
            self.by_class.entry(class(room)).or_default().insert(gap.start);
        }
    }

    fn remove(&mut self, gap: VirtRange) {
        self.by_start.remove(&gap.start);
        let class = class(self.room(gap));
        if let Some(starts) = self.by_class.get_mut(&class) {
            starts.remove(&gap.start);
            if starts.is_empty() {
                self.by_class.remove(&class);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_room_never_has_a_lower_class() {
        let classes = (0..10_000).map(class);
        assert!(
            classes.clone().zip(classes.skip(1)).all(|(low, high)| high == low || high == low + 1)
        );
        assert!(class(u64::MAX) < 512);
    }
}
