//! W7: walks down a tree whose pages name their children, 32 at a time: on every level the
//! pages that are needed next are known, and can be asked for together.

use faultless::Pattern;

use super::{Definition, Workload};
use crate::case::{Case, Scale};
use crate::shape::{Shape, Tree};
use crate::system::System;
use crate::targets::Target;

/// See the [module's description](self).
pub struct Walks;

impl Definition for Walks {
    fn about(&self) -> &'static str {
        "walks down a B-tree, 32 at a time"
    }

    fn cases(&self, scale: &Scale) -> Vec<Case> {
        let frames = scale.frames();
        let case = Case { warm: 3 * frames, timed: 4 * frames, ..scale.case(Workload::W7) };
        scale.by_threads(case, &[1])
    }

    fn systems(&self) -> Vec<System> {
        use System::*;
        vec![Kernel, KernelWillNeed, Inline, Thread, Prefetch, PinMany]
    }

    fn shape(&self, case: &Case) -> Shape {
        Shape::Walks(Tree::new(case.pages(), case.seed))
    }

    fn pattern(&self) -> Pattern {
        Pattern::Random
    }

    fn targets(&self, _: &Case) -> Vec<Target> {
        use System::*;
        [Prefetch, PinMany].map(|ours| Target::at_least(2.0, ours, Kernel)).to_vec()
    }
}
