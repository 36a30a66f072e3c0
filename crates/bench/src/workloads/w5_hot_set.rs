//! W5: one thread reads a hot set of three quarters of the budget at random, while another
//! one scans the rest of the file at a rate that is the same for all: two budgets a second. The
//! hot set is in memory when the scan begins.

use faultless::Pattern;

use super::{Definition, Workload};
use crate::case::{Case, Scale};
use crate::sequence::Uniform;
use crate::shape::Shape;
use crate::system::System;
use crate::targets::Target;

/// See the [module's description](self).
pub struct HotSet;

/// Accesses to the hot set, after which they come again.
const CYCLE: u64 = 1 << 20;

/// Pages of the hot set: the first ones of the file.
pub fn hot_pages(case: &Case) -> u64 {
    (case.frames() * 3 / 4).max(1)
}

impl Definition for HotSet {
    fn about(&self) -> &'static str {
        "a hot set while another thread scans"
    }

    fn cases(&self, scale: &Scale) -> Vec<Case> {
        vec![Case { seconds: scale.seconds, threads: 2, ..scale.case(Workload::W5) }]
    }

    fn systems(&self) -> Vec<System> {
        use System::*;
        vec![Kernel, Inline, Thread, Pread, PreadMoka]
    }

    fn shape(&self, case: &Case) -> Shape {
        let pages = hot_pages(case);
        Shape::HotAndScan {
            hot: Box::new(Uniform { pages, seed: case.seed, cycle: CYCLE }),
            cycle: CYCLE,
            scanned: pages..case.pages(),
            rate: 2 * case.frames(),
        }
    }

    fn pattern(&self) -> Pattern {
        Pattern::Normal
    }

    fn targets(&self, _: &Case) -> Vec<Target> {
        use System::*;
        [Inline, Thread].map(|ours| Target::at_least(1.5, ours, Kernel)).to_vec()
    }
}
