//! Anonymous pages that leave memory, and come back.
//!
//! A dirty page is written to its slot of swap before it leaves; it gets one if it
//! has none. It keeps the slot when it comes back: as long as nobody stores to it,
//! it can leave again without a write. Pages that are evicted together get slots
//! that lie together, so that they are written, and read back, in one run. A slot that a
//! forked child may still read is not written again: the page gets another (`lease.rs`).

use faultless_addr::{FrameNo, ObjectId};

use crate::account::Payer;
use crate::anon::{AnonId, grow};
use crate::engine::Engine;
use crate::frame::{Busy, Kind};
use crate::lease::Lent;
use crate::plan::Plan;
use crate::swap::{SwapMap, SwapRun, SwapSlot, SwapWindow};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// The swap area.
pub(crate) struct Swap {
    /// What its pager is known by.
    pub object: ObjectId,
    pub map: SwapMap,
    /// Which page has a slot; of meaning only for slots in use.
    pub owners: Vec<AnonId>,
    pub window: SwapWindow,
    /// As many slots as there were before any was lent.
    pub promised: u32,
    /// What forked children may still read.
    pub lent: Vec<Lent>,
    /// Frames whose pages found no room there: it is the turn of all others before theirs.
    pub refused: BTreeSet<FrameNo>,
    /// Slots that no anonymous page has, but a pager's.
    pub given: u32,
}

impl Swap {
    /// May this page's slot be written again, or be given up for another?
    pub fn has_room_for(&self, slot: Option<SwapSlot>) -> bool {
        !self.map.is_full() || slot.is_some_and(|slot| self.is_own(slot))
    }

    /// Does no child read it?
    fn is_own(&self, slot: SwapSlot) -> bool {
        self.map.holders(slot) == 1
    }

    /// Bytes that the tables take.
    pub fn bookkeeping_bytes(&self) -> usize {
        let lent: usize = self.lent.iter().map(Lent::bookkeeping_bytes).sum();
        self.map.bookkeeping_bytes() + self.owners.capacity() * size_of::<AnonId>() + lent
    }
}

impl Engine {
    /// From now on anonymous pages may leave to `object`, whose pages are slots.
    pub fn set_swap(&mut self, object: ObjectId) {
        assert!(self.swap.is_none(), "there is a swap area already");
        let slots = self.object(object).pages().len().min(u64::from(u32::MAX)) as u32;
        let (map, owners, lent) = (SwapMap::new(slots), Vec::new(), Vec::new());
        let window = SwapWindow::default();
        let refused = BTreeSet::new();
        let promised = slots;
        self.swap = Some(Swap { object, map, owners, window, promised, lent, refused, given: 0 });
    }

    /// The object whose pages are slots.
    pub fn swap_object(&self) -> Option<ObjectId> {
        self.swap.as_ref().map(|swap| swap.object)
    }

    /// Slots in use, and all.
    pub fn swap_slots(&self) -> (u32, u32) {
        self.swap.as_ref().map_or((0, 0), |swap| (swap.map.in_use(), swap.map.slots()))
    }

    /// Slots that nobody has, and whose bytes still take room.
    pub fn stale_swap_slots(&self) -> u32 {
        self.swap.as_ref().map_or(0, |swap| swap.map.stale())
    }

    /// Up to `max` of them that lie together: the swap object's pages to give the room back
    /// of. Nobody is given these slots before [`end_punch`](Self::end_punch).
    pub fn begin_punch(&mut self, max: u32) -> Option<(ObjectId, SwapRun)> {
        let swap = self.swap.as_mut()?;
        Some((swap.object, swap.map.begin_punch(max)?))
    }

    /// Their room has been given back, or not: that is no loss but of room.
    pub fn end_punch(&mut self, run: SwapRun) {
        if let Some(swap) = &mut self.swap {
            swap.map.end_punch(run);
        }
    }

    /// Up to `wanted` slots for a pager of shared memory, which says what is in them.
    pub fn give_slots(&mut self, wanted: u32) -> Option<SwapRun> {
        let swap = self.swap.as_mut()?;
        let run = swap.map.alloc_run(wanted)?;
        swap.given += run.len;
        Some(run)
    }

    /// A slot that was [given](Self::give_slots) is free again.
    pub fn take_slot_back(&mut self, slot: SwapSlot) {
        if let Some(swap) = &mut self.swap {
            swap.map.put(slot);
            swap.given -= 1;
        }
    }

    /// Begins to write a dirty anonymous page to its slot.
    pub(crate) fn begin_swap_out(&mut self, id: AnonId, no: FrameNo, plan: &mut Plan) -> bool {
        let Some(swap) = &mut self.swap else { return false };
        let slot = match self.anons[id].slot() {
            Some(slot) if swap.is_own(slot) => slot,
            before => {
                let Some(slot) = swap.map.alloc() else { return false };
                if let Some(lent) = before {
                    swap.map.put(lent);
                }
                while swap.owners.len() <= slot.index() {
                    grow(&mut swap.owners);
                    swap.owners.push(id);
                }
                swap.owners[slot.index()] = id;
                self.anons[id].set_slot(Some(slot));
                slot
            }
        };
        let object = swap.object;
        self.begin(no, Busy::Writing, 1);
        self.stop_stores(no, plan);
        let mapped = self.first_site(no).map(|site| (site.space(), site.at()));
        plan.push_swap_write(object, slot.page(), no, mapped, self.config.run_max);
        true
    }

    /// Some page could be written to an object: others may be, too, if that is swap.
    pub(crate) fn forget_refusals(&mut self, object: ObjectId) {
        if let Some(swap) = self.swap.as_mut().filter(|swap| swap.object == object) {
            swap.refused.clear();
        }
    }

    pub(crate) fn free_slot(&mut self, slot: SwapSlot) {
        if let Some(swap) = &mut self.swap {
            swap.map.put(slot);
        }
    }

    /// A page that had come from swap with another one is touched.
    pub(crate) fn note_swap_hit(&mut self) {
        if let Some(swap) = &mut self.swap {
            swap.window.hit();
        }
    }

    /// Reads the slots around a page's, as far as frames are to spare.
    pub(crate) fn read_cluster(&mut self, id: AnonId, payer: Payer, plan: &mut Plan) {
        let (Some(slot), Some(swap)) = (self.anons[id].slot(), &mut self.swap) else { return };
        let window = swap.window.next(slot);
        let (object, cluster) = (swap.object, swap.map.cluster_of(slot, window));
        for slot in cluster.iter() {
            let Some(swap) = &self.swap else { return };
            // A pager's slots have no owner.
            let Some(owner) = swap.owners.get(slot.index()).copied() else { return };
            if self.anons[owner].frame().is_some() || self.anons[owner].slot() != Some(slot) {
                continue;
            }
            if self.spare_frames(payer) == 0 {
                return;
            }
            let Ok(no) = self.take_frame(owner.key(), payer) else { return };
            self.stats.pages_ahead += 1;
            self.frames[no].kind = Kind::Ahead;
            let source = self.pager_of(object);
            plan.push_read(object, slot.page(), no, source, self.config.run_max);
        }
    }
}
