//! `map`: a new area.
//!
//! ```text
//!   areas       ┌─── A ───┐  ┌─ B ─┐
//!   Fixed            ╞═══ new ═══╡
//!   after       ┌ A ─┐╞═══ new ═══╡┌ B ┐
//!   replaced         └─ A ┘  └ B ┘
//! ```
//!
//! Where it goes is in `place`. What it needs of files (rights of a descriptor, seals of
//! a memfd) is checked before, by whoever knows files.
//!
//! Source: mmap(2); the order of the checks is that of Linux 6.18.

use alloc::vec::Vec;

use faultless_addr::{PAGE_BYTES, PAGE_SHIFT, Prot, VirtAddr, VirtRange};

use super::edit::merged;
use super::{AddressSpace, AnonSide, Backing, Merge, Place, Sharing, Vma, VmaFlags, errno};

/// The page after the last one that an object can have: its size is a signed number, so
/// there is no page whose end would be 2^63.
const OBJECT_END: u64 = (1 << (63 - PAGE_SHIFT)) - 1;

/// A new area, before it has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRequest {
    /// Where it shall be.
    pub place: Place,
    /// How many bytes it has at least: whole pages are mapped.
    pub len: u64,
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

impl MapRequest {
    /// The bytes of its pages, where that is a number.
    fn len_aligned(&self) -> Option<u64> {
        self.len.checked_next_multiple_of(PAGE_BYTES)
    }

    /// The area, at `range`.
    fn at(&self, range: VirtRange) -> Vma {
        Vma {
            range,
            prot: self.prot,
            sharing: self.sharing,
            backing: self.backing,
            flags: self.flags,
            merge: self.merge,
            anon: AnonSide::untouched(range.start),
        }
    }

    /// Is it something that can be?
    fn check(&self) -> Result<(), MapError> {
        let pages = self.len.div_ceil(PAGE_BYTES);
        let grows = self.flags.contains(VmaFlags::GROWS_DOWN);
        match self.backing {
            Backing::Object { first, .. }
                if first.0.checked_add(pages).is_none_or(|end| end > OBJECT_END) =>
            {
                Err(MapError::OffsetTooLarge)
            }
            Backing::Object { .. } if grows => Err(MapError::CannotGrow),
            Backing::Anonymous if grows && self.sharing == Sharing::Shared => {
                Err(MapError::CannotGrow)
            }
            _ => Ok(()),
        }
    }
}

/// Why there is no new area. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// It would have no page: ask for one at least.
    #[error("an area has at least one page")]
    Empty,
    /// The fixed address is not the first of a page: round it.
    #[error("a fixed address lies between pages")]
    Unaligned,
    /// The fixed range leaves the space: choose another.
    #[error("the range is outside of the address space")]
    OutOfBounds,
    /// Something is at the fixed range: choose another, or replace it.
    #[error("there is something at this address already")]
    Occupied,
    /// No gap has room: unmap something.
    #[error("no gap in the address space is large enough")]
    NoRoom,
    /// The limit of areas would be passed: unmap some, or raise it.
    #[error("there are as many areas as there may be")]
    TooManyAreas,
    /// The fixed address is below the lowest one there is: choose another.
    #[error("the address is below those that may be mapped")]
    BelowBounds,
    /// There would be more pages, or more private ones, than there may be: unmap some,
    /// or raise the limit.
    #[error("there are as many pages as there may be")]
    TooManyPages,
    /// There would be more locked pages than there may be: unlock some, or raise the
    /// limit.
    #[error("there are as many locked pages as there may be")]
    TooManyLocked,
    /// It shall be locked, and nothing may be locked at all.
    #[error("locking memory is not allowed")]
    LockForbidden,
    /// The object has no pages so far up: begin lower.
    #[error("the offset is larger than any file")]
    OffsetTooLarge,
    /// Only private memory without an object grows down.
    #[error("only private anonymous memory grows down")]
    CannotGrow,
    /// A sealed area is in the way: it stays.
    #[error("a sealed area would be replaced")]
    Sealed,
}

impl MapError {
    /// What Linux calls it.
    pub fn errno(self) -> i32 {
        match self {
            MapError::Empty | MapError::Unaligned | MapError::CannotGrow => errno::EINVAL,
            MapError::Occupied => errno::EEXIST,
            MapError::OutOfBounds
            | MapError::NoRoom
            | MapError::TooManyAreas
            | MapError::TooManyPages => errno::ENOMEM,
            MapError::TooManyLocked => errno::EAGAIN,
            MapError::BelowBounds | MapError::LockForbidden | MapError::Sealed => errno::EPERM,
            MapError::OffsetTooLarge => errno::EOVERFLOW,
        }
    }
}

