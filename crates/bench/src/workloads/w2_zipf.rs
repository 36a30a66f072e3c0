//! W2: random reads of which most go to few pages, strewn over the file (Zipf, 0.99), from 1
//! and 16 threads.

use faultless::Pattern;
use faultless_measure::order::Zipf;

use super::{Definition, Workload};
use crate::case::{Case, Scale};
use crate::sequence;
use crate::shape::Shape;
use crate::system::System;
use crate::targets::Target;

/// See the [module's description](self).
pub struct Skewed;

impl Definition for Skewed {
    fn about(&self) -> &'static str {
        "zipf 0.99 reads, hot pages strewn over the file"
    }

    fn cases(&self, scale: &Scale) -> Vec<Case> {
        // About three of four accesses hit: four of them turn over what one random does.
        let frames = scale.frames();
        let case = Case { warm: 12 * frames, timed: 12 * frames, ..scale.case(Workload::W2) };
        scale.by_threads(case, &[1, 16])
    }

    fn systems(&self) -> Vec<System> {
        use System::*;
        vec![Kernel, Inline, Thread, Pin, Pread, PreadMoka]
    }

    fn shape(&self, case: &Case) -> Shape {
        let zipf = Zipf::new(case.pages());
        Shape::Accesses(Box::new(sequence::Skewed { zipf, seed: case.seed }))
    }

    fn pattern(&self) -> Pattern {
        Pattern::Random
    }

    fn targets(&self, _: &Case) -> Vec<Target> {
        use System::*;
        vec![
            Target::at_least(1.1, Inline, Kernel),
            Target::reads_at_most(0.9, Inline, Kernel),
            Target::reads_at_most(0.9, Thread, Kernel),
        ]
    }
}
