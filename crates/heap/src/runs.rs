//! The free units of the segment, as runs, and the break.
//!
//! ```text
//!   units      0   1   2   3   4   5   6   7   8   break
//!             │span   │free run   │span│free   │span│ · · ·
//!   len                 3       3        2   2
//!                       └ both ends of a run say how long it is
//! ```
//!
//! Neighbours become one run at once, found by the lengths at their ends: Knuth's
//! boundary tags, but in the table and not in the memory. Runs of a length are in a
//! list, and a bit for each list says whether it has one; so taking and giving are a
//! few steps. tcmalloc's page heap is the model.

#![allow(unsafe_code)]

use crate::UNIT;
use crate::pages::Pages;
use crate::segment::Segment;

/// Lists of free runs: of 1, 2, … units, and the last of all that are longer.
const LISTS: usize = 32;

/// The break moves by so many units at least: 1 MiB.
const GROWTH: u32 = 16;

/// What the bytes of a unit are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// Zeros.
    Zeros,
    /// What somebody left.
    Any,
}

impl Bytes {
    /// As a number that isn't 0.
    fn to_state(self) -> u32 {
        match self {
            Bytes::Zeros => 1,
            Bytes::Any => 2,
        }
    }

    fn of_state(state: u32) -> Bytes {
        if state == 1 { Bytes::Zeros } else { Bytes::Any }
    }

    fn and(self, other: Bytes) -> Bytes {
        if self == other { self } else { Bytes::Any }
    }
}

/// The segment's free runs.
pub(crate) struct Runs {
    segment: Option<Segment>,
    /// The first unit that isn't usable.
    end: u32,
    /// The first run of each list, as unit + 1.
    lists: [u32; LISTS],
    /// A bit for each list that has a run.
    filled: u32,
    free: u32,
}

/// Units that were taken.
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) segment: Segment,
    pub(crate) unit: u32,
    pub(crate) bytes: Bytes,
}

fn list_of(len: u32) -> usize {
    (len as usize).min(LISTS) - 1
}

impl Runs {
    pub(crate) const NEW: Runs =
        Runs { segment: None, end: 0, lists: [0; LISTS], filled: 0, free: 0 };

    /// `len` units, from a free run or by moving the break. `capacity` units are set
    /// aside the first time.
    pub(crate) fn take(&mut self, len: u32, pages: &impl Pages, capacity: u32) -> Option<Taken> {
        let segment = match self.segment {
            Some(segment) => segment,
            None => *self.segment.insert(Segment::new(pages, capacity)?),
        };
        let run = self.find(len).or_else(|| self.grow(&segment, len, pages))?;
        let (found, bytes) = self.unlink(&segment, run);
        if found > len {
            self.link(&segment, run + len, found - len, bytes);
        }
        Some(Taken { segment, unit: run, bytes })
    }

    /// Gives `len` used units back.
    pub(crate) fn give(&mut self, unit: u32, len: u32) {
        let segment = self.segment.expect("units were taken before");
        self.add(&segment, unit, len, Bytes::Any);
    }

    /// Gives free memory back: moves the break down to the last used unit, and
    /// discards the bytes of the other free runs. Answers how many bytes.
    pub(crate) fn trim(&mut self, pages: &impl Pages) -> usize {
        let Some(segment) = self.segment else { return 0 };
        let mut units = self.lower_break(&segment, pages);
        for list in self.lists {
            let mut at = list;
            while let Some(run) = at.checked_sub(1) {
                let row = &segment.runs[run];
                units += self.discard(&segment, run, row.len.get(), pages);
                at = row.next.get();
            }
        }
        units as usize * UNIT
    }

    /// Moves the break to the end of what is used.
    fn lower_break(&mut self, segment: &Segment, pages: &impl Pages) -> u32 {
        let Some(last) = self.end.checked_sub(1) else { return 0 };
        let row = &segment.runs[last];
        if row.state.get() == 0 {
            return 0;
        }
        let (len, run) = (row.len.get(), self.end - row.len.get());
        let (old, new) = (self.end as usize * UNIT, run as usize * UNIT);
        // SAFETY: 1. the segment came from `pages`; 2. all from the new break on is
        // one free run, of which nobody has a block.
        if unsafe { pages.set_break(segment.base(), old, new) }.is_err() {
            return 0;
        }
        self.unlink(segment, run);
        self.end = run;
        len
    }

    fn discard(&self, segment: &Segment, run: u32, len: u32, pages: &impl Pages) -> u32 {
        let (first, last) = (&segment.runs[run], &segment.runs[run + len - 1]);
        if Bytes::of_state(first.state.get()) == Bytes::Zeros {
            return 0;
        }
        // SAFETY: 1. the run is below the break; 2. it is free, so nobody has a block
        // of it.
        let discarded =
            unsafe { pages.discard(segment.at(run as usize * UNIT), len as usize * UNIT) };
        if discarded.is_err() {
            return 0;
        }
        first.state.set(Bytes::Zeros.to_state());
        last.state.set(Bytes::Zeros.to_state());
        len
    }

