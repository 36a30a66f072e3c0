//! Private memory: pages that begin as zeros, or as those of an object, and of which
//! what is stored to leaves to swap.

use std::sync::atomic::{AtomicU32, Ordering};

use faultless_addr::{ObjectId, PAGE_BYTES, PageIndex, Prot, SpaceId, VirtRange};
use faultless_engine::space::{Backing, MapRequest, Merge, Place, Sharing, VmaFlags};
use faultless_machine::Machine;

use crate::core::Core;
use crate::error::Error;

impl<M: Machine> Core<M> {
    /// `len` bytes of zeros of their own.
    pub fn map_anonymous(&self, space: SpaceId, len: u64) -> Result<VirtRange, Error> {
        self.map_private(space, Backing::Anonymous, len)
    }

    /// `len` bytes that show an object from page `first` on, until they are stored to:
    /// stores go to copies. To be unmapped before the object is closed.
    pub fn map_copy(
        &self,
        space: SpaceId,
        object: ObjectId,
        first: PageIndex,
        len: u64,
    ) -> Result<VirtRange, Error> {
        self.map_private(space, Backing::Object { object, first }, len)
    }

    fn map_private(&self, space: SpaceId, backing: Backing, len: u64) -> Result<VirtRange, Error> {
        self.check_birthplace()?;
        let mapped = self.engine.lock().map(space, request(Place::Anywhere, backing, len));
        let range = mapped.map_err(|why| no_addresses(len, why))?;
        self.wait_until_quiet(space, range);
        Ok(range)
    }

    /// Gives addresses back, and the pages that are the caller's own there.
    pub fn unmap_private(&self, space: SpaceId, range: VirtRange) -> Result<(), Error> {
        self.check_birthplace()?;
        self.take_away(space, range, |engine, plan| {
            engine.retire(space, range, plan).expect("no area is sealed");
        });
        self.give_back(space, range);
        Ok(())
    }

    /// Only now may others be given retired addresses: no page is left there, and no error.
    pub(crate) fn give_back(&self, space: SpaceId, range: VirtRange) {
        self.wait_until_quiet(space, range);
        self.take_away(space, range, |engine, plan| {
            engine.unmap(space, range, plan).expect("what was retired is there");
        });
    }
}

/// Tells mappings apart: areas become one only with areas of the same.
static MAPPINGS: AtomicU32 = AtomicU32::new(0);

/// So many bytes of anonymous memory, wherever there is room.
pub(crate) fn somewhere(len: u64) -> MapRequest {
    request(Place::Anywhere, Backing::Anonymous, len)
}

/// A private area.
pub(crate) fn request(place: Place, backing: Backing, len: u64) -> MapRequest {
    MapRequest {
        place,
        len,
        prot: Prot::READ | Prot::WRITE,
        sharing: Sharing::Private,
        backing,
        flags: VmaFlags::empty(),
        merge: Merge::Like(MAPPINGS.fetch_add(1, Ordering::Relaxed)),
    }
}

pub(crate) fn no_addresses(len: u64, why: impl ToString) -> Error {
    Error::NoAddresses { pages: len.div_ceil(PAGE_BYTES), why: why.to_string() }
}
