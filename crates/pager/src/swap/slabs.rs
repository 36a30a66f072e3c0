//! Room for stored bytes: slabs of 32 KiB, each cut into extents of one length.
//!
//! ```text
//!   slab 0, extents of 3 units   │███│   │███│ … 21 of them, 1 unit over │
//!   slab 1, free                 │                                       │
//!   slab 2, extents of 8 units   │████████│████████│        │ …          │
//! ```
//!
//! An extent is 1 to 8 units of 512 bytes; where none of the right length is to be had,
//! a longer one serves. Of the schemes that are right, this is the simplest that needs
//! no cleaner: a log must move what lives out of its way, free lists of single extents
//! break up for good, while a slab that has become empty serves any length, and can be
//! punched. It wastes what rounding up to 512 bytes does, and half-empty slabs.

use std::collections::BTreeSet;
use std::ops::Range;

use super::codec::UNIT;

/// Units of a slab: one word of bits.
const SLAB_UNITS: u32 = u64::BITS;

/// Bytes of a slab.
pub(super) const SLAB_BYTES: u64 = SLAB_UNITS as u64 * UNIT as u64;

/// Lengths that an extent can have, in units: `1..=CLASSES`.
const CLASSES: usize = 8;

/// Where an extent begins, in units from the start of the store.
pub(super) type Unit = u32;

#[derive(Clone, Copy)]
struct Slab {
    /// Units of each extent; 0 if the slab is free.
    units: u8,
    /// A bit for each extent that is free.
    free: u64,
}

/// All slabs of a store. The first that has room is taken, so that the end of the
/// store empties.
pub(super) struct Slabs {
    slabs: Vec<Slab>,
    /// By the length of their extents: slabs with a free one, that aren't free.
    open: [BTreeSet<u32>; CLASSES + 1],
    free: BTreeSet<u32>,
    /// The free slabs that still take room in the store.
    stale: BTreeSet<u32>,
    /// Units that extents take.
    used: u64,
}

/// The bits of all extents of `units` units.
fn all_extents(units: usize) -> u64 {
    let count = SLAB_UNITS / units as u32;
    u64::MAX >> (u64::BITS - count)
}

impl Slabs {
    /// No slabs.
    pub(super) fn new() -> Slabs {
        let (slabs, open) = (Vec::new(), Default::default());
        Slabs { slabs, open, free: BTreeSet::new(), stale: BTreeSet::new(), used: 0 }
    }

    /// Makes it `count` slabs in all, if it has fewer.
    pub(super) fn grow(&mut self, count: u32) {
        let before = self.slabs.len() as u32;
        if count > before {
            self.slabs.resize(count as usize, Slab { units: 0, free: 0 });
            self.free.extend(before..count);
        }
    }

    /// An extent of `units` units, 1 to 8, or where no slab has one a longer one; `None` if
    /// there is none.
    pub(super) fn alloc(&mut self, units: usize) -> Option<Unit> {
        let here = self.open[units].first().copied();
        let longer = |slabs: &Slabs| slabs.open[units..].iter().find_map(BTreeSet::first).copied();
        let at = here.or_else(|| self.open_slab(units)).or_else(|| longer(self))?;
        let units = usize::from(self.slabs[at as usize].units);
        let slab = &mut self.slabs[at as usize];
        let extent = slab.free.trailing_zeros();
        slab.free &= slab.free - 1;
        if slab.free == 0 {
            self.open[units].remove(&at);
        }
        self.used += units as u64;
        Some(at * SLAB_UNITS + extent * units as u32)
    }

    fn open_slab(&mut self, units: usize) -> Option<u32> {
        let at = self.free.pop_first()?;
        self.stale.remove(&at);
        self.slabs[at as usize] = Slab { units: units as u8, free: all_extents(units) };
        self.open[units].insert(at);
        Some(at)
    }

    /// Gives back the extent at `start`, of which `units` units were asked for.
    pub(super) fn free(&mut self, start: Unit, units: usize) {
        let at = start / SLAB_UNITS;
        let slab = &mut self.slabs[at as usize];
        assert!(usize::from(slab.units) >= units, "not an extent");
        let units = usize::from(slab.units);
        let extent = start % SLAB_UNITS / units as u32;
        assert!(slab.free & 1 << extent == 0, "not an extent");
        slab.free |= 1 << extent;
        self.used -= units as u64;
        if slab.free != all_extents(units) {
            self.open[units].insert(at);
            return;
        }
        *slab = Slab { units: 0, free: 0 };
        self.open[units].remove(&at);
        self.free.insert(at);
        self.stale.insert(at);
    }