    /// The first run of the first list whose runs are long enough.
    fn find(&self, len: u32) -> Option<u32> {
        // Spans are of 8 units at most, so every run of the last list will do.
        let long_enough = self.filled & u32::MAX << list_of(len);
        let list = self.lists.get(long_enough.trailing_zeros() as usize)?;
        Some(list - 1)
    }

    /// Moves the break so that a run of `len` units ends there, at least.
    fn grow(&mut self, segment: &Segment, len: u32, pages: &impl Pages) -> Option<u32> {
        [len.max(GROWTH), len].into_iter().find_map(|more| {
            let end = self.end.checked_add(more).filter(|end| *end <= segment.units)?;
            let (old, new) = (self.end as usize * UNIT, end as usize * UNIT);
            // SAFETY: 1. the segment came from `pages`; 2. beyond the new break
            // nothing was usable.
            unsafe { pages.set_break(segment.base(), old, new) }.ok()?;
            let before = core::mem::replace(&mut self.end, end);
            Some(self.add(segment, before, more, Bytes::Zeros))
        })
    }

    /// Adds free units and joins them with free neighbours; answers where that run
    /// begins.
    fn add(&mut self, segment: &Segment, unit: u32, len: u32, bytes: Bytes) -> u32 {
        let (mut unit, mut len, mut bytes) = (unit, len, bytes);
        let is_free = |unit: u32| segment.runs[unit].state.get() != 0;
        if unit + len < self.end && is_free(unit + len) {
            let (more, other) = self.unlink(segment, unit + len);
            (len, bytes) = (len + more, bytes.and(other));
        }
        if unit > 0 && is_free(unit - 1) {
            let before = unit - segment.runs[unit - 1].len.get();
            let (more, other) = self.unlink(segment, before);
            (unit, len, bytes) = (before, len + more, bytes.and(other));
        }
        self.link(segment, unit, len, bytes);
        unit
    }

    /// Puts a run into its list.
    fn link(&mut self, segment: &Segment, run: u32, len: u32, bytes: Bytes) {
        let list = list_of(len);
        let next = core::mem::replace(&mut self.lists[list], run + 1);
        if next != 0 {
            segment.runs[next - 1].prev.set(run + 1);
        }
        for end in [run, run + len - 1] {
            segment.runs[end].len.set(len);
            segment.runs[end].state.set(bytes.to_state());
        }
        segment.runs[run].next.set(next);
        segment.runs[run].prev.set(0);
        self.filled |= 1 << list;
        self.free += len;
    }

    /// Takes a run out of its list; answers how long it is, and its bytes.
    fn unlink(&mut self, segment: &Segment, run: u32) -> (u32, Bytes) {
        let row = &segment.runs[run];
        let (len, bytes) = (row.len.get(), Bytes::of_state(row.state.get()));
        let (next, prev) = (row.next.get(), row.prev.get());
        let list = list_of(len);
        match prev {
            0 => self.lists[list] = next,
            _ => segment.runs[prev - 1].next.set(next),
        }
        if next != 0 {
            segment.runs[next - 1].prev.set(prev);
        }
        if self.lists[list] == 0 {
            self.filled &= !(1 << list);
        }
        for end in [run, run + len - 1] {
            segment.runs[end].len.set(0);
            segment.runs[end].state.set(0);
        }
        self.free -= len;
        (len, bytes)
    }

    /// Units below the break, and those of them that are free.
    pub(crate) fn count(&self) -> (u32, u32) {
        (self.end, self.free)
    }

    /// The segment, for good: nothing can be taken any more.
    pub(crate) fn end(&mut self) -> Option<Segment> {
        core::mem::replace(self, Runs::NEW).segment
    }

    /// Goes through all units: runs and spans follow each other without a gap, no
    /// two runs are neighbours, and the lists have all runs. `span` says how long the
    /// span at a unit is.
    pub(crate) fn check_invariants(&self, span: impl Fn(&Segment, u32) -> u32) {
        let Some(segment) = self.segment else { return };
        let (mut unit, mut free, mut runs, mut after_run) = (0, 0, 0, false);
        while unit < self.end {
            let row = &segment.runs[unit];
            let is_run = row.state.get() != 0;
            let len = if is_run { row.len.get() } else { span(&segment, unit) };
            assert!(len > 0, "unit {unit} is nobody's");
            if is_run {
                let last = &segment.runs[unit + len - 1];
                assert_eq!((last.len.get(), last.state.get()), (len, row.state.get()));
                assert!(!after_run, "the run at {unit} was not joined");
                (free, runs) = (free + len, runs + 1);
            }
            (unit, after_run) = (unit + len, is_run);
        }
        assert_eq!((unit, free), (self.end, self.free));
        let mut listed = 0;
        for (list, first) in self.lists.iter().enumerate() {
            assert_eq!(self.filled >> list & 1 != 0, *first != 0);
            let mut at = *first;
            while let Some(run) = at.checked_sub(1) {
                let row = &segment.runs[run];
                assert!(row.state.get() != 0 && list_of(row.len.get()) == list);
                (listed, at) = (listed + 1, row.next.get());
            }
        }
        assert_eq!(listed, runs);
    }
}
