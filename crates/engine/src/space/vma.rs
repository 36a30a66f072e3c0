//! One area: addresses that mean the same kind of thing.

use faultless_addr::{ObjectId, PAGE_SHIFT, PageIndex, Prot, VirtAddr, VirtRange};

/// Who sees what is stored in an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// Everybody who has the object: stores go to it.
    Shared,
    /// This address space: a store promotes the page to a copy.
    Private,
}

/// Where an area's pages come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backing {
    /// An object, from one of its pages on.
    Object {
        /// The object.
        object: ObjectId,
        /// Its page at the area's start.
        first: PageIndex,
    },
    /// Nothing: pages begin as zeros. (Shared anonymous memory is an object.)
    Anonymous,
}

impl Backing {
    /// The backing `pages` further on.
    fn plus(self, pages: u64) -> Backing {
        match self {
            Backing::Object { object, first } => {
                Backing::Object { object, first: first.plus(pages) }
            }
            Backing::Anonymous => Backing::Anonymous,
        }
    }
}

/// May an area become one with a neighbour that continues it?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Merge {
    /// It may, as on Linux.
    Yes,
    /// It stays apart, because somebody holds it by its bounds.
    No,
}

bitflags::bitflags! {
    /// Further properties of an area.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct VmaFlags: u32 {
        /// Its pages stay resident (`mlock`).
        const LOCKED = 1;
        /// A child doesn't have it (`MADV_DONTFORK`).
        const DONT_FORK = 2;
        /// A child has it, with zeros (`MADV_WIPEONFORK`).
        const WIPE_ON_FORK = 4;
        /// Stores may never be allowed: a shared file that is open for reading only.
        const NEVER_WRITE = 8;
        /// Instruction fetches may never be allowed: a file on a `noexec` mount.
        const NEVER_EXEC = 16;
    }
}

impl VmaFlags {
    /// May an area with these flags have the rights `prot`?
    pub fn permits(self, prot: Prot) -> bool {
        let write = prot.contains(Prot::WRITE) && self.contains(VmaFlags::NEVER_WRITE);
        let exec = prot.contains(Prot::EXEC) && self.contains(VmaFlags::NEVER_EXEC);
        !write && !exec
    }
}

/// An area of an address space, with the same properties from end to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vma {
    /// Its addresses; both ends lie between pages.
    pub range: VirtRange,
    /// What the program may do.
    pub prot: Prot,
    /// Who sees what is stored.
    pub sharing: Sharing,
    /// Where its pages come from.
    pub backing: Backing,
    /// Further properties.
    pub flags: VmaFlags,
    /// May it merge with a neighbour?
    pub merge: Merge,
}

impl Vma {
    /// The object that it maps.
    pub fn object(&self) -> Option<ObjectId> {
        match self.backing {
            Backing::Object { object, .. } => Some(object),
            Backing::Anonymous => None,
        }
    }

    /// The page of the object that is seen at `addr`, an address of the area; `None` in
    /// an area without an object.
    pub fn page_at(&self, addr: VirtAddr) -> Option<PageIndex> {
        assert!(self.range.contains(addr), "{addr:?} is not in {:?}", self.range);
        match self.backing {
            Backing::Object { first, .. } => Some(first.plus(self.pages_before(addr))),
            Backing::Anonymous => None,
        }
    }

    /// The address at which `page` of the object is seen, if it is.
    pub fn addr_of(&self, page: PageIndex) -> Option<VirtAddr> {
        let Backing::Object { first, .. } = self.backing else { return None };
        let distance = page.0.checked_sub(first.0)?;
        (distance < self.range.pages()).then(|| self.range.start.plus_pages(distance))
    }

    /// The same area, cut down to `range`, which lies in it.
    #[must_use]
    pub fn part(&self, range: VirtRange) -> Vma {
        assert!(self.range.encloses(range) && range.is_page_aligned(), "{range:?} of {self:?}");
        Vma { range, backing: self.backing.plus(self.pages_before(range.start)), ..*self }
    }

    /// The area in two, below and above `addr`, which is inside it and between pages.
    pub fn split(&self, addr: VirtAddr) -> (Vma, Vma) {
        assert!(self.range.start < addr && addr < self.range.end, "{addr:?} is not inside");
        let low = VirtRange::new(self.range.start, addr);
        let high = VirtRange::new(addr, self.range.end);
        (self.part(low), self.part(high))
    }

    /// Could this area and `high` be one? They can if `high` begins where this one
    /// ends, continues its backing, and is like it in everything else.
    pub fn can_merge(&self, high: &Vma) -> bool {
        let continued =
            Vma { range: high.range, backing: self.backing.plus(self.range.pages()), ..*self };
        self.range.end == high.range.start && self.merge == Merge::Yes && continued == *high
    }

    fn pages_before(&self, addr: VirtAddr) -> u64 {
        (addr.0 - self.range.start.0) >> PAGE_SHIFT
    }
}
