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
//! each area that it touches. Below an area that grows down, that is the stack's guard.

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

/// Pages that stay free below an area that grows down (Linux's `stack_guard_gap`).
pub const STACK_GUARD_PAGES: u64 = 256;

/// What is right above a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Above {
    /// The end of the space, or of where one looks.
    Nothing,
    /// An area.
    Area,
    /// An area that grows down.
    Stack,
}

/// Addresses without an area, up to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub range: VirtRange,
    pub above: Above,
}

impl Gap {
    /// The part below `limit`. A stack's guard is left out of it, too.
    fn cut(self, limit: VirtAddr) -> Gap {
        let end = match self.above {
            _ if limit >= self.range.end => return self,
            Above::Stack => limit.min(self.guard_start()),
            Above::Area | Above::Nothing => limit,
        };
        Gap { range: VirtRange::new(self.range.start, end), above: Above::Nothing }
    }

    /// Where the guard of the stack above begins.
    fn guard_start(self) -> VirtAddr {
        let guard = STACK_GUARD_PAGES << faultless_addr::PAGE_SHIFT;
        VirtAddr(self.range.end.0.saturating_sub(guard))
    }
}

/// The complement of the areas.
#[derive(Clone)]
pub struct Gaps {
    bounds: VirtRange,
    guard_pages: u64,
    /// By start.
    by_start: BTreeMap<VirtAddr, Gap>,
    /// Starts by class, of the gaps with any room; no set is empty.
    by_class: BTreeMap<u64, BTreeSet<VirtAddr>>,
    /// Starts of those below a stack.
    below_stacks: BTreeSet<VirtAddr>,
}

impl Gaps {
    /// One gap: all of `bounds`.
    pub fn new(bounds: VirtRange, guard_pages: u64) -> Gaps {
        let (by_start, by_class, below_stacks) = Default::default();
        let mut gaps = Gaps { bounds, guard_pages, by_start, by_class, below_stacks };
        gaps.add(Gap { range: bounds, above: Above::Nothing });
        gaps
    }

