//! Anonymous pages that leave memory, and come back.
//!
//! A dirty page is written to its slot of swap before it leaves; it gets one if it
//! has none. It keeps the slot when it comes back: as long as nobody stores to it,
//! it can leave again without a write. Pages that are evicted together get slots
//! that lie together, so that they are written, and read back, in one run.

use faultless_addr::{FrameNo, ObjectId};

use crate::anon::{AnonId, grow};
use crate::engine::Engine;
use crate::frame::{Busy, Kind};
use crate::plan::{Plan, Source};
use crate::swap::{Put, SwapMap, SwapSlot, SwapWindow};
use alloc::vec::Vec;

/// The swap area.
pub(crate) struct Swap {
    /// What its pager is known by.
    pub object: ObjectId,
    pub map: SwapMap,
    /// Which page has a slot; of meaning only for slots in use.
    pub owners: Vec<AnonId>,
    pub window: SwapWindow,
}

impl Swap {
    /// Bytes that the tables take.
    pub fn bookkeeping_bytes(&self) -> usize {
        self.map.bookkeeping_bytes() + self.owners.capacity() * size_of::<AnonId>()
    }
}

impl Engine {
    /// From now on anonymous pages may leave to `object`, whose pages are slots.
    pub fn set_swap(&mut self, object: ObjectId) {
        assert!(self.swap.is_none(), "there is a swap area already");
        let slots = self.object(object).pages().len().min(u64::from(u32::MAX)) as u32;
        self.swap = Some(Swap {
            object,
            map: SwapMap::new(slots),
            owners: Vec::new(),
            window: SwapWindow::default(),
        });
    }

    /// Slots in use, and all.
    pub fn swap_slots(&self) -> (u32, u32) {
        self.swap.as_ref().map_or((0, 0), |swap| (swap.map.in_use(), swap.map.slots()))
    }

    /// Begins to write a dirty anonymous page to its slot.
    pub(crate) fn begin_swap_out(&mut self, id: AnonId, no: FrameNo, plan: &mut Plan) -> bool {
        let Some(swap) = &mut self.swap else { return false };
        let slot = match self.anons[id].slot() {
            Some(slot) => slot,
            None => {
                let Some(slot) = swap.map.alloc() else { return false };
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

    pub(crate) fn free_slot(&mut self, slot: SwapSlot) {
        if let Some(swap) = &mut self.swap {
            let put = swap.map.put(slot);
            debug_assert_eq!(put, Put::Freed, "a slot is one page's");
        }
    }

    /// A page that had come from swap with another one is touched.
    pub(crate) fn note_swap_hit(&mut self) {
        if let Some(swap) = &mut self.swap {
            swap.window.hit();
        }
    }

    /// Reads the slots around a page's, as far as frames are to spare.
    pub(crate) fn read_cluster(&mut self, id: AnonId, plan: &mut Plan) {
        let (Some(slot), Some(swap)) = (self.anons[id].slot(), &mut self.swap) else { return };
        let window = swap.window.next(slot);
        let (object, cluster) = (swap.object, swap.map.cluster_of(slot, window));
        for slot in cluster.iter() {
            let Some(swap) = &self.swap else { return };
            let owner = swap.owners[slot.index()];
            if self.anons[owner].frame().is_some() || self.anons[owner].slot() != Some(slot) {
                continue;
            }
            if self.spare_frames() == 0 {
                return;
            }
            let Some(no) = self.take_frame(owner.key()) else { return };
            self.stats.pages_ahead += 1;
            self.frames[no].kind = Kind::Ahead;
            plan.push_read(object, slot.page(), no, Source::Pager, self.config.run_max);
        }
    }
}
