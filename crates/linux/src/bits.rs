//! Sets of slots: one bit each, and one summary bit per word so that a rare member
//! is found without reading all words.

/// Bits in a word.
pub(crate) const WORD: usize = u64::BITS as usize;

/// Words that a search for a run reads at most: 64 Ki slots, about a microsecond.
const WINDOW: usize = 1024;

/// A set of the numbers `0..size`.
#[derive(Debug)]
pub(crate) struct Bits {
    words: Box<[u64]>,
    /// Bit `i` is set where word `i` is not 0.
    summary: Box<[u64]>,
    count: usize,
}

impl Bits {
    /// The empty set.
    pub fn none(size: usize) -> Bits {
        let words = size.div_ceil(WORD);
        Bits {
            words: vec![0; words].into(),
            summary: vec![0; words.div_ceil(WORD)].into(),
            count: 0,
        }
    }

    /// All of `0..size`.
    pub fn all(size: usize) -> Bits {
        let mut bits = Bits::none(size);
        bits.insert(0, size);
        bits
    }

    /// How many are in it.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Is `number` in it?
    pub fn has(&self, number: usize) -> bool {
        self.words[number / WORD] >> (number % WORD) & 1 == 1
    }

    /// 64 members from `word * 64`.
    pub fn word(&self, word: usize) -> u64 {
        self.words[word]
    }

    /// How many words there are.
    pub fn words(&self) -> usize {
        self.words.len()
    }

    /// Puts `len` numbers from `start` in; none is in it yet.
    pub fn insert(&mut self, start: usize, len: usize) {
        for (word, mask) in masks(start, len) {
            // In every build: a slot in two hands would be one page for two frames.
            assert_eq!(self.words[word] & mask, 0, "inserted twice: word {word}");
            self.words[word] |= mask;
            self.summary[word / WORD] |= 1 << (word % WORD);
        }
        self.count += len;
    }

    /// Takes `len` numbers from `start` out; all are in it.
    pub fn remove(&mut self, start: usize, len: usize) {
        for (word, mask) in masks(start, len) {
            assert_eq!(self.words[word] & mask, mask, "not a member: word {word}");
            self.words[word] &= !mask;
            if self.words[word] == 0 {
                self.summary[word / WORD] &= !(1 << (word % WORD));
            }
        }
        self.count -= len;
    }

    /// The lowest member.
    pub fn first(&self) -> Option<usize> {
        let group = self.summary.iter().position(|&word| word != 0)?;
        let word = group * WORD + self.summary[group].trailing_zeros() as usize;
        Some(word * WORD + self.words[word].trailing_zeros() as usize)
    }

    /// How many members follow each other from `start` on, up to `limit`.
    pub fn run_from(&self, start: usize, limit: usize) -> usize {
        let end = (start + limit).min(self.words.len() * WORD);
        (start..end).position(|number| !self.has(number)).unwrap_or(end - start)
    }
}

/// The first `len` neighbours whose bits in `word(i)` are all set, looking from word
/// `from` on, around the end, through at most [`WINDOW`] words.
pub(crate) fn find_run(
    words: usize,
    from: usize,
    len: usize,
    word: impl Fn(usize) -> u64,
) -> Option<usize> {
    let mut start = 0;
    let mut found = 0;
    // Once around, and on: a run may reach past the word where the search began.
    for step in 0..(words + len / WORD + 1).min(WINDOW) {
        let index = (from + step) % words;
        if index == 0 {
            found = 0; // A run doesn't go around the end.
        }
        let bits = word(index);
        let mut at = 0;
        while at < WORD {
            let rest = bits >> at;
            let ones = rest.trailing_ones() as usize;
            if ones > 0 {
                if found == 0 {
                    start = index * WORD + at;
                }
                found += ones;
                if found >= len {
                    return Some(start);
                }
                at += ones;
            } else {
                found = 0;
                at += if rest == 0 { WORD - at } else { rest.trailing_zeros() as usize };
            }
        }
    }
    None
}

/// The first `wanted` neighbouring words that are all ones, looked for as by [`find_run`]:
/// answers the number of their first bit.
pub(crate) fn find_words(
    words: usize,
    from: usize,
    wanted: usize,
    word: impl Fn(usize) -> u64,
) -> Option<usize> {
    let mut found = 0;
    for step in 0..(words + wanted).min(WINDOW) {
        let index = (from + step) % words;
        if index == 0 {
            found = 0;
        }
        found = if word(index) == u64::MAX { found + 1 } else { 0 };
        if found == wanted {
            return Some((index + 1 - wanted) * WORD);
        }
    }
    None
}

/// The words that `start..start + len` touches, each with its part of them.
fn masks(start: usize, len: usize) -> impl Iterator<Item = (usize, u64)> {
    let end = start + len;
    let mut at = start;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let word = at / WORD;
        let from = at % WORD;
        let count = (WORD - from).min(end - at);
        at += count;
        Some((word, (u64::MAX >> (WORD - count)) << from))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn masks_cover_what_was_asked_for() {
        assert_eq!(masks(0, 64).collect::<Vec<_>>(), [(0, u64::MAX)]);
        assert_eq!(masks(63, 2).collect::<Vec<_>>(), [(0, 1 << 63), (1, 1)]);
        assert_eq!(masks(5, 0).count(), 0);
    }

    #[test]
    fn a_run_does_not_go_around_the_end() {
        let words = [u64::MAX << 60, 0, 0xf];
        // Numbers 60..64 and 128..132: from the last word on, 132 isn't next to 0.
        assert_eq!(find_run(3, 2, 4, |i| words[i]), Some(128));
        assert_eq!(find_run(3, 2, 5, |i| words[i]), None);
    }

    #[test]
    fn a_run_may_reach_past_the_word_where_the_search_began() {
        let words = [0, u64::MAX << 60, 0xf];
        assert_eq!(find_run(3, 2, 8, |i| words[i]), Some(124));
    }

    #[test]
    fn whole_words_are_found_where_they_begin() {
        let words = [u64::MAX, 1, u64::MAX, u64::MAX, u64::MAX - 1];
        let found = |from, wanted| find_words(5, from, wanted, |i| words[i]);
        assert_eq!(found(0, 1), Some(0));
        assert_eq!(found(0, 2), Some(128));
        assert_eq!(found(1, 1), Some(128));
        assert_eq!(found(4, 1), Some(0), "around the end");
        // From the middle of the only two on: around, and past where it began.
        assert_eq!(found(3, 2), Some(128));
        assert_eq!(found(0, 3), None);
    }

    proptest! {
        #[test]
        fn bits_are_a_set(steps in prop::collection::vec((0usize..700, 1usize..70), 1..60)) {
            let mut bits = Bits::none(700);
            let mut model = BTreeSet::new();
            for (start, len) in steps {
                let len = len.min(700 - start);
                let range = start..start + len;
                if range.clone().all(|n| model.contains(&n)) {
                    bits.remove(start, len);
                    model.retain(|n| !range.contains(n));
                } else if range.clone().all(|n| !model.contains(&n)) {
                    bits.insert(start, len);
                    model.extend(range);
                }
                prop_assert_eq!(bits.count(), model.len());
                prop_assert_eq!(bits.first(), model.first().copied());
                prop_assert!((0..700).all(|n| bits.has(n) == model.contains(&n)));
                for len in [1, 3, 65] {
                    let naive = (0..700).find(|&s| (s..s + len).all(|n| model.contains(&n)));
                    let found = find_run(bits.words(), 0, len, |i| bits.word(i));
                    prop_assert_eq!(found, naive);
                }
            }
        }
    }
}
