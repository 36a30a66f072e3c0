//! `protect`: other rights for the areas in a range.
//!
//! ```text
//!   areas      ┌───── A rw ─────┐┌─ B rw ─┐      ┌─ C rw ─┐
//!   range             ╞═══════════════════════════════╡  read only
//!   after      ┌ A rw ┐┌─ A r- ─┐┌─ B r- ─┐      ┌─ C rw ─┐
//!                                         ▲
//!                                         └ Hole { at }: what is before has changed
//! ```
//!
//! Source: mprotect(2), and what Linux 6 does when it fails half-way: the areas before
//! the one that stopped it have their new rights.

use faultless_addr::{PAGE_BYTES, Prot, VirtAddr, VirtRange};

use super::{AddressSpace, Vma, VmaFlags, errno};

/// Why a range does not have its new rights, or not all of it: what is before `at` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtectError {
    /// An end of the range is inside a page: round it. Nothing has changed.
    #[error("the range does not lie between pages")]
    Unaligned,
    /// There is no area at this address: map something, or leave it out.
    #[error("there is no area at {at:?}")]
    Hole {
        /// The first address without an area.
        at: VirtAddr,
    },
    /// The area at this address may never have these rights: ask for less.
    #[error("the area at {at:?} may not have these rights")]
    Forbidden {
        /// The first address that stays as it was.
        at: VirtAddr,
    },
    /// The area at this address would have to be split, and there may be no more areas:
    /// unmap some, or raise the limit.
    #[error("there are as many areas as there may be, and the one at {at:?} would be split")]
    TooManyAreas {
        /// The first address that stays as it was.
        at: VirtAddr,
    },
    /// The area at this address is sealed, also if it has these rights already.
    #[error("the area at {at:?} is sealed")]
    Sealed {
        /// The first address that stays as it was.
        at: VirtAddr,
    },
    /// The area at this address would become private and writable, and there may be no
    /// more such pages: unmap some, or raise the limit.
    #[error("the area at {at:?} would be more private memory than there may be")]
    TooManyPages {
        /// The first address that stays as it was.
        at: VirtAddr,
    },
    /// The range ends past the last address there is. Nothing has changed.
    #[error("the range is outside of the address space")]
    OutOfBounds,
    /// `PROT_GROWSDOWN` is for areas that grow down. Nothing has changed.
    #[error("the area at {at:?} does not grow down")]
    NotGrowing {
        /// Where the first area of the range starts.
        at: VirtAddr,
    },
}

impl ProtectError {
    /// What Linux calls it.
    pub fn errno(self) -> i32 {
        match self {
            ProtectError::Unaligned | ProtectError::NotGrowing { .. } => errno::EINVAL,
            ProtectError::Forbidden { .. } => errno::EACCES,
            ProtectError::Sealed { .. } => errno::EPERM,
            ProtectError::Hole { .. }
            | ProtectError::TooManyAreas { .. }
            | ProtectError::TooManyPages { .. }
            | ProtectError::OutOfBounds => errno::ENOMEM,
        }
    }
}

impl AddressSpace {
    /// Gives every area in `range` the rights `prot`; an empty range is fine.
    ///
    /// Translations that allow more are the caller's to take away, also after an error:
    /// from the range's start to the error's `at`. A private area that is locked and
    /// becomes writable wants its copies now: see [`Vma::populate_access`].
    pub fn protect(&mut self, range: VirtRange, prot: Prot) -> Result<(), ProtectError> {
        if !range.is_page_aligned() {
            return Err(ProtectError::Unaligned);
        }
        let mut at = range.start;
        while at < range.end {
            at = self.protect_area(VirtRange::new(at, range.end), prot)?;
        }
        Ok(())
    }

    /// Changes the area at the start of `range`, and says where it ends.
    fn protect_area(&mut self, range: VirtRange, prot: Prot) -> Result<VirtAddr, ProtectError> {
        let at = range.start;
        let area = *self.find(at).ok_or(ProtectError::Hole { at })?;
        if !area.flags.permits(prot) {
            return Err(ProtectError::Forbidden { at });
        }
        if area.is_sealed() {
            return Err(ProtectError::Sealed { at });
        }
        let old = area.part(area.range.intersect(range));
        let piece = Vma { prot, ..old };
        if piece.prot != old.prot {
            if self.passes_data_limit(&old, &piece) {
                return Err(ProtectError::TooManyPages { at });
            }
            self.change(area, piece).map_err(|_| ProtectError::TooManyAreas { at })?;
        }
        Ok(piece.range.end)
    }

    /// Does an area that turns into data make more of it than there may be? A space that
    /// has passed another limit already is not stopped: that is no news.
    fn passes_data_limit(&self, old: &Vma, new: &Vma) -> bool {
        let pages = new.range.pages();
        new.is_data() && !old.is_data() && !self.may_add(new, pages) && self.may_add(old, pages)
    }

    /// The range of whole pages that an address and a number of bytes name.
    pub fn protect_range(start: VirtAddr, len: u64) -> Result<VirtRange, ProtectError> {
        if !start.is_page_aligned() {
            return Err(ProtectError::Unaligned);
        }
        len.checked_next_multiple_of(PAGE_BYTES)
            .and_then(|len| VirtRange::from_len(start, len))
            .ok_or(ProtectError::OutOfBounds)
    }

    /// What `PROT_GROWSDOWN` makes of a range: it begins where the first area in it does,
    /// and that area must grow down.
    pub fn protect_range_growing(&self, range: VirtRange) -> Result<VirtRange, ProtectError> {
        let area = self.overlapping(range).next();
        let area = area.ok_or(ProtectError::Hole { at: range.start })?;
        let at = area.range.start;
        match area.flags.contains(VmaFlags::GROWS_DOWN) {
            true => Ok(VirtRange::new(at, range.end)),
            false => Err(ProtectError::NotGrowing { at }),
        }
    }
}
