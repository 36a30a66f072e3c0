//! What is to be done to a mapping, said once for both sides: Faultless does it in this
//! process, the kernel's mmap in a child that reads the same plan.

use std::path::PathBuf;

use faultless::Pattern;
use serde::{Deserialize, Serialize};

use crate::model::{Model, PAGE, WORD, Wrong};
use crate::order::{Order, Pages, mix, part};
use crate::touch::Writes;
use crate::walk::Done;

/// Phases on one file under one budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The file.
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// The budget.
    pub memory_bytes: u64,
    /// Threads that touch.
    pub threads: u64,
    /// What is done, in this order.
    pub phases: Vec<Phase>,
}

/// One measured piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// What people call it.
    pub name: String,
    /// What is done.
    pub work: Work,
    /// What the mapping is told before.
    pub advice: Advice,
    /// What is in memory when it begins.
    pub start: Start,
}

/// What a phase does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Loads every word, each thread in its part, and compares it.
    Check {
        /// What it must be.
        model: Model,
    },
    /// Loads words of pages and compares them.
    Probe {
        /// What they must be.
        model: Model,
        /// Which pages.
        touches: Touches,
    },
    /// Loads, compares and stores the words that change from one round to the next;
    /// each thread has every n-th of the pages.
    Change {
        /// What they must be before.
        model: Model,
    },
    /// Loads one word of each page touched, or adds 1 to it.
    Touch(Touches),
    /// Makes everything durable.
    Flush,
}

/// Which pages are touched by all threads together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touches {
    /// In which order.
    pub order: Order,
    /// How many.
    pub count: u64,
    /// How many of a hundred are stores.
    pub write_percent: u64,
    /// What the random ones depend on.
    pub seed: u64,
}

/// The order of accesses that the mapping is told of: the same on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Advice {
    /// Nothing: it looks at the faults.
    Normal,
    /// Nothing is worth reading ahead.
    Random,
    /// All that follows is.
    Sequential,
}

/// What is in memory when a phase begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// Nothing of the file: neither mapped nor in the kernel's page cache.
    Cold,
    /// What the phase before has left.
    Warm,
}

impl Plan {
    /// Does some phase change the file?
    pub fn writes(&self) -> Writes {
        let does = self.phases.iter().any(|phase| match &phase.work {
            Work::Change { .. } => true,
            Work::Touch(touches) => touches.write_percent > 0,
            Work::Check { .. } | Work::Probe { .. } | Work::Flush => false,
        });
        if does { Writes::Allowed } else { Writes::Refused }
    }
}

impl Advice {
    /// What suits an order best.
    pub fn for_order(order: Order) -> Advice {
        match order {
            Order::Sequential => Advice::Sequential,
            Order::Random | Order::Zipf => Advice::Random,
        }
    }

    /// As the library says it.
    pub fn pattern(self) -> Pattern {
        match self {
            Advice::Normal => Pattern::Normal,
            Advice::Random => Pattern::Random,
            Advice::Sequential => Pattern::Sequential,
        }
    }
}

/// One access of a `Touch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Loads this word.
    Load(u64),
    /// Adds 1 to this word.
    Increment(u64),
}

impl Touches {
    /// The accesses of one thread on a file of so many bytes. They depend on nothing
    /// else, so who wants to know what was written computes them again.
    pub fn accesses(self, bytes: u64, thread: u64, threads: u64) -> impl Iterator<Item = Access> {
        let own = part(self.count, thread, threads);
        let pages = Pages::new(self.order, touchable_pages(bytes), thread, threads, self.seed);
        let seed = self.seed;
        pages.take((own.end - own.start) as usize).zip(0u64..).map(move |(page, nth)| {
            let word = touched_word(page, bytes);
            let die = mix(nth ^ mix(seed ^ thread)) % 100;
            if die < self.write_percent { Access::Increment(word) } else { Access::Load(word) }
        })
    }
}

/// Pages of a file that hold at least one whole word.
pub fn touchable_pages(bytes: u64) -> u64 {
    (bytes / WORD * WORD).div_ceil(PAGE)
}

/// The word of a page that is touched: always the same one, so that what was added to
/// it can be compared.
pub fn touched_word(page: u64, bytes: u64) -> u64 {
    let first = page * PAGE / WORD;
    let words = (bytes / WORD - first).min(PAGE / WORD);
    first + mix(page) % words
}

/// What a phase came to, on either side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseResult {
    /// The phase's name.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// Loads and stores by the program.
    pub accesses: u64,
    /// Bytes that it looked at or changed.
    pub bytes_touched: u64,
    /// Pages that it came to, each time counted.
    pub pages_touched: u64,
    /// The rate of accesses.
    pub accesses_per_second: f64,
    /// The rate of pages touched.
    pub pages_per_second: f64,
    /// The rate of bytes touched.
    pub bytes_per_second: f64,
    /// Was every word looked at, not single words of pages?
    pub whole_pages: bool,
    /// Words that were not as they had to be.
    #[serde(flatten)]
    pub wrong: Wrong,
    /// Faults that waited for the page's bytes.
    pub faults_major: u64,
    /// Faults that found them in memory.
    pub faults_minor: u64,
    /// Faults that met a page that was busy and waited for it; the kernel doesn't say.
    pub faults_joined: Option<u64>,
    /// First stores to clean pages; the kernel doesn't count them by themselves.
    pub faults_write: Option<u64>,
    /// Read from the file.
    pub bytes_read: u64,
    /// Written to it.
    pub bytes_written: u64,
    /// Pages that left memory to make room; the kernel doesn't say.
    pub evictions: Option<u64>,
}

impl PhaseResult {
    /// A phase without its counters.
    pub fn new(phase: &Phase, done: Done, seconds: f64) -> PhaseResult {
        let per_second = |number: u64| number as f64 / seconds.max(1e-9);
        PhaseResult {
            name: phase.name.clone(),
            seconds,
            accesses: done.accesses,
            bytes_touched: done.bytes_touched,
            pages_touched: done.pages_touched,
            accesses_per_second: per_second(done.accesses),
            pages_per_second: per_second(done.pages_touched),
            bytes_per_second: per_second(done.bytes_touched),
            whole_pages: matches!(phase.work, Work::Check { .. }),
            wrong: done.wrong,
            ..PhaseResult::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touched_words_are_whole_and_within_the_file() {
        for bytes in [8, 15, 4095, 4096, 4097, 4103, 4104, 12_288] {
            for page in 0..touchable_pages(bytes) {
                let word = touched_word(page, bytes);
                assert!((word + 1) * WORD <= bytes, "page {page} of {bytes} bytes");
                assert_eq!(word * WORD / PAGE, page);
            }
        }
        assert_eq!(touchable_pages(7), 0);
        assert_eq!(touchable_pages(4103), 1);
        assert_eq!(touchable_pages(4104), 2);
    }

    #[test]
    fn threads_share_the_touches_out() {
        let touches = Touches { order: Order::Random, count: 1001, write_percent: 50, seed: 3 };
        let all: Vec<_> = (0..4).flat_map(|thread| touches.accesses(1 << 20, thread, 4)).collect();
        assert_eq!(all.len(), 1001);
        let writes = all.iter().filter(|access| matches!(access, Access::Increment(_))).count();
        assert!((400..600).contains(&writes), "{writes}");
    }
}
