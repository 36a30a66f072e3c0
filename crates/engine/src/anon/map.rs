//! Which anonymous page is at which page number of a space.
//!
//! ```text
//!   tree:  0 ──► leaf │ 0 … 63 │     5 ──► leaf │ 320 … 383 │     …
//! ```
//!
//! Memory that is stored to is stored to in runs, so most leaves are full and a page
//! takes little more than its four bytes. A leaf with one page takes 64 times that.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::ops::Range;

use super::AnonId;

/// Page numbers of a leaf.
const LEAF: u64 = 64;

const NONE: AnonId = AnonId(u32::MAX);

#[derive(Clone)]
struct Leaf {
    used: u32,
    ids: [AnonId; LEAF as usize],
}

impl Leaf {
    /// The pages of this leaf, which begins at number `start`, that are in `numbers`.
    fn range(&self, start: u64, numbers: Range<u64>) -> impl Iterator<Item = (u64, AnonId)> {
        let from = numbers.start.max(start);
        let to = numbers.end.min(start + LEAF).max(from);
        let ids = &self.ids[(from - start) as usize..(to - start) as usize];
        (from..to).zip(ids.iter().copied()).filter(|(_, id)| *id != NONE)
    }
}

/// The anonymous pages of one space, by page number of their address.
#[derive(Clone, Default)]
pub struct AnonMap {
    /// By page number, divided by [`LEAF`]. No leaf is without pages.
    leaves: BTreeMap<u64, Box<Leaf>>,
    len: usize,
}

impl AnonMap {
    /// The page at a page number.
    pub fn get(&self, number: u64) -> Option<AnonId> {
        let leaf = self.leaves.get(&(number / LEAF))?;
        Some(leaf.ids[(number % LEAF) as usize]).filter(|id| *id != NONE)
    }

    /// Puts a page at a page number; answers what was there.
    pub fn insert(&mut self, number: u64, id: AnonId) -> Option<AnonId> {
        let empty = || Box::new(Leaf { used: 0, ids: [NONE; LEAF as usize] });
        let leaf = self.leaves.entry(number / LEAF).or_insert_with(empty);
        let before = core::mem::replace(&mut leaf.ids[(number % LEAF) as usize], id);
        if before != NONE {
            return Some(before);
        }
        leaf.used += 1;
        self.len += 1;
        None
    }

    /// Takes the page at a page number out.
    pub fn remove(&mut self, number: u64) -> Option<AnonId> {
        let leaf = self.leaves.get_mut(&(number / LEAF))?;
        let before = core::mem::replace(&mut leaf.ids[(number % LEAF) as usize], NONE);
        if before == NONE {
            return None;
        }
        leaf.used -= 1;
        self.len -= 1;
        if leaf.used == 0 {
            self.leaves.remove(&(number / LEAF));
        }
        Some(before)
    }

    /// The first page whose number is in `numbers`.
    pub fn first(&self, numbers: Range<u64>) -> Option<(u64, AnonId)> {
        self.range(numbers).next()
    }

    /// Those whose number is in `numbers`, in order.
    pub fn range(&self, numbers: Range<u64>) -> impl Iterator<Item = (u64, AnonId)> {
        let end = numbers.end.max(numbers.start).div_ceil(LEAF);
        let leaves = self.leaves.range(numbers.start / LEAF..end.max(numbers.start / LEAF));
        leaves.flat_map(move |(n, leaf)| leaf.range(n * LEAF, numbers.clone()))
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, AnonId)> {
        self.leaves.iter().flat_map(|(n, leaf)| leaf.range(n * LEAF, 0..u64::MAX))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that the map takes, about.
    pub fn bookkeeping_bytes(&self) -> usize {
        // A node of a B-tree is two thirds full in the long run.
        let entry = size_of::<(u64, Box<Leaf>)>() * 3 / 2;
        self.leaves.len() * (size_of::<Leaf>() + entry)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the map of the standard library.
        #[test]
        fn a_map_agrees_with_a_plain_one(
            steps in prop::collection::vec((0u8..3, 0u64..400, 0u64..200), 0..300)
        ) {
            let mut map = AnonMap::default();
            let mut model = BTreeMap::new();
            for (step, number, len) in steps {
                match step {
                    0 => prop_assert_eq!(
                        map.insert(number, AnonId(len as u32)),
                        model.insert(number, AnonId(len as u32))
                    ),
                    1 => prop_assert_eq!(map.remove(number), model.remove(&number)),
                    _ => {
                        let numbers = number..number + len;
                        let expected: Vec<_> =
                            model.range(numbers.clone()).map(|(n, id)| (*n, *id)).collect();
                        prop_assert_eq!(map.first(numbers.clone()), expected.first().copied());
                        prop_assert_eq!(map.range(numbers).collect::<Vec<_>>(), expected);
                    }
                }
                prop_assert_eq!(map.get(number), model.get(&number).copied());
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map.is_empty(), model.is_empty());
            }
            let all: Vec<_> = model.into_iter().collect();
            prop_assert_eq!(map.iter().collect::<Vec<_>>(), all);
            prop_assert!(map.leaves.values().all(|leaf| leaf.used > 0));
        }
    }

    #[test]
    fn a_page_of_a_run_takes_five_bytes() {
        let mut map = AnonMap::default();
        for number in 0..64_000 {
            map.insert(number, AnonId(1));
        }
        assert!(map.bookkeeping_bytes() < 5 * 64_000);
    }
}
