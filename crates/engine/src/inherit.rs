//! What a forked process makes of the engine that it has inherited.
//!
//! fork(2) has copied it with everything else: the engine, the pool and the addresses. So
//! the child goes on where its parent was, with private memory. What is shared stays the
//! parent's: objects are *withdrawn*, their frames come back without being written, and
//! who touches them gets SIGBUS. A private map's pages that are not copied yet are read
//! from the backing as it is.
//!
//! ```text
//!                        parent      child
//!   anonymous pages      stay        stay: the machine has copied the bytes
//!   slots of swap        lent        read where they are, written elsewhere
//!   objects' pages       stay        forgotten; dirty ones are the parent's to write
//!   pins                 stay        none
//!   who waits            waits       nobody: there is one thread
//! ```

use alloc::vec::Vec;

use faultless_addr::{FrameNo, ObjectId, PageRange, SpaceId, VirtRange};

use crate::anon::AnonId;
use crate::engine::Engine;
use crate::frame::{Site, State, Want};
use crate::plan::Plan;
use crate::swap::SwapSlot;

impl Engine {
    /// This engine is a forked child's copy, taken while nothing was under way. The plan
    /// takes the objects' pages away; before anything else, stores are to be stopped
    /// again in [`stopped_ranges`](Self::stopped_ranges).
    pub fn inherit(&mut self, plan: &mut Plan) {
        assert!(!self.is_in_flight(), "an engine at work was copied");
        self.forget_leases();
        self.others.clear();
        self.starved = false;
        self.pinned = 0;
        self.passes.clear();
        self.sweep = None;
        for no in (0..self.frames.count()).map(FrameNo) {
            let frame = &self.frames[no];
            let private = AnonId::of(frame.key()).is_some();
            // What is only looked at stays shared with the parent.
            if frame.waited || frame.held || !private && frame.state != State::Free {
                let frame = &mut self.frames[no];
                (frame.waited, frame.held, frame.want) = (false, false, Want::Nothing);
                (frame.pins, frame.pinned_for_write) = (0, false);
                if !private {
                    self.set_clean(no);
                }
            }
        }
        let swap = self.swap.as_ref().map(|swap| swap.object);
        for id in (0..self.objects.len() as u32).map(ObjectId) {
            if Some(id) == swap || self.objects[id.index()].is_none() {
                continue;
            }
            let object = self.object_mut(id);
            (object.withdrawn, object.pinned, object.changing) = (true, 0, None);
            self.discard(id, PageRange::all(), plan);
        }
    }

    /// Is the object the parent's, in a forked child?
    pub fn is_withdrawn(&self, id: ObjectId) -> bool {
        self.objects.get(id.index()).and_then(Option::as_ref).is_some_and(|it| it.withdrawn)
    }

    /// Ranges that hold every page to which stores are stopped, and none to which they go
    /// through; pages that are absent may be in them.
    pub fn stopped_ranges(&self) -> Vec<(SpaceId, VirtRange)> {
        let shown = || {
            let frames = self.frames.iter().filter(|(_, frame)| frame.is_mapped());
            frames.flat_map(|(no, _)| self.translations.of(&self.frames, no))
        };
        if shown().all(|it| it.writable) {
            return Vec::new();
        }
        let shown = shown();
        let mut sites: Vec<(Site, bool)> = shown.map(|it| (it.site, it.writable)).collect();
        sites.sort_unstable();
        let mut ranges: Vec<(SpaceId, VirtRange)> = Vec::new();
        let mut goes_on = false;
        for (site, writable) in sites {
            let end = site.at().plus_pages(1);
            match ranges.last_mut() {
                _ if writable => {}
                Some((space, range)) if goes_on && *space == site.space() => range.end = end,
                _ => ranges.push((site.space(), VirtRange::new(site.at(), end))),
            }
            goes_on = !writable;
        }
        ranges
    }

    /// The slots of swap that pages have, in order.
    pub fn held_slots(&self) -> impl Iterator<Item = SwapSlot> {
        let swap = self.swap.iter();
        swap.flat_map(|swap| {
            let all = (0..swap.map.slots()).map(SwapSlot);
            all.filter(|slot| swap.map.holders(*slot) > 0)
        })
    }
}
