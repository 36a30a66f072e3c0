//! A page of a process: what area it is of, and what it holds.

use crate::area::{self, Area, AreaFlags, Sharing};
use crate::call::PAGE;
use crate::flags::Prot;

use super::allowed::Residency;
use super::bytes::Loose;
use super::object::{Object, ObjectId};

/// What a page shows until it is written by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Zeros.
    Anonymous,
    /// Zeros, by a private map of `/dev/zero`: a file to those who ask for one.
    ZeroDevice,
    /// This page of this object.
    Object {
        /// A file, a memfd or shared anonymous memory.
        object: ObjectId,
        /// Counted in pages.
        page: u64,
    },
}

/// mlock(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Not locked.
    No,
    /// Locked, and there.
    Full,
    /// Locked as soon as it is there.
    OnFault,
}

/// What the pages of one area have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// READ, WRITE, EXEC.
    pub prot: Prot,
    /// What mprotect(2) may give.
    pub may: Prot,
    pub sharing: Sharing,
    pub backing: Backing,
    pub lock: Lock,
    /// Which open(2) the descriptor is from; 0 without one.
    pub opened: u64,
    /// All but LOCKED, which `lock` says.
    pub flags: AreaFlags,
    /// Equal within an area. Neighbours that differ in nothing else may be one area: that
    /// depends on which of their pages were written when. A limit or mremap(2) shows it,
    /// and the model follows what is seen.
    pub birth: u64,
}

impl Traits {
    /// The traits that a page `pages` further on has, if the area goes on so far.
    pub fn after(self, pages: u64) -> Traits {
        let backing = match self.backing {
            Backing::Object { object, page } => {
                Backing::Object { object, page: page.wrapping_add(pages) }
            }
            other => other,
        };
        Traits { backing, ..self }
    }

    /// Is a page with traits `next`, right behind one with these, surely of another area?
    pub fn ends_before(self, next: Traits) -> bool {
        Traits { birth: 0, ..self.after(1) } != Traits { birth: 0, ..next }
    }

    /// What may be dropped is never locked, and nobody is told.
    pub fn set_lock(&mut self, lock: Lock) {
        if !self.flags.contains(AreaFlags::DROPPABLE) {
            self.lock = lock;
        }
    }

    pub fn is_anonymous(self) -> bool {
        matches!(self.backing, Backing::Anonymous | Backing::ZeroDevice)
    }

    /// Do stores go to an object that others see?
    pub fn is_shared(self) -> bool {
        self.sharing == Sharing::Shared
    }

    pub fn is_sealed(self) -> bool {
        self.flags.contains(AreaFlags::SEALED)
    }

    pub fn grows_down(self) -> bool {
        self.flags.contains(AreaFlags::GROWSDOWN)
    }

    /// Does RLIMIT_DATA count it?
    pub fn is_data(self) -> bool {
        self.prot.contains(Prot::WRITE) && !self.is_shared() && !self.grows_down()
    }
}

/// A page of a process.
#[derive(Clone, Debug)]
pub struct Page {
    pub traits: Traits,
    /// Its own bytes, if it has been written (or locked, or populated) as a private page.
    pub own: Option<Loose>,
    /// MADV_GUARD_INSTALL.
    pub guard: bool,
    /// Has a guard ever been in its area? It stays so, and only remap_file_pages(2) asks.
    pub had_guard: bool,
    /// An anonymous page that has no bytes of its own: has it been read?
    pub touched: Residency,
}

impl Page {
    /// A page that nobody has touched.
    pub fn new(traits: Traits) -> Page {
        Page { traits, own: None, guard: false, had_guard: false, touched: Residency::Out }
    }

    /// Without what it held.
    pub fn drop_own(&mut self) {
        self.own = None;
        self.touched = Residency::Out;
    }

    /// As an area of one page.
    pub fn area(&self, number: u64, object: impl Fn(ObjectId) -> area::Backing) -> Area {
        let traits = self.traits;
        let (backing, offset) = match traits.backing {
            Backing::Anonymous | Backing::ZeroDevice => (area::Backing::Anonymous, 0),
            Backing::Object { object: id, page } => (object(id), page * PAGE),
        };
        let locked = traits.lock != Lock::No;
        let lock = if locked { AreaFlags::LOCKED } else { AreaFlags::empty() };
        Area {
            start: number * PAGE,
            end: (number + 1) * PAGE,
            prot: traits.prot,
            sharing: traits.sharing,
            backing,
            offset,
            flags: traits.flags | lock,
        }
    }
}

/// What an object is to those who look at areas.
pub fn backing_of(object: &Object) -> area::Backing {
    use super::object::Kind;
    match object.kind {
        Kind::File(file, _) => area::Backing::File(file),
        Kind::Memory => area::Backing::Memory,
        Kind::Anonymous => area::Backing::Shared,
    }
}
