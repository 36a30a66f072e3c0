//! `place`: addresses that are set aside, and what is put there (mmap(2) with `MAP_FIXED`).

use faultless_addr::{ObjectId, PageIndex, Prot, SpaceId, VirtRange};
use faultless_engine::space::{Backing, MapRequest, Merge, Place};
use faultless_machine::Machine;

use crate::core::Core;
use crate::error::Error;
use crate::private::{no_addresses, request, somewhere};

/// Addresses that are set aside.
#[derive(Clone, Copy, Debug)]
pub struct Reserved {
    /// The space.
    pub space: SpaceId,
    /// All of them.
    pub range: VirtRange,
    /// Areas in it may become one.
    merge: Merge,
}

/// What is put at addresses; all of it is private.
#[derive(Clone, Copy, Debug)]
pub enum Placed {
    /// Nothing: every access is an error.
    Nothing,
    /// Zeros.
    Anonymous,
    /// Copies of an object's pages, from this one on, as they are stored to.
    Copy(ObjectId, PageIndex),
}

impl<M: Machine> Core<M> {
    /// Sets `len` bytes of addresses aside, whole pages.
    pub fn reserve(&self, space: SpaceId, len: u64) -> Result<Reserved, Error> {
        self.check_birthplace()?;
        let wanted = MapRequest { prot: Prot::empty(), ..somewhere(len) };
        let range = self.engine.lock().map(space, wanted).map_err(|why| no_addresses(len, why))?;
        self.wait_until_quiet(space, range);
        Ok(Reserved { space, range, merge: wanted.merge })
    }

    /// Puts something at a range of them, in place of what is there.
    pub fn place(
        &self,
        reserved: &Reserved,
        range: VirtRange,
        placed: Placed,
    ) -> Result<(), Error> {
        self.check_birthplace()?;
        assert!(reserved.range.encloses(range), "{range:?} is not of {reserved:?}");
        let backing = match placed {
            Placed::Nothing | Placed::Anonymous => Backing::Anonymous,
            Placed::Copy(object, first) => Backing::Object { object, first },
        };
        let both = request(Place::Fixed(range.start), backing, range.len());
        let prot = match placed {
            Placed::Nothing => Prot::empty(),
            Placed::Anonymous | Placed::Copy(..) => both.prot,
        };
        let wanted = MapRequest { prot, merge: reserved.merge, ..both };
        let result = self.take_away(reserved.space, range, |engine, plan| {
            engine.map_over(reserved.space, wanted, plan)
        });
        self.wait_until_quiet(reserved.space, range);
        result.map(drop).map_err(|why| Error::refused("map over", range, why.errno(), why))
    }
}
