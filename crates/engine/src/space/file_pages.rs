//! `remap_file_pages`: other pages of the same object, where it is mapped.
//!
//! ```text
//!   before    ┌ A: pages 0 1 2 3 ┐
//!   pages 1 2 of the area show page 7 and on:
//!   after     ┌ 0 ┐┌ 7 8 ┐┌ 3 ┐
//! ```
//!
//! Linux has made it a map over a map in 2014; before, one area could show its pages in
//! any order. What `madvise` has left on the areas is gone then.
//!
//! Source: remap_file_pages(2), and Linux 6.18.

use alloc::vec::Vec;

use faultless_addr::{PAGE_BYTES, PageIndex, VirtAddr, VirtRange};

use super::{AddressSpace, Backing, MapError, MapRequest, Place, Sharing, Vma, VmaFlags, errno};

/// Why the areas show what they did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilePagesError {
    /// The range has no page, or passes the last address there is; or rights are given,
    /// which stay as they are.
    #[error("the arguments make no sense")]
    Invalid,
    /// The range is not all of one object, shared and writable, with one set of flags.
    #[error("the range does not show one shared object")]
    Unfit,
    /// The new map can't be.
    #[error(transparent)]
    Map(MapError),
}

impl FilePagesError {
    /// What Linux calls it.
    pub fn errno(self) -> i32 {
        match self {
            FilePagesError::Invalid | FilePagesError::Unfit => errno::EINVAL,
            FilePagesError::Map(error) => error.errno(),
        }
    }
}

impl AddressSpace {
    /// Shows the object's pages from `first` on in the whole pages of a range. `prot` is
    /// 0 and means that rights stay. The pages are to be brought in, unless the caller's
    /// flags say no.
    pub fn remap_file_pages(
        &mut self,
        start: VirtAddr,
        len: u64,
        prot: u32,
        first: PageIndex,
        replaced: &mut Vec<Vma>,
    ) -> Result<VirtRange, FilePagesError> {
        let len = len / PAGE_BYTES * PAGE_BYTES;
        let range = VirtRange::from_len(start.page_start(), len);
        let range = range.filter(|range| prot == 0 && !range.is_empty());
        let range = range.ok_or(FilePagesError::Invalid)?;
        let area = *self.find(range.start).ok_or(FilePagesError::Unfit)?;
        let object = area.object().ok_or(FilePagesError::Unfit)?;
        let is_same = |other: &Vma| {
            let kind = |area: &Vma| (area.flags, area.prot, area.sharing, area.merge);
            other.object() == Some(object) && kind(other) == kind(&area)
        };
        let writable = !area.flags.contains(VmaFlags::NEVER_WRITE);
        let fits = area.sharing == Sharing::Shared
            && writable
            && self.first_hole(range).is_none()
            && self.overlapping(range).all(is_same);
        if !fits {
            return Err(FilePagesError::Unfit);
        }
        let request = MapRequest {
            place: Place::Fixed(range.start),
            len,
            prot: area.prot,
            sharing: Sharing::Shared,
            backing: Backing::Object { object, first },
            flags: area.flags & (VmaFlags::LOCKED | VmaFlags::NEVER_EXEC),
            merge: area.merge,
        };
        self.map(request, replaced).map_err(FilePagesError::Map)
    }
}
