//! Spaces of other processes: what is shown there, and no more.
//!
//! Where a client's areas are, and what their rights are, is its kernel's business; a driver
//! tells what it has heard of it. Areas here have all the rights that the client's descriptor
//! gave.

use faultless_addr::{ObjectId, PageIndex, PageRange, Prot, SpaceId, VirtAddr, VirtRange};
use faultless_engine::space::{
    Backing, MapRequest, Merge, Place, RemapFlags, RemapRequest, Sharing, VmaFlags,
};
use faultless_engine::{Account, Engine, Plan};
use faultless_machine::Machine;

use crate::core::Core;
use crate::error::Error;
use crate::objects::ObjectHandle;
use crate::private::{no_addresses, request};

/// So many pages become a forked child's under one taking of the engine's lock.
const FORKED_AT_ONCE: u64 = 1024;

impl<M: Machine> Core<M> {
    /// A space for a process, with addresses in `bounds`.
    pub fn create_space(&self, bounds: VirtRange) -> SpaceId {
        self.engine.lock().create_space(bounds)
    }

    /// The process, and those that are forked from it, have at most so many frames.
    pub fn open_account(&self, space: SpaceId, frames: u32) {
        self.engine.lock().open_account(space, frames);
    }

    /// The process has been forked from another one, whose frames count together with its own.
    pub fn join_account(&self, space: SpaceId, parent: SpaceId) {
        self.engine.lock().join_account(space, parent);
    }

    /// How many frames a process has, if they are counted.
    pub fn account(&self, space: SpaceId) -> Option<Account> {
        self.engine.lock().account(space)
    }

    /// The process is gone, and everything has been hidden from it.
    pub fn remove_space(&self, space: SpaceId) {
        self.engine.lock().remove_space(space);
    }

    /// Shows an object from page `first` on at `range`, where nothing is.
    pub fn show(
        &self,
        space: SpaceId,
        range: VirtRange,
        (object, first): (ObjectId, PageIndex),
        prot: Prot,
    ) -> Result<(), Error> {
        let request = MapRequest {
            place: Place::FixedNoReplace(range.start),
            len: range.len(),
            prot,
            sharing: Sharing::Shared,
            backing: Backing::Object { object, first },
            flags: VmaFlags::empty(),
            merge: Merge::Like(object.0),
        };
        let mapped = self.engine.lock().map(space, request);
        mapped.map_err(|why| no_addresses(range.len(), why))?;
        self.wait_until_quiet(space, range);
        Ok(())
    }

    /// Memory of the process's own is at `range`, where nothing is: zeros, or copies of an
    /// object's pages from one on.
    pub fn show_own(
        &self,
        space: SpaceId,
        range: VirtRange,
        first: Option<(ObjectId, PageIndex)>,
    ) -> Result<(), Error> {
        let place = Place::FixedNoReplace(range.start);
        let backing =
            first.map_or(Backing::Anonymous, |(object, first)| Backing::Object { object, first });
        let request = MapRequest { merge: Merge::Yes, ..request(place, backing, range.len()) };
        let mapped = self.engine.lock().map(space, request);
        mapped.map_err(|why| no_addresses(range.len(), why))?;
        self.wait_until_quiet(space, range);
        Ok(())
    }

    /// What the process has of its own at `from` it has at `to` from now on, in place of the
    /// zeros that may be there.
    pub fn carry(&self, space: SpaceId, from: VirtRange, to: VirtAddr) -> Result<(), Error> {
        let moved = RemapRequest {
            old: from.start,
            old_len: from.len(),
            new_len: from.len(),
            flags: RemapFlags::MAY_MOVE | RemapFlags::FIXED,
            new: to,
        };
        let carried = self.take_away(space, from, |engine, plan| engine.remap(space, moved, plan));
        carried.map_err(|why| Error::refused("carry", from, why.errno(), why))?;
        Ok(())
    }

    /// What a process has of its own in a range is its child's, too, which has the same memory
    /// there and has never touched it. When this returns no store of either is the other's.
    ///
    /// Part by part: others go on meanwhile.
    pub fn fork_range(&self, parent: SpaceId, child: SpaceId, range: VirtRange) {
        let mut worker = self.worker();
        let mut rest = range;
        while !rest.is_empty() {
            let end = rest.end.min(rest.start.plus_pages(FORKED_AT_ONCE));
            let part = VirtRange { start: rest.start, end };
            self.engine.lock().fork_range(parent, child, part);
            let step =
                |engine: &mut Engine, plan: &mut Plan| engine.fork_range_step(parent, part, plan);
            self.finish_steps(&mut worker, step);
            rest.start = end;
        }
        self.rest(worker);
    }

    /// No object's page is shown in `range`, nor anywhere else where it was shown there: what
    /// others store to it has been stopped, and comes again.
    pub fn vacate(&self, space: SpaceId, range: VirtRange) {
        let mut worker = self.worker();
        let step = |engine: &mut Engine, plan: &mut Plan| engine.vacate_step(space, range, plan);
        self.finish_steps(&mut worker, step);
        self.rest(worker);
    }

    /// Nothing is shown at `range` any more.
    pub fn hide(&self, space: SpaceId, range: VirtRange) {
        self.take_away(space, range, |engine, plan| {
            // What isn't an area needs no unmapping.
            let _ = engine.unmap(space, range, plan);
        });
    }

    /// The bytes of some pages have been changed past the object, which forgets its own.
    pub fn forget_pages(&self, object: ObjectId, pages: PageRange) {
        self.change(|engine, plan| engine.discard(object, pages, plan));
    }

    /// Waits until no page of an object from the one on that holds byte `size` is in memory;
    /// they are beyond its end, and leave.
    pub fn clear_beyond(&self, handle: ObjectHandle, size: u64) {
        let first = PageIndex(size.div_ceil(faultless_addr::PAGE_BYTES));
        let beyond = PageRange::new(first, PageRange::all().end);
        let mut worker = self.worker();
        let step =
            |engine: &mut Engine, plan: &mut Plan| engine.discard_step(handle.object, beyond, plan);
        self.finish_steps(&mut worker, step);
        self.rest(worker);
    }
}
