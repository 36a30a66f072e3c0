//! The swap area: where anonymous pages leave to, and giving its room back.

use std::ops::Range;
use std::sync::{Arc, Weak};

use faultless_addr::{ObjectId, PAGE_BYTES};
use faultless_engine::swap::SwapSlot;
use faultless_engine::{ObjectOptions, Rights};
use faultless_machine::Machine;
use faultless_pager::{ObjectSwap, Pager, Slots};

use crate::core::Core;
use crate::io::Job;

/// Slots whose room is given back in one call: 8 MiB, which meanwhile nobody can use.
const PUNCHED_MAX: u32 = 2048;

/// Gives a pager of shared memory its slots.
struct SlotsOf<M: Machine> {
    core: Weak<Core<M>>,
}

impl<M: Machine> SlotsOf<M> {
    /// The core, where its engine may be used: in a fork it may be locked for ever.
    fn core(&self) -> Option<Arc<Core<M>>> {
        self.core.upgrade().filter(|core| core.is_here())
    }
}

impl<M: Machine + Send + Sync + 'static> Slots for SlotsOf<M> {
    fn area(&self) -> Option<Arc<dyn Pager>> {
        let core = self.core()?;
        let object = core.engine.lock().swap_object()?;
        Some(core.pager(object))
    }

    fn take(&self, wanted: u32) -> Option<Range<u32>> {
        let run = self.core()?.engine.lock().give_slots(wanted)?;
        Some(run.start.0..run.start.0 + run.len)
    }

    fn give_back(&self, slot: u32) {
        if let Some(core) = self.core() {
            core.engine.lock().take_slot_back(SwapSlot(slot));
        }
    }

    fn make_room(&self) {
        if let Some(core) = self.core() {
            core.punch_swap();
        }
    }
}

impl<M: Machine + Send + Sync + 'static> Core<M> {
    /// A pager of `size` bytes that begin as zeros and leave to the swap area.
    pub fn swap_for(self: &Arc<Self>, size: u64) -> Arc<dyn Pager> {
        // What Linux calls shared memory without a file.
        let name = "/dev/zero (deleted)";
        Arc::new(ObjectSwap::new(name, size, SlotsOf { core: Arc::downgrade(self) }))
    }
}

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

    /// Makes what room there is for a write to the swap area that found it full: without what
    /// nobody has there any more, and without what these pages have there, whose bytes are in
    /// memory, and newer.
    pub(crate) fn make_room_for(&self, job: &Job) {
        self.punch_swap();
        // Where this fails there is less room, and nothing is lost.
        let _ = job.pager.punch(job.first.offset(), job.bytes);
    }
}
