//! `remap`: an area becomes longer, shorter, or is elsewhere, with what its pages hold.
//!
//! ```text
//!   shrink           ┌── A ───────┐              ┌── A ──┐  ✂ removed
//!   grow in place    ┌── A ──┐       ┌─ B ─┐     ┌── A ─────┐┌─ B ─┐
//!   grow elsewhere   ┌── A ──┐┌─ B ─┐            ┌─ B ─┐   ┌── A ──────┐  → moved
//!   FIXED            ┌─ A ─┐┌ B ┐  ┌ C ┐         ┌─ A ─┐┌ B ┐  (C is removed)
//!   DONT_UNMAP       ┌── A ──┐                   ┌ empty ┐     ┌── A ──┐
//!   old size 0       ┌── A ──┐ shared            ┌── A ──┐     ┌── A ──┐
//! ```
//!
//! Without a change of size, and with a fixed address, any number of areas moves at once,
//! with the holes between them (Linux 6.17). All else is for one area or a part of it.
//!
//! The areas are moved in `carry`.
//!
//! Source: mremap(2); the order of the checks is that of Linux 6.18.

use alloc::vec::Vec;

use faultless_addr::{VirtAddr, VirtRange};

use super::edit::page_align;
use super::{AddressSpace, MapError, Sharing, UnmapError, Vma, VmaFlags, errno};

bitflags::bitflags! {
    /// How an area may be remapped; the bits are those of mremap(2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct RemapFlags: u32 {
        /// It may go elsewhere.
        const MAY_MOVE = 1;
        /// It goes to the new address, in place of what is there.
        const FIXED = 2;
        /// Where it was there is an area like it, without pages.
        const DONT_UNMAP = 4;
    }
}

impl RemapFlags {
    /// Do the flags say that the new address means something?
    fn names_target(self) -> bool {
        self.intersects(RemapFlags::FIXED | RemapFlags::DONT_UNMAP)
    }
}

/// What shall become of an area, as mremap(2) has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemapRequest {
    /// Where it begins.
    pub old: VirtAddr,
    /// Its bytes; 0 for a second map of the same pages.
    pub old_len: u64,
    /// The bytes it shall have.
    pub new_len: u64,
    /// How.
    pub flags: RemapFlags,
    /// Where it shall be with `FIXED`, or may be with `DONT_UNMAP`.
    pub new: VirtAddr,
}

/// What there is at the old addresses after a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// An area like it, without pages.
    EmptyArea,
}

/// Pages that go elsewhere: those of `from`, the first of them to address `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The piece as it was.
    pub from: Vma,
    /// Where it begins now.
    pub to: VirtAddr,
    /// What is where it was.
    pub left: Left,
}

/// What the caller must do to pages, also after an error: first what was removed, then
/// what has moved, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemapEffects {
    /// Pieces that are gone.
    pub removed: Vec<Vma>,
    /// Pieces that are elsewhere.
    pub moved: Vec<Moved>,
    /// Addresses that are new in a locked area, to be brought in.
    pub populate: Vec<VirtRange>,
}

/// Why a range is not as it should be. What has changed until then is in the effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemapError {
    /// The flags or sizes contradict each other: `FIXED` and `DONT_UNMAP` need
    /// `MAY_MOVE`, and `DONT_UNMAP` equal sizes.
    #[error("the flags contradict each other, or the sizes")]
    BadFlags,
    /// An address is inside a page: round it.
    #[error("an address does not lie between pages")]
    Unaligned,
    /// It would have no page: unmap it instead.
    #[error("an area has at least one page")]
    Empty,
    /// The new range leaves the space.
    #[error("the new range is outside of the address space")]
    OutOfBounds,
    /// The new address is below the lowest one there is.
    #[error("the new address is below those that may be mapped")]
    BelowBounds,
    /// The old and the new range have addresses in common.
    #[error("the old and the new range overlap")]
    Overlap,
    /// Private pages can't be mapped twice.
    #[error("only shared areas can be duplicated")]
    Private,
    /// A device's area neither grows nor leaves an empty one behind.
    #[error("a device's area stays as it is")]
    Device(DeviceVerb),
    /// Nothing is mapped where the old range begins.
    #[error("nothing is mapped at the old address")]
    Hole,
    /// The old range passes the end of its area, and sizes differ: do it area by area.
    #[error("the old range is not within one area")]
    AcrossAreas,
    /// A sealed area is in one of the ranges: it stays.
    #[error("a sealed area is in the way")]
    Sealed,
    /// Something is behind it and it may not move, or no gap is large enough.
    #[error("there is no room")]
    NoRoom,
    /// There may be no more areas; a move needs a few in reserve.
    #[error("there are as many areas as there may be")]
    TooManyAreas,
    /// There would be more pages than there may be.
    #[error("there are as many pages as there may be")]
    TooManyPages,
    /// It is locked, and there would be more locked pages than there may be.
    #[error("there are as many locked pages as there may be")]
    TooManyLocked,
}

/// What a device's area can't do: Linux has another number for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceVerb {
    /// Become longer.
    Grow,
    /// Leave an empty area behind.
    LeaveEmpty,
}

