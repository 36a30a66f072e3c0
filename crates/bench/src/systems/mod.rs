//! Who carries accesses out: each system as a workload sees it.

pub mod bare;
pub mod device;
pub mod kernel;
pub mod ours;
pub mod parts;
pub mod pread;

use std::ops::Range;

use faultless::Stats;
use faultless_measure::problem::Result;

use crate::content::tie;
use crate::shape::line_words;

/// The words of all files, one after the other.
///
/// Whatever goes wrong ends the process: a benchmark that went on would measure something
/// else.
pub trait Access: Sync {
    /// Reads a word.
    fn load(&self, word: u64) -> u64;

    /// Adds 1 to a word.
    fn increment(&self, word: u64);

    /// Reads words that are known together.
    fn load_many(&self, words: &[u64], values: &mut [u64]) {
        for (word, value) in words.iter().zip(values) {
            *value = self.load(*word);
        }
    }

    /// Does [`load_many`](Self::load_many) do more than one load after the other?
    fn batches(&self) -> Batches {
        Batches::No
    }

    /// Reads a word of every cache line of some pages; answers their sum.
    fn sweep(&self, pages: Range<u64>) -> u64 {
        let words = pages.flat_map(line_words);
        words.map(|word| tie(word, self.load(word))).fold(0, u64::wrapping_add)
    }

    /// Makes all stores durable.
    fn flush(&self) -> Result<()> {
        Ok(())
    }

    /// What Faultless counts.
    fn stats(&self) -> Option<Stats> {
        None
    }
}

/// See [`Access::batches`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batches {
    /// Loads one after the other.
    No,
    /// Loads them together.
    Yes,
}
