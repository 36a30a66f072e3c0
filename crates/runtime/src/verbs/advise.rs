//! `advise`: what will become of a range (madvise(2)).

use faultless_addr::{SpaceId, VirtRange};
use faultless_engine::space::Advice;
use faultless_machine::Machine;

use crate::core::Core;
use crate::drive::Reads;
use crate::error::Error;

impl<M: Machine> Core<M> {
    /// The pages of a range are zeros again, or the object's, and take neither memory nor
    /// swap (`MADV_DONTNEED`).
    pub fn dont_need(&self, space: SpaceId, range: VirtRange) -> Result<(), Error> {
        self.advise_range(space, range, Advice::DontNeed)
    }

    /// Takes advice that moves pages; what it asks for has been done, or begun, when this
    /// returns.
    pub fn advise_range(
        &self,
        space: SpaceId,
        range: VirtRange,
        advice: Advice,
    ) -> Result<(), Error> {
        self.check_birthplace()?;
        if advice == Advice::WillNeed {
            self.will_need(space, range);
        }
        let mut pieces = Vec::new();
        let at = (range.start, range.len());
        let result = self.take_away(space, range, |engine, plan| {
            engine.advise_range(space, at, advice, &mut pieces, plan)
        });
        self.wait_until_quiet(space, range);
        result.map_err(|why| Error::refused("advise", range, why.errno(), why))
    }

    /// Handlers read; nobody waits for it.
    fn will_need(&self, space: SpaceId, range: VirtRange) {
        let mut worker = self.worker();
        self.engine.lock().will_need(space, range, &mut worker.plan);
        self.carry_out(&mut worker, Reads::HandOff);
        self.finish(&mut worker);
        self.rest(worker);
    }
}
