//! The calls on addresses: one file each, as in the engine's `space`.
//!
//! Each changes areas under the engine's lock, and has the pages that are not meant there
//! any more leave before it returns. Ranges here are whole pages of one mapping, and whose
//! that is, is its owner's to see to: verbs on one range exclude each other.

mod advise;
mod lock;
mod look;
mod place;
mod protect;
mod remap;

pub use look::FileOf;
pub use place::{Placed, Reserved};
pub use remap::Moving;

use faultless_addr::{SpaceId, VirtRange};
use faultless_engine::{Engine, Plan};
use faultless_machine::Machine;
use std::time::Duration;

use crate::core::Core;
use crate::drive::Worker;

impl<M: Machine> Core<M> {
    /// Has every page leave that is not meant in a range any more, and the pages that a
    /// verb left in `worker`'s plan.
    pub(crate) fn clear_range(&self, worker: &mut Worker, space: SpaceId, range: VirtRange) {
        self.finish(worker);
        self.finish_steps(worker, |engine, plan| engine.clear_step(space, range, plan));
    }

    /// Begins a verb that may take something away from a range, and waits until it has.
    pub(crate) fn take_away<R>(
        &self,
        space: SpaceId,
        range: VirtRange,
        begin: impl FnOnce(&mut Engine, &mut Plan) -> R,
    ) -> R {
        let mut worker = self.worker();
        let result = {
            let mut engine = self.engine.lock();
            begin(&mut engine, &mut worker.plan)
        };
        self.clear_range(&mut worker, space, range);
        self.rest(worker);
        result
    }

    /// Waits until no access of before, that was refused in a range, is still being ended, and
    /// no error is being healed there. Every verb that gives addresses or rights does so last.
    pub(crate) fn wait_until_quiet(&self, space: SpaceId, range: VirtRange) {
        let mut engine = self.engine.lock();
        while engine.are_marks_changing_in(space, range) {
            engine = self.wait_frames(engine, Duration::from_millis(1));
        }
    }
}
