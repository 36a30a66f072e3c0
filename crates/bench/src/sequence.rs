//! Sequences of accesses: the n-th is a function of n and a seed, so whichever thread does
//! it, all systems do the same ones, and sums can be computed again.

use faultless_measure::model::PAGE_WORDS;
use faultless_measure::order::{Random, Zipf, mix};

/// The word of each page that is stored to: its last one. It is never loaded for a sum.
pub const COUNTER: u64 = PAGE_WORDS - 1;

/// Which words are accessed.
pub trait Sequence: Sync {
    /// The words of accesses `from`, `from + 1` and so on.
    fn fill(&self, from: u64, words: &mut [u64]);
}

/// Is the n-th access of a hundred kinds a store?
pub fn is_store(nth: u64, seed: u64, write_percent: u64) -> bool {
    mix(nth ^ mix(seed)) % 100 < write_percent
}

/// The word of a page that is stored to.
pub fn counter_of(word: u64) -> u64 {
    word - word % PAGE_WORDS + COUNTER
}

/// A word that is never stored to, of a page.
pub fn constant_word(page: u64, bits: u64) -> u64 {
    page * PAGE_WORDS + bits % COUNTER
}

/// Every page as likely as any other.
pub struct Uniform {
    /// Pages to choose from.
    pub pages: u64,
    /// What the choice depends on.
    pub seed: u64,
    /// After so many accesses they come again.
    pub cycle: u64,
}

impl Sequence for Uniform {
    fn fill(&self, from: u64, words: &mut [u64]) {
        for (nth, word) in (from..).zip(words) {
            let mut random = Random::new(self.seed, nth % self.cycle);
            let page = random.below(self.pages);
            *word = constant_word(page, random.bits());
        }
    }
}

/// Few pages often, strewn over the file: Zipf's distribution of exponent 0.99.
pub struct Skewed {
    /// The distribution.
    pub zipf: Zipf,
    /// What the choice depends on.
    pub seed: u64,
}

impl Sequence for Skewed {
    fn fill(&self, from: u64, words: &mut [u64]) {
        for (nth, word) in (from..).zip(words) {
            let mut random = Random::new(self.seed, nth);
            let page = self.zipf.page(&mut random);
            *word = constant_word(page, random.bits());
        }
    }
}
