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

use faultless_addr::{Prot, VirtAddr, VirtRange};

use super::AddressSpace;

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
}

impl AddressSpace {
    /// Gives every area in `range` the rights `prot`; an empty range is fine.
    ///
    /// Translations that allow more are the caller's to take away, also after an error:
    /// from the range's start to the error's `at`.
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
        let mut piece = area.part(area.range.intersect(range));
        if area.prot != prot {
            piece.prot = prot;
            self.change(area, piece).map_err(|_| ProtectError::TooManyAreas { at })?;
        }
        Ok(piece.range.end)
    }
}
