//! What is brought in before anybody touches it: `MAP_POPULATE`, `MAP_LOCKED`, `mlock`.
//!
//! Nothing is brought into areas that are locked on fault, and none of a device's pages:
//! they are there. An area without rights is one of the pieces, and can't be brought in
//! ([`Vma::populate_access`]): mlock(2) fails there with ENOMEM, and mmap(2) goes on with
//! the next area as if nothing had been.

use faultless_addr::VirtRange;

use super::{AddressSpace, Vma, VmaFlags};

impl AddressSpace {
    /// The pieces of areas in `range` whose pages are to be brought in, by address.
    pub fn to_populate(&self, range: VirtRange) -> impl Iterator<Item = Vma> + '_ {
        let skipped = VmaFlags::LOCK_ON_FAULT | VmaFlags::DEVICE;
        self.overlapping(range)
            .filter(move |area| !area.flags.intersects(skipped))
            .map(move |area| area.part(area.range.intersect(range)))
    }
}
