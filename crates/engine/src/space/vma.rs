//! One area: addresses that mean the same kind of thing.

use faultless_addr::{Access, ObjectId, PAGE_SHIFT, PageIndex, Prot, VirtAddr, VirtRange};

use super::anon::AnonSide;

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
    /// It may with those of the same number, because they are of one open file.
    Like(u32),
    /// It stays apart, because somebody holds it by its bounds.
    No,
}

bitflags::bitflags! {
    /// Further properties of an area. Areas that differ in one of them are two areas, but
    /// for [`HAD_GUARD`](VmaFlags::HAD_GUARD).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct VmaFlags: u32 {
        /// Its pages stay resident (`mlock`).
        const LOCKED = 1;
        /// A child doesn't have it (`MADV_DONTFORK`).
        const DONT_FORK = 1 << 1;
        /// A child has it, with zeros (`MADV_WIPEONFORK`).
        const WIPE_ON_FORK = 1 << 2;
        /// Stores may never be allowed: a shared file that is open for reading only.
        const NEVER_WRITE = 1 << 3;
        /// Instruction fetches may never be allowed: a file on a `noexec` mount.
        const NEVER_EXEC = 1 << 4;
        /// With `LOCKED`: pages stay once they are there, and are not brought in for it
        /// (`MLOCK_ONFAULT`).
        const LOCK_ON_FAULT = 1 << 5;
        /// A fault below it makes it larger: a stack (`MAP_GROWSDOWN`).
        const GROWS_DOWN = 1 << 6;
        /// Nobody promises memory for its pages beforehand (`MAP_NORESERVE`).
        const NO_RESERVE = 1 << 7;
        /// It stays as it is for good (`mseal`).
        const SEALED = 1 << 8;
        /// A core dump leaves it out (`MADV_DONTDUMP`).
        const DONT_DUMP = 1 << 9;
        /// Its pages are a device's, mapped when the area was: nothing is reclaimed,
        /// locked, or grown, and it never merges (`remap_pfn_range`).
        const DEVICE = 1 << 10;
        /// It is read here and there: reading ahead is no use (`MADV_RANDOM`).
        const READ_RANDOM = 1 << 11;
        /// It is read from front to back (`MADV_SEQUENTIAL`).
        const READ_SEQUENTIAL = 1 << 12;
        /// Large pages are welcome (`MADV_HUGEPAGE`); no machine here has any yet.
        const HUGE_PAGES = 1 << 13;
        /// Large pages are not (`MADV_NOHUGEPAGE`).
        const NO_HUGE_PAGES = 1 << 14;
        /// Equal pages may become one (`MADV_MERGEABLE`); nobody looks for them yet.
        const MERGEABLE = 1 << 15;
        /// Private zeros of a device's file (`/dev/zero`): some verbs take it for a file.
        const ZERO_FILE = 1 << 16;
        /// What its pages hold may be dropped at any time (`MAP_DROPPABLE`).
        const DROPPABLE = 1 << 17;

        /// A page of it has, or has had, a guard marker. It keeps no two areas apart, and
        /// what becomes one with such an area has it, too.
        const HAD_GUARD = 1 << 18;

        /// Both flags of a lock.
        const LOCKS = Self::LOCKED.bits() | Self::LOCK_ON_FAULT.bits();
        /// What `MADV_NORMAL` takes away.
        const READ_PATTERN = Self::READ_RANDOM.bits() | Self::READ_SEQUENTIAL.bits();
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
    /// The pages of its own that it may have.
    pub anon: AnonSide,
}

impl Vma {
    /// Is it private memory that begins as zeros? (Shared anonymous memory is an object,
    /// and counts as a file here, as on Linux.)
    pub fn is_anonymous(&self) -> bool {
        self.backing == Backing::Anonymous && self.sharing == Sharing::Private
    }

    /// Is it one of those that `RLIMIT_DATA` counts: private, writable, and no stack?
    pub fn is_data(&self) -> bool {
        self.sharing == Sharing::Private
            && self.prot.contains(Prot::WRITE)
            && !self.flags.contains(VmaFlags::GROWS_DOWN)
    }

    /// Is it locked, fully or on fault?
    pub fn is_locked(&self) -> bool {
        self.flags.contains(VmaFlags::LOCKED)
    }

    /// Is it sealed?
    pub fn is_sealed(&self) -> bool {
        self.flags.contains(VmaFlags::SEALED)
    }

    /// The access that brings its pages in before anybody touches them: a store where
    /// that makes a private copy at once, else a load; `None` if neither is allowed.
    /// What may only be executed can't be loaded where there are protection keys, and
    /// Linux then brings nothing in.
    pub fn populate_access(&self) -> Option<Access> {
        match (self.sharing, self.prot) {
            (Sharing::Private, prot) if prot.contains(Prot::WRITE) => Some(Access::Write),
            (_, prot) if prot.is_empty() || prot == Prot::EXEC => None,
            _ => Some(Access::Read),
        }
    }

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

    /// The number of the own page at `addr`, an address of the area, within the set of
    /// [`anon`](Vma::anon).
    pub fn anon_page_at(&self, addr: VirtAddr) -> PageIndex {
        self.page_at(addr).unwrap_or_else(|| self.anon.first.plus(self.pages_before(addr)))
    }

    /// The same area, cut down to `range`, which lies in it.
    #[must_use]
    pub fn part(&self, range: VirtRange) -> Vma {
        assert!(self.range.encloses(range) && range.is_page_aligned(), "{range:?} of {self:?}");
        let pages = self.pages_before(range.start);
        Vma { range, backing: self.backing.plus(pages), anon: self.anon.plus(pages), ..*self }
    }

    /// The area in two, below and above `addr`, which is inside it and between pages.
    pub fn split(&self, addr: VirtAddr) -> (Vma, Vma) {
        assert!(self.range.start < addr && addr < self.range.end, "{addr:?} is not inside");
        let low = VirtRange::new(self.range.start, addr);
        let high = VirtRange::new(addr, self.range.end);
        (self.part(low), self.part(high))
    }

    /// The same area elsewhere. Own pages keep their numbers; if there were none yet,
    /// they are numbered as if the area had begun there.
    #[must_use]
    pub fn at(&self, range: VirtRange) -> Vma {
        Vma { range, anon: self.anon.moved_to(range.start), ..*self }
    }

    /// This area and `high` as one, if they could be. They can if `high` begins where
    /// this one ends, continues its backing and its own pages, and is like it in
    /// everything else.
    pub fn merged(&self, high: &Vma) -> Option<Vma> {
        let alone = self.merge == Merge::No || self.flags.contains(VmaFlags::DEVICE);
        if alone || self.range.end != high.range.start {
            return None;
        }
        let pages = self.range.pages();
        let set = self.anon.plus(pages).merged(high.anon, self.backing)?;
        let backing = self.backing.plus(pages);
        let [own, mark] = [self.flags - VmaFlags::HAD_GUARD, high.flags & VmaFlags::HAD_GUARD];
        let continued =
            Vma { range: high.range, backing, anon: high.anon, flags: own | mark, ..*self };
        let range = VirtRange::new(self.range.start, high.range.end);
        let anon = AnonSide { set, ..self.anon };
        let flags = self.flags | mark;
        (continued == *high).then_some(Vma { range, anon, flags, ..*self })
    }

    /// Could this area and `high` be one?
    pub fn can_merge(&self, high: &Vma) -> bool {
        self.merged(high).is_some()
    }

    fn pages_before(&self, addr: VirtAddr) -> u64 {
        (addr.0 - self.range.start.0) >> PAGE_SHIFT
    }
}
