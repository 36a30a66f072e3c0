//! The swap area: where anonymous pages leave to, and giving its room back.

use std::sync::Arc;

use faultless_addr::{ObjectId, PAGE_BYTES};
use faultless_engine::{Failure, ObjectOptions, Plan, Rights};
use faultless_machine::Machine;
use faultless_pager::Pager;

use crate::core::Core;
use crate::drive::errno_of;
use crate::io::Job;

/// Slots whose room is given back in one call: 8 MiB, which meanwhile nobody can use.
const PUNCHED_MAX: u32 = 2048;

impl<M: Machine> Core<M> {
    /// From now on anonymous pages can leave memory, as many as fit into `size` bytes of
    /// the pager. Once, and before there are any.
    pub fn add_swap(&self, pager: Arc<dyn Pager>, size: u64) {
        let mut engine = self.engine.lock();
        let object = engine.create(ObjectOptions::file(size, Rights::ReadWrite));
        engine.set_swap(object);
        self.add_pager(object, pager);
    }

    /// Is it where anonymous pages leave to?
    pub(crate) fn is_swap(&self, object: ObjectId) -> bool {
        self.engine.lock().swap_object() == Some(object)
    }

    /// Gives the room of slots that nobody has any more back, where it is worth calls.
    pub(crate) fn punch_much_swap(&self) {
        let engine = self.engine.lock();
        let (stale, (_, slots)) = (engine.stale_swap_slots(), engine.swap_slots());
        drop(engine);
        if stale > slots / 8 {
            self.punch_swap();
        }
    }

    fn punch_swap(&self) {
        loop {
            let Some((object, run)) = self.engine.lock().begin_punch(PUNCHED_MAX) else { return };
            let pages = run.pages();
            // What can't be given back is lost to the file system, and to nobody else.
            let _ = self.pager(object).punch(pages.start.offset(), pages.len() * PAGE_BYTES);
            self.engine.lock().end_punch(run);
        }
    }

    /// A write of pages found the swap area full: page by page, as far as there is room
    /// without what nobody has there any more, and without what these pages have there:
    /// their bytes are in memory, and newer.
    pub(crate) fn write_swap_again(&self, job: &Job, next: &mut Plan) {
        self.punch_swap();
        // Where this fails there is less room, and nothing is lost.
        let _ = job.pager.punch(job.first.offset(), job.bytes);
        for (n, frame) in job.frames.iter().enumerate() {
            let written = job.run_page_here(n).map(drop);
            let result = written.map_err(|error| (Failure::Write, errno_of(&error)));
            let page = job.first.plus(n as u64);
            self.engine.lock().write_ended(job.object, page, &[*frame], result, next);
        }
    }
}