impl AddressSpace {
    /// Adds an area and says where it is. What was there before (`Place::Fixed`) is put
    /// into `replaced`, in pieces, by address.
    ///
    /// The answer is the range of what was asked for; [`find`](AddressSpace::find) may
    /// show a larger area, if it merged, and it may be locked without having asked
    /// ([`lock_all`](AddressSpace::lock_all)).
    pub fn map(
        &mut self,
        request: MapRequest,
        replaced: &mut Vec<Vma>,
    ) -> Result<VirtRange, MapError> {
        let range = self.find_place(&request)?;
        let flags = self.locks_of(request.flags, range.pages())?;
        request.check()?;
        let area = Vma { flags, ..request.at(range) };
        if self.len_with(&area) > self.config.areas_max {
            return Err(MapError::TooManyAreas);
        }
        self.replace(area, replaced)?;
        Ok(range)
    }

    /// Puts an area that nobody may touch in place of `range`, which no sealed area is in,
    /// so that its addresses are nobody else's until it is unmapped. The limits don't
    /// mind: it is on its way out.
    pub fn retire(&mut self, range: VirtRange, replaced: &mut Vec<Vma>) -> Result<(), MapError> {
        let request = MapRequest {
            place: Place::Fixed(range.start),
            len: range.len(),
            prot: Prot::empty(),
            sharing: Sharing::Private,
            backing: Backing::Anonymous,
            flags: VmaFlags::empty(),
            merge: Merge::No,
        };
        self.replace(request.at(range), replaced)
    }

    /// Where [`map`](AddressSpace::map) would put it, if nothing that comes later (its
    /// object, what is in the way) stops it: whoever knows files asks them in between.
    pub fn find_place(&self, request: &MapRequest) -> Result<VirtRange, MapError> {
        if request.len == 0 {
            return Err(MapError::Empty);
        }
        let area = request.at(self.config.bounds);
        let range = self.place(request.place, &area, request.len_aligned())?;
        self.locks_of(request.flags, range.pages())?;
        Ok(range)
    }

    /// Puts an area in place of everything that is there, if seals and limits allow it.
    /// What goes is taken off what comes, whatever kind it is.
    fn replace(&mut self, area: Vma, replaced: &mut Vec<Vma>) -> Result<(), MapError> {
        let range = area.range;
        if self.sealed_in(range).is_some() {
            return Err(MapError::Sealed);
        }
        let parts = self.overlapping(range).map(|old| old.range.intersect(range).pages());
        let added = range.pages() - parts.sum::<u64>();
        if !self.may_add(&area, added) {
            return Err(MapError::TooManyPages);
        }
        self.remove_all(range, replaced);
        self.add(area);
        Ok(())
    }

    /// The flags of a new area, with the locks that new areas have; those win over the
    /// ones it asks for.
    fn locks_of(&self, flags: VmaFlags, pages: u64) -> Result<VmaFlags, MapError> {
        if flags.contains(VmaFlags::LOCKED) && !self.limits.allow_locks() {
            return Err(MapError::LockForbidden);
        }
        let flags = flags | self.future_locks;
        match self.may_lock(flags, pages) {
            // What a device has mapped stays anyway, and what may be dropped never does.
            true if flags.intersects(VmaFlags::DEVICE | VmaFlags::DROPPABLE) => {
                Ok(flags - VmaFlags::LOCKS)
            }
            true => Ok(flags),
            false => Err(MapError::TooManyLocked),
        }
    }

    /// The number of areas that there will be when `area` is in its place.
    fn len_with(&self, area: &Vma) -> usize {
        let range = area.range;
        let whole = |old: &&Vma| range.encloses(old.range);
        let removed = self.overlapping(range).filter(whole).count();
        let split = usize::from(self.covering(range).is_some());
        // What is cut off at an end is a neighbour then, and may merge like one.
        let (low, high) = (self.find_before(range.start), self.find_part_from(range.end));
        let (_, neighbours) = merged(*area, low, high);
        self.len() - removed + split + 1 - neighbours
    }

    /// The part below `addr` of the area that reaches it from below.
    fn find_before(&self, addr: VirtAddr) -> Option<Vma> {
        let (_, area) = self.areas.range(..addr).next_back()?;
        let range = VirtRange::new(area.range.start, area.range.end.min(addr));
        Some(area.part(range))
    }

    /// The part from `addr` on of the area that holds it.
    fn find_part_from(&self, addr: VirtAddr) -> Option<Vma> {
        let area = self.find(addr)?;
        Some(area.part(VirtRange::new(addr, area.range.end)))
    }
}
