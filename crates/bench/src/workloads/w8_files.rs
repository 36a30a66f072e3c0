//! W8: random reads of many files of 64 KiB, all of them mapped at the same time.

use faultless::Pattern;
use faultless_measure::model::PAGE;

use super::{Definition, Workload};
use crate::case::{Case, Scale};
use crate::shape::Shape;
use crate::system::System;
use crate::targets::Target;

/// See the [module's description](self).
pub struct Files;

/// A file's length.
const FILE_BYTES: u64 = 16 * PAGE;
/// Descriptors are limited, and each file takes one.
const FILES_MAX: u64 = 2048;

impl Definition for Files {
    fn about(&self) -> &'static str {
        "random reads of many small files"
    }

    fn cases(&self, scale: &Scale) -> Vec<Case> {
        let files = (scale.bytes / FILE_BYTES).clamp(1, FILES_MAX);
        let files = 1 << files.ilog2();
        let bytes = files * FILE_BYTES;
        // The same share of it in memory as elsewhere.
        let share = u128::from(scale.memory_bytes) * u128::from(bytes) / u128::from(scale.bytes);
        let memory_bytes = (share as u64).max(1 << 20);
        let case = Case { bytes, files, memory_bytes, ..scale.case(Workload::W8) };
        let frames = case.frames();
        let case = Case { warm: 3 * frames, timed: 8 * frames, ..case };
        scale.by_threads(case, &[1])
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
        Vec::new()
    }
}
