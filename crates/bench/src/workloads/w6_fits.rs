//! W6: random words of a file that is half as big as the budget, after each page has been
//! touched.

use faultless::Pattern;
use faultless_measure::model::PAGE;

use super::{Definition, Workload};
use crate::case::{Case, Scale};
use crate::sequence::Uniform;
use crate::shape::Shape;
use crate::system::System;
use crate::targets::Target;

/// See the [module's description](self).
pub struct Fits;

/// Accesses for each page under the clock: some seconds' worth.
const PER_PAGE: u64 = 2000;

impl Definition for Fits {
    fn about(&self) -> &'static str {
        "everything fits"
    }

    fn cases(&self, scale: &Scale) -> Vec<Case> {
        let pages = (scale.frames() / 2).min(scale.bytes / PAGE).max(1);
        let case = Case {
            bytes: pages * PAGE,
            // A random access in twelve for each page misses about one in a hundred thousand.
            warm: 12 * pages,
            timed: PER_PAGE * pages,
            ..scale.case(Workload::W6)
        };
        scale.by_threads(case, &[1])
    }

    fn systems(&self) -> Vec<System> {
        use System::*;
        vec![Kernel, Inline, Thread, Pin, Pread, PreadMoka]
    }

    fn shape(&self, case: &Case) -> Shape {
        let cycle = 1 << 20;
        Shape::Accesses(Box::new(Uniform { pages: case.pages(), seed: case.seed, cycle }))
    }

    fn pattern(&self) -> Pattern {
        Pattern::Normal
    }

    fn targets(&self, _: &Case) -> Vec<Target> {
        use System::*;
        [Inline, Thread].map(|ours| Target::at_least(0.98, ours, Kernel)).to_vec()
    }
}
