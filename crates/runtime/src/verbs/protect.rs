//! `protect`: other rights for a range (mprotect(2)).

use faultless_addr::{PAGE_SHIFT, PageIndex, PageRange, Prot, SpaceId, VirtRange};
use faultless_engine::Engine;
use faultless_machine::Machine;

use crate::core::Core;
use crate::error::Error;
use crate::objects::ObjectHandle;

impl<M: Machine> Core<M> {
    /// Gives private memory the rights `prot`. Pages stay in memory; those whose
    /// translations allow more leave their addresses.
    pub fn protect(&self, space: SpaceId, range: VirtRange, prot: Prot) -> Result<(), Error> {
        self.check_birthplace()?;
        let result = self
            .take_away(space, range, |engine, plan| engine.protect(space, range, prot, plan))
            .map_err(|why| Error::refused("protect", range, why.errno(), why));
        self.wait_until_quiet(space, range);
        let _ = self.bring_locked(space, range);
        result
    }

    /// As [`protect`](Self::protect), for addresses of an object. Fails where a pin holds a
    /// page of the range and rights would go.
    pub fn protect_object(
        &self,
        handle: ObjectHandle,
        range: VirtRange,
        prot: Prot,
    ) -> Result<(), Error> {
        self.check_birthplace()?;
        let (space, pages) = (handle.space, pages_of(handle, range));
        let pinned = |engine: &mut Engine| {
            let takes_away = !prot.contains(Prot::READ | Prot::WRITE);
            if takes_away { engine.first_pinned(handle.object, pages) } else { None }
        };
        let result = self.take_away(space, range, |engine, plan| match pinned(engine) {
            Some(page) => Err(page),
            None => Ok(engine.protect(space, range, prot, plan)),
        });
        self.wait_until_quiet(space, range);
        match result {
            Ok(result) => result.map_err(|why| Error::refused("protect", range, why.errno(), why)),
            Err(page) => {
                let name = self.pager(handle.object).name();
                Err(Error::Pinned { name, offset: page.offset() })
            }
        }
    }
}

/// The pages of an object at some of its addresses.
fn pages_of(handle: ObjectHandle, range: VirtRange) -> PageRange {
    let first = (range.start.0 - handle.range.start.0) >> PAGE_SHIFT;
    PageRange::from_len(PageIndex(first), range.pages())
}
