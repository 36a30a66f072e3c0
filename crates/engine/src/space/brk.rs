//! `brk`: the end of the heap moves.
//!
//! ```text
//!   start_brk      brk                 next area
//!   ├──── heap ────┊───┤                 ├───
//!   ├──── heap ────────────────┊─┤  ┄ 1 ┄├───   grown: a page at least stays free
//!   ├─ heap ─┊─┤✂                        ├───   shrunk: what is above is removed
//! ```
//!
//! The break is a byte, the heap has whole pages. The raw system call never fails: it
//! answers with the break as it is then ([`Layout::brk`](super::Layout)), and the C
//! library makes ENOMEM of a break that has not moved.
//!
//! Source: brk(2), and Linux 6.18.

use alloc::vec::Vec;

use faultless_addr::{PAGE_BYTES, Prot, VirtAddr, VirtRange};

use super::gaps::STACK_GUARD_PAGES;
use super::{
    AddressSpace, Backing, Layout, MapError, MapRequest, Merge, Place, Sharing, UnmapError, Vma,
    VmaFlags, errno,
};

/// Why the break is where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrkError {
    /// The program has not been set up: it has no heap.
    #[error("there is no heap")]
    NoHeap,
    /// The heap can't end before it begins.
    #[error("the heap begins above that")]
    BelowHeap,
    /// Heap and data would be larger than they may be (`RLIMIT_DATA`).
    #[error("heap and data would be larger than they may be")]
    TooLarge,
    /// An area is in the way, or less than a page above.
    #[error("an area is in the way")]
    Occupied,
    /// There is nothing there to be removed.
    #[error("the heap's end is not mapped")]
    Unmapped,
    /// The new pages could not be mapped.
    #[error(transparent)]
    Map(MapError),
    /// The old pages could not be removed.
    #[error(transparent)]
    Unmap(UnmapError),
}

impl BrkError {
    /// What the C library's call answers; the system call answers with the old break.
    pub fn errno(self) -> i32 {
        errno::ENOMEM
    }
}

impl AddressSpace {
    /// Moves the break, and says which pages are new; those that go are put into
    /// `removed`. New pages are to be brought in if new areas are locked.
    pub fn brk(&mut self, wanted: VirtAddr, removed: &mut Vec<Vma>) -> Result<VirtRange, BrkError> {
        let layout = self.layout.ok_or(BrkError::NoHeap)?;
        if wanted < layout.start_brk {
            return Err(BrkError::BelowHeap);
        }
        if layout.data_bytes(wanted) > self.limits.data_bytes_max {
            return Err(BrkError::TooLarge);
        }
        let page_end = |addr: VirtAddr| addr.0.checked_next_multiple_of(PAGE_BYTES).map(VirtAddr);
        let new = page_end(wanted).ok_or(BrkError::Map(MapError::OutOfBounds))?;
        let old = page_end(layout.brk).ok_or(BrkError::Map(MapError::OutOfBounds))?;
        if new < old {
            self.shrink_heap(VirtRange::new(new, old), removed)?;
        }
        if old < new {
            self.grow_heap(VirtRange::new(old, new))?;
        }
        self.layout = Some(Layout { brk: wanted, ..layout });
        Ok(VirtRange::new(old, new))
    }

    fn shrink_heap(&mut self, range: VirtRange, removed: &mut Vec<Vma>) -> Result<(), BrkError> {
        if self.overlapping(range).next().is_none() {
            return Err(BrkError::Unmapped);
        }
        self.unmap(range, removed).map_err(BrkError::Unmap)
    }

    fn grow_heap(&mut self, range: VirtRange) -> Result<(), BrkError> {
        let end = range.end.checked_add(PAGE_BYTES).unwrap_or(range.end);
        if let Some(next) = self.first_above(range.start) {
            let grows = next.flags.contains(VmaFlags::GROWS_DOWN);
            let guard = if grows { STACK_GUARD_PAGES * PAGE_BYTES } else { 0 };
            if end.0 > next.range.start.0.saturating_sub(guard) {
                return Err(BrkError::Occupied);
            }
        }
        let request = MapRequest {
            place: Place::FixedNoReplace(range.start),
            len: range.len(),
            prot: Prot::READ | Prot::WRITE,
            sharing: Sharing::Private,
            backing: Backing::Anonymous,
            flags: VmaFlags::empty(),
            merge: Merge::Yes,
        };
        self.map(request, &mut Vec::new()).map_err(BrkError::Map)?;
        Ok(())
    }
}
