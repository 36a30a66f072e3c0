//! Where the parts of a program are: the bounds that `mm_struct` keeps beside the areas.
//!
//! ```text
//!   0                                                                      bounds.end
//!   ├──┤ code ├─┤ data │ bss ├─┤ heap → ├──────────┤ ← mappings ├──┤ ← stack │ args │ env ├─┤
//!      start_code start_data    start_brk   brk         mmap_base      start_stack
//! ```
//!
//! A layout is only numbers: no area comes or goes with it. `brk` lets the heap grow in
//! it, [`Place::Anywhere`](super::Place) begins at its base, and `/proc/PID/maps` names
//! the heap and the stack by it.
//!
//! Source: prctl(2) `PR_SET_MM_MAP`, whose checks these are.

use faultless_addr::{PAGE_BYTES, PAGE_SHIFT, VirtAddr, VirtRange};

use super::gaps::STACK_GUARD_PAGES;
use super::{AddressSpace, Vma, errno};

/// Where the parts of a program are. The lowest address of a kind is its range's start
/// (`start_code`), and the one after the highest its end (`end_code`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Instructions.
    pub code: VirtRange,
    /// Variables with a value in the file. Those without (bss) are between its end and
    /// `start_brk`.
    pub data: VirtRange,
    /// Where the heap begins; it stays for the program's life.
    pub start_brk: VirtAddr,
    /// Where the heap ends, to the byte.
    pub brk: VirtAddr,
    /// Below this, mappings find their place from the top down.
    pub mmap_base: VirtAddr,
    /// Where the stack was when the program began.
    pub start_stack: VirtAddr,
    /// The program's arguments, above the stack.
    pub args: VirtRange,
    /// Its environment.
    pub env: VirtRange,
}

/// Why a layout can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A part is outside of the address space.
    #[error("{0:?} is outside of the address space")]
    OutOfBounds(VirtAddr),
    /// A part ends before it begins, or the heap begins before the data end.
    #[error("the parts are not in order")]
    Disorder,
    /// Heap and data have more bytes than there may be (`RLIMIT_DATA`).
    #[error("heap and data are larger than they may be")]
    TooLarge,
}

impl LayoutError {
    /// What Linux calls it.
    pub fn errno(self) -> i32 {
        errno::EINVAL
    }
}

impl Layout {
    /// The base of mappings that leaves room for a stack, as Linux has it on x86-64: the
    /// stack's limit and its guard below the end, but no less than 128 MiB and no more
    /// than five sixths. Without a random part.
    pub fn mmap_base_top_down(bounds: VirtRange, stack_bytes_max: u64) -> VirtAddr {
        let gap_max = bounds.end.0 / 6 * 5;
        let gap = stack_bytes_max.saturating_add(STACK_GUARD_PAGES << PAGE_SHIFT);
        let gap = gap.clamp((128 << 20).min(gap_max), gap_max);
        VirtAddr((bounds.end.0 - gap).next_multiple_of(PAGE_BYTES))
    }

    /// The old base, from which mappings went up.
    pub fn mmap_base_bottom_up(bounds: VirtRange) -> VirtAddr {
        VirtAddr((bounds.end.0 / 3).next_multiple_of(PAGE_BYTES))
    }

    /// Variables without a value in the file.
    pub fn bss(&self) -> VirtRange {
        VirtRange::new(self.data.end, self.start_brk)
    }

    /// Is `area` the heap, or a part of it?
    pub fn is_heap(&self, area: &Vma) -> bool {
        area.range.start < self.brk && area.range.end > self.start_brk
    }

    /// Is `area` the stack that the program began with?
    pub fn is_stack(&self, area: &Vma) -> bool {
        area.range.start <= self.start_stack && area.range.end >= self.start_stack
    }

    /// The bytes of heap and data if the heap ended at `brk`.
    pub(super) fn data_bytes(&self, brk: VirtAddr) -> u64 {
        (brk.0 - self.start_brk.0) + self.data.len()
    }

    fn check(&self, bounds: VirtRange) -> Result<(), LayoutError> {
        let ranges = [self.code, self.data, self.args, self.env];
        let ends = ranges.iter().flat_map(|range| [range.start, range.end]);
        let single = [self.start_brk, self.brk, self.mmap_base, self.start_stack];
        let outside = ends.chain(single).find(|&at| at < bounds.start || at > bounds.end);
        if let Some(at) = outside {
            return Err(LayoutError::OutOfBounds(at));
        }
        let in_order = ranges.iter().all(|range| range.start <= range.end)
            && !self.code.is_empty()
            && self.data.end <= self.start_brk
            && self.start_brk <= self.brk;
        if in_order { Ok(()) } else { Err(LayoutError::Disorder) }
    }
}

impl AddressSpace {
    /// Where the program's parts are, if it has been set up.
    pub fn layout(&self) -> Option<&Layout> {
        self.layout.as_ref()
    }

    /// Says where the program's parts are.
    pub fn set_up(&mut self, layout: Layout) -> Result<(), LayoutError> {
        layout.check(self.config.bounds)?;
        if layout.data_bytes(layout.brk) > self.limits.data_bytes_max {
            return Err(LayoutError::TooLarge);
        }
        self.layout = Some(layout);
        Ok(())
    }
}
