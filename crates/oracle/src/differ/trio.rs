//! A system and the kernel side by side, each with a model of its own.
//!
//! ```text
//!   system ◄──── the same? ────► kernel
//!      │                            │
//!    model                        model
//! ```
//!
//! The kernel decides. The models say where Linux leaves it open what is answered: bytes
//! that may be zero, pages that may be in memory. There the two may differ. There are two
//! models because of where areas end, which Linux leaves open as well: each follows its
//! system, and a call that does not come to the same on both models is not made.

use crate::area::Area;
use crate::call::{Call, ProcessId};
use crate::kernel::Kernel;
use crate::outcome::Outcome;
use crate::system::System;

use super::pair::Pair;
use super::told::{Difference, Told};

/// A system and the kernel, told the same.
#[derive(Debug)]
pub struct Trio<S> {
    system: Pair<S>,
    kernel: Pair<Kernel>,
}

impl<S: System> Trio<S> {
    /// Both at the beginning of the same world.
    pub fn new(system: Pair<S>, kernel: Pair<Kernel>) -> Trio<S> {
        Trio { system, kernel }
    }
}

impl<S: System> Told for Trio<S> {
    fn areas(&mut self, process: ProcessId) -> Vec<Area> {
        self.kernel.areas(process)
    }

    fn can_compare(&mut self, process: ProcessId, call: &Call) -> Result<bool, Box<Difference>> {
        let models = [&self.system.model, &self.kernel.model];
        if !models.iter().any(|model| model.asks_for_seams(process, call)) {
            return Ok(true);
        }
        self.system.compare_seams(process)?;
        self.kernel.compare_seams(process)?;
        let [mut ours, mut theirs] = [self.system.model.clone(), self.kernel.model.clone()];
        let same = ours.answer(process, call) == theirs.answer(process, call);
        Ok(same && ours.areas(process) == theirs.areas(process))
    }

    fn call(&mut self, process: ProcessId, call: &Call) -> Result<Outcome, Box<Difference>> {
        let (allowed, right) = self.kernel.compare(process, call)?;
        let (_, seen) = self.system.compare(process, call)?;
        if seen == right || allowed.is_open() {
            return Ok(seen);
        }
        let sides = [format!("{seen:?}"), format!("{right:?}")];
        Err(self.difference(process, format!("{call:?}"), sides))
    }

    fn compare_areas(&mut self, process: ProcessId) -> Result<Vec<Area>, Box<Difference>> {
        let (seen, right) =
            (self.system.compare_areas(process)?, self.kernel.compare_areas(process)?);
        match seen == right {
            true => Ok(seen),
            false => {
                let sides = [format!("{seen:#?}"), format!("{right:#?}")];
                Err(self.difference(process, "has other areas".to_owned(), sides))
            }
        }
    }
}

impl<S: System> Trio<S> {
    fn difference(&self, process: ProcessId, what: String, sides: [String; 2]) -> Box<Difference> {
        let [seen, right] = sides;
        let sides = [(self.system.name(), seen), (self.kernel.name(), right)];
        Box::new(Difference { process, what, sides })
    }
}
