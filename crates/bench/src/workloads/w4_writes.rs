//! W4: random accesses of which 20 % or all are stores, the final flush included, by 1 and 16
//! threads.

use faultless::Pattern;

use super::{Definition, Workload};
use crate::case::{Case, Scale};
use crate::shape::Shape;
use crate::system::System;
use crate::targets::Target;

/// See the [module's description](self).
pub struct Writes;

impl Definition for Writes {
    fn about(&self) -> &'static str {
        "random reads and writes, and the final flush"
    }

    fn cases(&self, scale: &Scale) -> Vec<Case> {
        let frames = scale.frames();
        let case = Case { warm: 2 * frames, timed: 4 * frames, ..scale.case(Workload::W4) };
        let by_writes = [20, 100].map(|write_percent| Case { write_percent, ..case.clone() });
        by_writes.into_iter().flat_map(|case| scale.by_threads(case, &[1, 16])).collect()
    }

    fn systems(&self) -> Vec<System> {
        use System::*;
        vec![Kernel, Inline, Thread, Pread, PreadMoka]
    }

    fn shape(&self, case: &Case) -> Shape {
        Shape::uniform(case)
    }

    fn pattern(&self) -> Pattern {
        Pattern::Random
    }

    fn targets(&self, _: &Case) -> Vec<Target> {
        use System::*;
        [Inline, Thread].map(|ours| Target::at_least(1.1, ours, Kernel)).to_vec()
    }
}
