//! W3: the whole file in order, a word of every cache line, by 1 and 2 threads with a part
//! each.

use faultless::Pattern;

use super::{Definition, Workload};
use crate::case::{Case, Scale};
use crate::shape::Shape;
use crate::system::System;
use crate::targets::Target;

/// See the [module's description](self).
pub struct Scan;

impl Definition for Scan {
    fn about(&self) -> &'static str {
        "sequential scan"
    }

    fn cases(&self, scale: &Scale) -> Vec<Case> {
        let case = scale.case(Workload::W3);
        let case = Case { warm: case.pages() / 2, timed: case.pages(), ..case };
        scale.shared_by_threads(case, &[1, 2])
    }

    fn systems(&self) -> Vec<System> {
        use System::*;
        vec![Kernel, KernelSmallAhead, Inline, Thread, Pin, Device]
    }

    fn shape(&self, _: &Case) -> Shape {
        Shape::Scan
    }

    fn pattern(&self) -> Pattern {
        Pattern::Sequential
    }

    fn targets(&self, _: &Case) -> Vec<Target> {
        use System::*;
        [Inline, Thread]
            .into_iter()
            .flat_map(|ours| {
                [(KernelSmallAhead, 1.25), (Kernel, 1.0), (Device, 0.95)]
                    .map(|(against, bound)| Target::at_least(bound, ours.clone(), against))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_by_many_ends_where_the_file_does() {
        let scale = Scale {
            bytes: 16 << 20,
            memory_bytes: 2 << 20,
            threads: Some(vec![1, 16]),
            seed: 1,
            seconds: 1.0,
        };
        for case in Scan.cases(&scale) {
            assert!(case.warm.max(case.timed) <= case.pages(), "{} pages", case.timed);
        }
    }
}
