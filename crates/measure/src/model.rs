//! What the demonstration's file must contain: each word a function of its offset and
//! of how often it has been changed.

use serde::{Deserialize, Serialize};

use crate::order::mix;

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Bytes of a word, the unit that is touched and compared.
pub const WORD: u64 = 8;
/// Words of a page.
pub const PAGE_WORDS: u64 = PAGE / WORD;

/// One page of so many is changed in every round.
pub const CHANGE_EVERY: u64 = 16;
/// Words of a changed page that are changed, evenly spread over it.
const CHANGES_PER_PAGE: u64 = 8;

/// The file's content after a number of rounds of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Rounds of changes that are complete.
    pub rounds: u64,
}

impl Model {
    /// What word number `word` of the file is.
    pub fn word(self, word: u64) -> u64 {
        let first = mix(word.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x0fa1_7155);
        if is_changed(word) { first ^ mix(self.rounds) } else { first }
    }

    /// How many words of `bytes`, which are the file's from `offset`, are wrong, and
    /// the offset of the first of them. Both are multiples of a word.
    pub fn check(self, offset: u64, bytes: &[u8]) -> Wrong {
        let mut wrong = Wrong::default();
        let (words, _) = bytes.as_chunks::<8>();
        for (index, found) in (offset / WORD..).zip(words) {
            wrong.compare(index, u64::from_le_bytes(*found), self.word(index));
        }
        wrong
    }

    /// Fills `bytes`, which are the file's from `offset`.
    pub fn fill(self, offset: u64, bytes: &mut [u8]) {
        let (words, _) = bytes.as_chunks_mut::<8>();
        for (index, word) in (offset / WORD..).zip(words) {
            *word = self.word(index).to_le_bytes();
        }
    }
}

/// Does a round change this word?
fn is_changed(word: u64) -> bool {
    let (page, within) = (word / PAGE_WORDS, word % PAGE_WORDS);
    page.is_multiple_of(CHANGE_EVERY) && within % (PAGE_WORDS / CHANGES_PER_PAGE) == 3
}

/// The words of a page that a round changes, if the page is one of those.
pub fn changed_words(page: u64) -> impl Iterator<Item = u64> {
    let first = page * PAGE_WORDS;
    (first..first + PAGE_WORDS).filter(|word| is_changed(*word))
}

/// Words that were not as they had to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// How many.
    pub words_wrong: u64,
    /// Where the first of them is.
    pub first_wrong_offset_bytes: Option<u64>,
}

impl Wrong {
    /// Notes word number `word`, if it is wrong.
    pub fn compare(&mut self, word: u64, found: u64, expected: u64) {
        if found != expected {
            self.add(Wrong { words_wrong: 1, first_wrong_offset_bytes: Some(word * WORD) });
        }
    }

    /// Adds what another thread or chunk found.
    pub fn add(&mut self, other: Wrong) {
        self.words_wrong += other.words_wrong;
        let first = self.first_wrong_offset_bytes.into_iter().chain(other.first_wrong_offset_bytes);
        self.first_wrong_offset_bytes = first.min();
    }

    /// Was everything right?
    pub fn is_none(&self) -> bool {
        self.words_wrong == 0
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.first_wrong_offset_bytes {
            None => f.write_str("every word is right"),
            Some(first) => {
                write!(f, "{} words are wrong, the first at offset {first}", self.words_wrong)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_buffer_is_right_and_a_changed_one_is_not() {
        let mut bytes = vec![0; 8192];
        let model = Model { rounds: 2 };
        model.fill(PAGE * 16, &mut bytes);
        assert!(model.check(PAGE * 16, &bytes).is_none());
        // The other rounds differ in just the words of the first page.
        assert_eq!(Model { rounds: 1 }.check(PAGE * 16, &bytes).words_wrong, CHANGES_PER_PAGE);
        bytes[5000] ^= 1;
        let wrong = model.check(PAGE * 16, &bytes);
        assert_eq!(wrong.words_wrong, 1);
        assert_eq!(wrong.first_wrong_offset_bytes, Some(PAGE * 16 + 5000));
    }

    #[test]
    fn changed_words_are_those_that_differ_between_rounds() {
        assert_eq!(changed_words(16).count() as u64, CHANGES_PER_PAGE);
        assert_eq!(changed_words(17).count(), 0);
        for word in changed_words(32) {
            assert_ne!(Model { rounds: 0 }.word(word), Model { rounds: 1 }.word(word));
        }
    }
}
