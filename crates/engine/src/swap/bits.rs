//! A set of numbers as bits, with summaries in which the next member is found.
//!
//! ```text
//!   level 1    1 · · 1            a bit for each word below that isn't zero
//!              │     └──────┐
//!   level 0    ·1·1 ···· ···· 11··      a bit for each number
//! ```
//!
//! A word has 64 bits, so a million numbers need four levels and 1.6 % more than
//! their bits; every operation is a few words' work.

use alloc::vec::Vec;

/// Numbers in one word, which the swap map takes as a cluster of slots.
pub(super) const WORD: u32 = u64::BITS;

/// A set of some of the numbers `0..len`.
pub(super) struct Bits {
    /// The numbers' own bits first; the last level is one word, or none.
    levels: Vec<Vec<u64>>,
    len: u32,
}

/// The word of number `at` and its bit there.
fn place(at: u32) -> (usize, u64) {
    ((at / WORD) as usize, 1 << (at % WORD))
}

impl Bits {
    /// None of the numbers `0..len`.
    pub(super) fn new(len: u32) -> Bits {
        let mut bits = Bits { levels: Vec::new(), len: 0 };
        bits.grow(len);
        bits
    }

    /// Makes the numbers up to `len` possible members.
    pub(super) fn grow(&mut self, len: u32) {
        assert!(len >= self.len, "a set doesn't shrink");
        self.len = len;
        let mut words = len.div_ceil(WORD);
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let has = self.levels[level].len();
            self.levels[level].reserve_exact(words as usize - has);
            self.levels[level].resize(words as usize, 0);
            if words <= 1 {
                break;
            }
            words = words.div_ceil(WORD);
        }
        self.summarise();
    }

    /// Fills the levels above the first by the ones below.
    fn summarise(&mut self) {
        for level in 1..self.levels.len() {
            let (below, above) = self.levels.split_at_mut(level);
            above[0].fill(0);
            for (at, _) in below[level - 1].iter().enumerate().filter(|(_, word)| **word != 0) {
                let (word, bit) = place(at as u32);
                above[0][word] |= bit;
            }
        }
    }

    /// Is `number` a member?
    pub(super) fn contains(&self, number: u32) -> bool {
        let (word, bit) = place(number);
        self.levels[0][word] & bit != 0
    }

    /// Are all 64 numbers of word `word` members?
    pub(super) fn is_full_word(&self, word: u32) -> bool {
        self.levels[0][word as usize] == u64::MAX
    }

    /// Makes `number` a member.
    pub(super) fn insert(&mut self, number: u32) {
        assert!(number < self.len, "{number} is not among the {} numbers", self.len);
        let mut at = number;
        for level in &mut self.levels {
            let (word, bit) = place(at);
            let before = level[word];
            level[word] |= bit;
            if before != 0 {
                break;
            }
            at /= WORD;
        }
    }

    /// Makes `number` no member.
    pub(super) fn remove(&mut self, number: u32) {
        let mut at = number;
        for level in &mut self.levels {
            let (word, bit) = place(at);
            level[word] &= !bit;
            if level[word] != 0 {
                break;
            }
            at /= WORD;
        }
    }

    /// The first member that is `from` or greater.
    pub(super) fn next_from(&self, from: u32) -> Option<u32> {
        let mut at = from;
        for (height, level) in self.levels.iter().enumerate() {
            let (word, bit) = place(at);
            let rest = level.get(word)? & bit.wrapping_neg();
            if rest != 0 {
                let found = word as u32 * WORD + rest.trailing_zeros();
                return Some(self.first_below(found, height));
            }
            at = at / WORD + 1;
        }
        None
    }

    /// The first member below bit `at` of level `height`, which is set.
    fn first_below(&self, at: u32, height: usize) -> u32 {
        let below = self.levels[..height].iter().rev();
        below.fold(at, |at, level| at * WORD + level[at as usize].trailing_zeros())
    }

    /// How many numbers from `start` on are members without a gap, at most `max`.
    pub(super) fn run_from(&self, start: u32, max: u32) -> u32 {
        let mut len = 0;
        while len < max {
            let at = start + len;
            let Some(word) = self.levels[0].get((at / WORD) as usize) else { break };
            let in_word = WORD - at % WORD;
            let ones = (word >> (at % WORD)).trailing_ones();
            len += ones;
            if ones < in_word {
                break;
            }
        }
        len.min(max)
    }

    /// Bytes that the set takes.
    pub(super) fn bookkeeping_bytes(&self) -> usize {
        self.levels.iter().map(|level| level.capacity() * size_of::<u64>()).sum()
    }

    /// Panics unless every summary says what is below it.
    pub(super) fn check_invariants(&self) {
        for pair in self.levels.windows(2) {
            for (at, word) in pair[0].iter().enumerate() {
                let (place, bit) = place(at as u32);
                assert_eq!(pair[1][place] & bit != 0, *word != 0, "the summary of word {at} lies");
            }
        }
        assert!(self.next_from(self.len).is_none(), "a member beyond the last number");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_btree_set(
            len in 1u32..10_000,
            steps in prop::collection::vec((any::<u32>(), any::<bool>()), 1..200),
        ) {
            let mut bits = Bits::new(len / 2);
            bits.grow(len);
            let mut model = BTreeSet::new();
            for (number, insert) in steps {
                let number = number % len;
                if insert {
                    bits.insert(number);
                    model.insert(number);
                } else {
                    bits.remove(number);
                    model.remove(&number);
                }
                prop_assert_eq!(bits.contains(number), insert);
                let next = model.range(number / 2..).next().copied();
                prop_assert_eq!(bits.next_from(number / 2), next);
                bits.check_invariants();
            }
        }
    }

    #[test]
    fn runs_cross_words_and_end_at_gaps() {
        let mut bits = Bits::new(300);
        (10..200).for_each(|number| bits.insert(number));
        assert_eq!(bits.run_from(10, 1000), 190);
        assert_eq!(bits.run_from(64, 64), 64);
        assert_eq!(bits.run_from(9, 5), 0);
        (200..300).for_each(|number| bits.insert(number));
        assert_eq!(bits.run_from(0, 9), 0);
        assert_eq!(bits.run_from(10, u32::MAX), 290);
        assert_eq!(bits.next_from(300), None);
    }
}
