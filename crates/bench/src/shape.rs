//! What threads do in a workload.

use std::ops::Range;

use faultless_measure::model::PAGE_WORDS;
use faultless_measure::order::mix;

use crate::case::Case;
use crate::sequence::{Sequence, Uniform, constant_word};

/// The kinds of work there are.
pub enum Shape {
    /// Accesses that are known beforehand, shared out among the threads in small blocks.
    Accesses(Box<dyn Sequence>),
    /// Every page in order, each thread in its part, a word of every cache line.
    Scan,
    /// Accesses to few pages by one thread, while another scans all the others.
    HotAndScan {
        /// The accesses, which come again after `cycle`.
        hot: Box<dyn Sequence>,
        /// After how many.
        cycle: u64,
        /// Pages that the other thread scans.
        scanned: Range<u64>,
        /// Pages that it scans in a second.
        rate: u64,
    },
    /// Walks from the root of a tree to a leaf, each page naming the next one.
    Walks(Tree),
}

impl Shape {
    /// A word of a random page, over and over.
    pub fn uniform(case: &Case) -> Shape {
        let (pages, seed) = (case.pages(), case.seed);
        Shape::Accesses(Box::new(Uniform { pages, seed, cycle: u64::MAX }))
    }
}

/// Pages as a B-tree has them: a root, and levels of which each is `FANOUT` times wider. The
/// words of a page choose the page of the next level.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The pages of each level.
    pub levels: Vec<Range<u64>>,
    /// What keys depend on.
    pub seed: u64,
}

impl Tree {
    /// Children of a page.
    const FANOUT: u64 = 64;

    /// Over so many pages: the last level has what is left.
    pub fn new(pages: u64, seed: u64) -> Tree {
        let mut levels = Vec::new();
        let (mut start, mut width) = (0, 1);
        while start < pages {
            // A page's words name no more than some hundreds: a level that is much wider than
            // the one above it would have pages that nobody comes to.
            let end = (start + width).min(pages);
            levels.push(start..end);
            start = end;
            width *= Self::FANOUT;
        }
        Tree { levels, seed }
    }

    /// Where walk `nth` begins.
    pub fn root(&self, nth: u64) -> u64 {
        self.word(nth, 0, mix(nth))
    }

    /// Where walk `nth` goes on `level`, having read `value` on the level above.
    pub fn word(&self, nth: u64, level: usize, value: u64) -> u64 {
        let pages = &self.levels[level];
        let page = pages.start + value % (pages.end - pages.start);
        constant_word(page, mix(nth ^ mix(self.seed ^ level as u64)))
    }
}

/// Words of a page that a scan loads: one of each cache line.
pub fn line_words(page: u64) -> impl Iterator<Item = u64> {
    (page * PAGE_WORDS..(page + 1) * PAGE_WORDS).step_by(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_a_tree_have_all_pages_once() {
        for pages in [2, 65, 66, 4161, 4162, 65_536] {
            let tree = Tree::new(pages, 1);
            assert_eq!(tree.levels[0].start, 0);
            assert!(tree.levels.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!(tree.levels.last().map(|level| level.end), Some(pages));
        }
        let widths: Vec<u64> =
            Tree::new(65_536, 1).levels.iter().map(|level| level.end - level.start).collect();
        assert_eq!(widths, [1, 64, 4096, 61_375]);
    }
}