    /// Takes up to `max` neighbouring stale slabs, to be punched. Nobody is given
    /// them until they are [put back](Slabs::punched).
    pub(super) fn take_stale(&mut self, max: u32) -> Option<Range<u32>> {
        let start = *self.stale.first()?;
        let mut end = start;
        while end - start < max && self.stale.remove(&end) {
            self.free.remove(&end);
            end += 1;
        }
        Some(start..end)
    }

    /// The slabs were punched, or can't be.
    pub(super) fn punched(&mut self, slabs: Range<u32>) {
        self.free.extend(slabs);
    }

    /// Bytes that extents take.
    pub(super) fn used_bytes(&self) -> u64 {
        self.used * UNIT as u64
    }

    /// Bytes of the slabs that aren't free.
    pub(super) fn taken_bytes(&self) -> u64 {
        (self.slabs.len() - self.free.len()) as u64 * SLAB_BYTES
    }

    /// Bytes that this takes in memory, of which the sets' are an estimate: a node
    /// of 11 numbers is half full at worst.
    pub(super) fn bookkeeping_bytes(&self) -> usize {
        let listed = self.open.iter().chain([&self.free, &self.stale]).map(BTreeSet::len);
        self.slabs.capacity() * size_of::<Slab>() + listed.sum::<usize>() * 12
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_of_each_length_fill_slabs_without_overlap() {
        let mut slabs = Slabs::new();
        slabs.grow(16);
        let mut taken = BTreeSet::new();
        let mut extents = Vec::new();
        for units in (1..=CLASSES).cycle() {
            if slabs.free.is_empty() && slabs.open[units].is_empty() {
                break;
            }
            let start = slabs.alloc(units).unwrap();
            assert!((start..start + units as u32).all(|unit| taken.insert(unit)));
            extents.push((start, units));
        }
        assert!(taken.last().unwrap() / SLAB_UNITS == 15, "the last slab was used");
        assert_eq!(slabs.used_bytes(), taken.len() as u64 * UNIT as u64);
        extents.iter().for_each(|(start, units)| slabs.free(*start, *units));
        assert_eq!((slabs.used_bytes(), slabs.free.len()), (0, 16));
    }

    #[test]
    fn an_empty_slab_serves_another_length() {
        let mut slabs = Slabs::new();
        slabs.grow(1);
        let start = slabs.alloc(3).unwrap();
        assert_eq!(slabs.alloc(8), None);
        slabs.free(start, 3);
        assert_eq!(slabs.alloc(8), Some(0));
    }

    #[test]
    fn where_there_is_no_free_slab_a_longer_extent_serves() {
        let mut slabs = Slabs::new();
        slabs.grow(1);
        assert_eq!(slabs.alloc(8), Some(0));
        let rest: Vec<Unit> = (1..8).map(|_| slabs.alloc(1).unwrap()).collect();
        assert_eq!(rest, [8, 16, 24, 32, 40, 48, 56]);
        assert_eq!((slabs.alloc(1), slabs.used_bytes()), (None, SLAB_BYTES));
        slabs.free(24, 1);
        assert_eq!(slabs.alloc(8), Some(24));
        rest.into_iter().for_each(|start| slabs.free(start, 1));
        slabs.free(0, 8);
        assert_eq!((slabs.used_bytes(), slabs.free.len()), (0, 1));
    }

    #[test]
    fn stale_slabs_are_punched_in_runs_and_meanwhile_not_given_out() {
        let mut slabs = Slabs::new();
        slabs.grow(4);
        let extents: Vec<Unit> = (0..4 * 8).map(|_| slabs.alloc(8).unwrap()).collect();
        assert_eq!(slabs.take_stale(9), None);
        extents.iter().for_each(|start| slabs.free(*start, 8));
        assert_eq!(slabs.alloc(8), Some(0));
        assert_eq!(slabs.take_stale(2), Some(1..3));
        assert_eq!(slabs.take_stale(2), Some(3..4));
        assert_eq!((0..8).filter_map(|_| slabs.alloc(8)).count(), 7);
        slabs.punched(1..3);
        assert_eq!(slabs.alloc(1), Some(64));
        assert_eq!(slabs.take_stale(9), None);
    }

    #[test]
    #[should_panic(expected = "not an extent")]
    fn freeing_twice_is_found() {
        let mut slabs = Slabs::new();
        slabs.grow(1);
        let (start, _) = (slabs.alloc(2).unwrap(), slabs.alloc(2).unwrap());
        slabs.free(start, 2);
        slabs.free(start, 2);
    }
}