impl RemapError {
    /// What Linux calls it.
    pub fn errno(self) -> i32 {
        match self {
            RemapError::BadFlags
            | RemapError::Unaligned
            | RemapError::Empty
            | RemapError::OutOfBounds
            | RemapError::Overlap
            | RemapError::Private
            | RemapError::Device(DeviceVerb::LeaveEmpty) => errno::EINVAL,
            RemapError::Hole | RemapError::AcrossAreas | RemapError::Device(DeviceVerb::Grow) => {
                errno::EFAULT
            }
            RemapError::Sealed | RemapError::BelowBounds => errno::EPERM,
            RemapError::NoRoom | RemapError::TooManyAreas | RemapError::TooManyPages => {
                errno::ENOMEM
            }
            RemapError::TooManyLocked => errno::EAGAIN,
        }
    }
}

impl From<UnmapError> for RemapError {
    fn from(error: UnmapError) -> RemapError {
        match error {
            UnmapError::Empty => RemapError::Empty,
            UnmapError::Unaligned => RemapError::Unaligned,
            UnmapError::OutOfBounds => RemapError::OutOfBounds,
            UnmapError::TooManyAreas => RemapError::TooManyAreas,
            UnmapError::Sealed { .. } => RemapError::Sealed,
        }
    }
}

impl From<MapError> for RemapError {
    /// Only a place is asked of `map`: the other errors can't be.
    fn from(error: MapError) -> RemapError {
        match error {
            MapError::BelowBounds => RemapError::BelowBounds,
            MapError::Unaligned => RemapError::Unaligned,
            MapError::OutOfBounds => RemapError::OutOfBounds,
            _ => RemapError::NoRoom,
        }
    }
}

impl AddressSpace {
    /// Makes an area longer or shorter, or moves areas; says where it begins then.
    pub fn remap(
        &mut self,
        request: RemapRequest,
        effects: &mut RemapEffects,
    ) -> Result<VirtAddr, RemapError> {
        let old_len = page_align(request.old_len);
        let new_len = page_align(request.new_len);
        let request = RemapRequest { old_len, new_len, ..request };
        self.check_remap(&request)?;
        if request.flags.contains(RemapFlags::FIXED) && old_len == new_len {
            return self.move_all(&request, effects);
        }
        let area = *self.find(request.old).ok_or(RemapError::Hole)?;
        self.check_remap_of(&area, &request)?;
        match request.flags.names_target() {
            true => self.move_to(&request, effects),
            false => self.resize(area, &request, effects),
        }
    }

    /// Does a request make sense by itself?
    fn check_remap(&self, request: &RemapRequest) -> Result<(), RemapError> {
        let RemapRequest { old, old_len, new_len, flags, new } = *request;
        if !RemapFlags::all().contains(flags) {
            return Err(RemapError::BadFlags);
        }
        if !old.is_page_aligned() {
            return Err(RemapError::Unaligned);
        }
        if new_len == 0 {
            return Err(RemapError::Empty);
        }
        let last_start = self.config.bounds.end.0.checked_sub(new_len);
        let last_start = last_start.ok_or(RemapError::OutOfBounds)?;
        if !flags.names_target() {
            return Ok(());
        }
        if new.0 > last_start {
            return Err(RemapError::OutOfBounds);
        }
        if !new.is_page_aligned() {
            return Err(RemapError::Unaligned);
        }
        let resizes = flags.contains(RemapFlags::DONT_UNMAP) && old_len != new_len;
        if !flags.contains(RemapFlags::MAY_MOVE) || resizes {
            return Err(RemapError::BadFlags);
        }
        if old.0.wrapping_add(old_len) > new.0 && new.0 + new_len > old.0 {
            return Err(RemapError::Overlap);
        }
        match self.len() + 5 >= self.config.areas_max {
            true => Err(RemapError::TooManyAreas),
            false => Ok(()),
        }
    }

    /// May this be done to `area`, which holds the request's old address?
    pub(super) fn check_remap_of(
        &self,
        area: &Vma,
        request: &RemapRequest,
    ) -> Result<(), RemapError> {
        let RemapRequest { old, old_len, new_len, flags, .. } = *request;
        if area.is_sealed() {
            return Err(RemapError::Sealed);
        }
        // What shrinks in place may pass the end of its area.
        if new_len <= old_len && !flags.names_target() {
            return Ok(());
        }
        if old_len == 0 && area.sharing == Sharing::Private {
            return Err(RemapError::Private);
        }
        let is_device = area.flags.contains(VmaFlags::DEVICE);
        if is_device && flags.contains(RemapFlags::DONT_UNMAP) {
            return Err(RemapError::Device(DeviceVerb::LeaveEmpty));
        }
        if old_len.min(new_len) > area.range.end.0 - old.0 {
            return Err(RemapError::AcrossAreas);
        }
        if new_len <= old_len {
            return Ok(());
        }
        if is_device {
            return Err(RemapError::Device(DeviceVerb::Grow));
        }
        self.check_growth(area, request)
    }

    fn check_growth(&self, area: &Vma, request: &RemapRequest) -> Result<(), RemapError> {
        let added = VirtRange::new(VirtAddr(request.old_len), VirtAddr(request.new_len)).pages();
        if !self.may_lock(area.flags, added) {
            return Err(RemapError::TooManyLocked);
        }
        match self.may_add(area, added) {
            true => Ok(()),
            false => Err(RemapError::TooManyPages),
        }
    }
}
