//! W1: a word of a random page, over and over, from 1, 2, 16 and 64 threads.

use faultless::Pattern;

use super::{Definition, Workload};
use crate::case::{Case, Scale};
use crate::shape::Shape;
use crate::system::System;
use crate::targets::Target;

/// See the [module's description](self).
pub struct Random;

impl Definition for Random {
    fn about(&self) -> &'static str {
        "uniform random reads"
    }

    fn cases(&self, scale: &Scale) -> Vec<Case> {
        let frames = scale.frames();
        let case = Case { warm: 3 * frames, timed: 4 * frames, ..scale.case(Workload::W1) };
        scale.by_threads(case, &[1, 2, 16, 64])
    }

    fn systems(&self) -> Vec<System> {
        use System::*;
        let kernel = [Kernel, KernelWillNeed];
        let ours = [Inline, Thread, Pin, PinMany, Prefetch];
        [&kernel[..], &ours, &[Pread, PreadMoka, Bare, Device]].concat()
    }

    fn shape(&self, case: &Case) -> Shape {
        Shape::uniform(case)
    }

    fn pattern(&self) -> Pattern {
        Pattern::Random
    }

    fn targets(&self, case: &Case) -> Vec<Target> {
        use System::*;
        let bounds: &[(System, f64)] = match case.threads {
            1 => &[(Inline, 0.95), (Thread, 0.7), (PinMany, 3.0), (Prefetch, 3.0)],
            2 => &[],
            _ => &[(Inline, 1.0), (Thread, 0.9)],
        };
        let kernel = bounds.iter().map(|(ours, bound)| (*bound, ours.clone(), Kernel));
        // Those that `peers/build.sh` builds.
        let peers: &[(&str, f64)] = match case.threads {
            1 | 2 => &[],
            _ => &[("umap", 1.8), ("vmcache", 1.1)],
        };
        let peers = peers.iter().map(|(name, bound)| (*bound, Inline, Peer((*name).to_owned())));
        let all = kernel.chain(peers);
        all.map(|(bound, ours, against)| Target::at_least(bound, ours, against)).collect()
    }
}