    /// The gaps, by address.
    pub fn iter(&self) -> impl Iterator<Item = Gap> + '_ {
        self.by_start.values().copied()
    }

    /// Does `range` lie in one gap?
    pub fn encloses(&self, range: VirtRange) -> bool {
        self.holding(range).is_some()
    }

    /// Does `range` lie in one gap, and not in a stack's guard?
    pub fn has_room_at(&self, range: VirtRange) -> bool {
        self.holding(range).is_some_and(|gap| {
            let above = VirtRange::new(range.end, gap.range.end);
            gap.above != Above::Stack || above.pages() >= STACK_GUARD_PAGES
        })
    }

    /// The highest gap with room for `pages`, which is not 0, below `limit`. A gap that
    /// passes the limit is cut there.
    ///
    /// Where a gap below a stack would do but for the stack's guard, Linux goes on below
    /// that guard, and looks at no gap in between.
    pub fn highest(&self, pages: u64, mut limit: VirtAddr) -> Option<Gap> {
        loop {
            let found = self.highest_below(pages, limit);
            let lowest = found.map_or(self.bounds.start, |gap| gap.range.start);
            let starts = self.below_stacks.range(lowest..limit).rev();
            let mut blocked = starts.map(|start| self.by_start[start]).filter(|gap| {
                let whole = Gap { above: Above::Area, ..*gap }.cut(limit);
                self.room(whole) >= pages && self.room(gap.cut(limit)) < pages
            });
            let Some(gap) = blocked.next() else { return found };
            limit = gap.guard_start();
        }
    }

    fn highest_below(&self, pages: u64, limit: VirtAddr) -> Option<Gap> {
        let (_, &last) = self.by_start.range(..limit).next_back()?;
        let cut = last.cut(limit);
        if self.room(cut) >= pages {
            return Some(cut);
        }
        self.highest_before(pages, last.range.start)
    }

    /// The highest gap with room, of those that start before `limit`.
    fn highest_before(&self, pages: u64, limit: VirtAddr) -> Option<Gap> {
        let own = class(pages);
        let larger = self.by_class.range(own + 1..);
        let best = larger.filter_map(|(_, starts)| starts.range(..limit).next_back()).max();
        let best = best.copied();
        let same = self.by_class.get(&own).and_then(|starts| {
            let above = starts.range(best.unwrap_or(self.bounds.start)..limit);
            above.rev().copied().find(|start| self.room(self.by_start[start]) >= pages)
        });
        same.or(best).map(|start| self.by_start[&start])
    }

    /// The lowest place with room for `pages`, within a range. It takes as long as there are
    /// gaps: nobody asks for such places often.
    pub fn lowest(&self, pages: u64, within: VirtRange) -> Option<VirtRange> {
        let below = self.by_start.range(..=within.start).next_back();
        let first = below.map_or(within.start, |(start, _)| *start);
        let gaps = self.by_start.range(first..within.end).map(|(_, gap)| gap.cut(within.end));
        gaps.into_iter().find_map(|gap| {
            let guard = if gap.range.start == self.bounds.start { 0 } else { self.guard_pages };
            let start = gap.range.start.plus_pages(guard).max(within.start);
            let end = start.plus_pages(pages);
            let fits = end.plus_pages(self.guard(gap.above)) <= gap.range.end;
            fits.then_some(VirtRange { start, end })
        })
    }

    /// The pages that stay free between what is placed in a gap and what is `above` it.
    pub fn guard(&self, above: Above) -> u64 {
        match above {
            Above::Nothing => 0,
            Above::Area => self.guard_pages,
            Above::Stack => self.guard_pages.max(STACK_GUARD_PAGES),
        }
    }

    /// An area takes `range`, which lies in a gap; the gap below it ends at `above`.
    pub fn take(&mut self, range: VirtRange, above: Above) {
        let gap = self.holding(range).expect("an area takes addresses that are free");
        self.remove(gap);
        self.add(Gap { range: VirtRange::new(gap.range.start, range.start), above });
        self.add(Gap { range: VirtRange::new(range.end, gap.range.end), ..gap });
    }

    /// An area gives up `range`; `above` is what is there then.
    pub fn give(&mut self, range: VirtRange, above: Above) {
        let mut gap = Gap { range, above };
        if let Some((_, &low)) = self.by_start.range(..range.start).next_back()
            && low.range.end == range.start
        {
            self.remove(low);
            gap.range.start = low.range.start;
        }
        if let Some(&high) = self.by_start.get(&range.end) {
            self.remove(high);
            gap = Gap { range: VirtRange::new(gap.range.start, high.range.end), ..high };
        }
        self.add(gap);
    }

    /// Panics unless each gap with room is in its class, and nothing else is.
    pub fn check_invariants(&self) {
        let mut roomy = 0;
        for gap in self.iter() {
            let room = self.room(gap);
            let listed =
                self.by_class.get(&class(room)).is_some_and(|set| set.contains(&gap.range.start));
            assert_eq!(listed, room > 0, "{gap:?} with room for {room} is in another class");
            roomy += usize::from(room > 0);
        }
        assert!(self.by_class.values().all(|starts| !starts.is_empty()), "an empty class");
        let listed: usize = self.by_class.values().map(BTreeSet::len).sum();
        assert_eq!(listed, roomy, "a class has a gap that is not there");
    }

    /// The pages that can be placed in `gap`, with the guards kept.
    fn room(&self, gap: Gap) -> u64 {
        let below = if gap.range.start == self.bounds.start { 0 } else { self.guard_pages };
        gap.range.pages().saturating_sub(below.saturating_add(self.guard(gap.above)))
    }

    fn holding(&self, range: VirtRange) -> Option<Gap> {
        let (_, &gap) = self.by_start.range(..=range.start).next_back()?;
        gap.range.encloses(range).then_some(gap)
    }

    fn add(&mut self, gap: Gap) {
        if gap.range.is_empty() {
            return;
        }
        self.by_start.insert(gap.range.start, gap);
        if gap.above == Above::Stack {
            self.below_stacks.insert(gap.range.start);
        }
        let room = self.room(gap);
        if room > 0 {
            self.by_class.entry(class(room)).or_default().insert(gap.range.start);
        }
    }

    fn remove(&mut self, gap: Gap) {
        self.by_start.remove(&gap.range.start);
        self.below_stacks.remove(&gap.range.start);
        let class = class(self.room(gap));
        if let Some(starts) = self.by_class.get_mut(&class) {
            starts.remove(&gap.range.start);
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
