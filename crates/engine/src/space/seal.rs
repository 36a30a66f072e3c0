//! `seal`: areas that stay what they are, for good.
//!
//! ```text
//!   verb        on a sealed area
//!   unmap       EPERM, and nothing at all is removed
//!   map Fixed   EPERM, likewise
//!   protect     EPERM, also for the rights it has
//!   remap       EPERM for the old range and for the target
//!   advise      EPERM if it discards anonymous pages that the program can't write
//!   brk         the break stays
//!   lock, grow  nothing is different
//! ```
//!
//! A child's areas are sealed if the parent's are.
//!
//! Source: mseal(2), Linux 6.18.

use faultless_addr::{VirtAddr, VirtRange};

use super::edit::page_align;
use super::{AddressSpace, Vma, VmaFlags, errno};

/// Why a range is not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There are no flags.
    #[error("there are no such flags")]
    BadFlags,
    /// The range begins inside a page: round it.
    #[error("the range does not lie between pages")]
    Unaligned,
    /// The range passes the last address there is.
    #[error("the range is outside of the address space")]
    OutOfBounds,
    /// There is no area at this address. Nothing is sealed.
    #[error("there is no area at {at:?}")]
    Hole {
        /// The first address without an area.
        at: VirtAddr,
    },
    /// The area at this address would have to be split, and there may be no more areas.
    /// What is before it is sealed.
    #[error("there are as many areas as there may be, and the one at {at:?} would be split")]
    TooManyAreas {
        /// The first address that stays as it was.
        at: VirtAddr,
    },
}

impl SealError {
    /// What Linux calls it.
    pub fn errno(self) -> i32 {
        match self {
            SealError::BadFlags | SealError::Unaligned | SealError::OutOfBounds => errno::EINVAL,
            SealError::Hole { .. } | SealError::TooManyAreas { .. } => errno::ENOMEM,
        }
    }
}

impl AddressSpace {
    /// Seals every area in a range without holes; no bytes at all are fine.
    pub fn seal(&mut self, start: VirtAddr, len: u64, flags: u64) -> Result<(), SealError> {
        if flags != 0 {
            return Err(SealError::BadFlags);
        }
        if !start.is_page_aligned() {
            return Err(SealError::Unaligned);
        }
        let rounded = page_align(len);
        let range = VirtRange::from_len(start, rounded).filter(|_| len == 0 || rounded > 0);
        let range = range.ok_or(SealError::OutOfBounds)?;
        if let Some(at) = self.first_hole(range) {
            return Err(SealError::Hole { at });
        }
        let mut at = range.start;
        while let Some(area) = self.find(at).filter(|_| at < range.end) {
            let piece = area.part(area.range.intersect(VirtRange::new(at, range.end)));
            let flags = piece.flags | VmaFlags::SEALED;
            self.change_flags(piece, flags).map_err(|_| SealError::TooManyAreas { at })?;
            at = piece.range.end;
        }
        Ok(())
    }

    /// The first address in `range` without an area.
    pub(super) fn first_hole(&self, range: VirtRange) -> Option<VirtAddr> {
        let mut at = range.start;
        for area in self.overlapping(range) {
            if at < area.range.start {
                return Some(at);
            }
            at = area.range.end;
        }
        (at < range.end).then_some(at)
    }
}

/// What is a discard to a sealed area: it may be done to files, which have it all still,
/// and where the program could store zeros as well.
pub fn may_discard(area: &Vma) -> bool {
    let writable = area.prot.contains(faultless_addr::Prot::WRITE);
    !area.is_sealed() || !area.is_anonymous() || writable
}
