//! A heap for single collections.

use std::fmt;
use std::sync::Arc;

use faultless_heap::{Heap, Options, Stats, UNIT};

use super::mappings::Mappings;
use super::pages::{HeapLock, VmPages};
use crate::options::Delivery;
use crate::vm::Vm;

/// A heap of a [`Vm`]: allocations of which as much is in memory as the budget has
/// room for; the rest is in the swap file.
///
/// Requests of 128 KiB and more are mappings of their own. Smaller ones are blocks of
/// one segment, which grows as `brk(2)`'s does. Bookkeeping is in ordinary memory, so
/// allocating and freeing touch no page that may have left.
///
/// What budget and swap can't hold is refused when it is asked for. An allocation that
/// was given can be used.
///
/// Cloning makes another handle to the same heap. All its memory ends with the last
/// one; collections keep one each.
///
/// ```
/// # fn main() -> faultless::Result<()> {
/// let vm = faultless::Vm::builder()
///     .memory(1 << 20)
///     .swap(std::env::temp_dir(), 32 << 20)
///     .build()?;
/// let heap = faultless::VmHeap::new(&vm);
/// let mut numbers = allocator_api2::vec::Vec::new_in(heap.clone());
/// numbers.extend(0..500_000u64); // 4 MB, under 1 MiB
/// assert_eq!(numbers[499_999], 499_999);
/// # Ok(())
/// # }
/// ```
///
/// It is an `Allocator` by the feature `allocator-api2`, which is on: that trait is how
/// collections take a heap until the standard library's own is stable.
///
/// # Not in it
///
/// A [`Pager`](crate::Pager) must not touch memory of a heap whose `Vm` it serves: it
/// could wait for itself.
#[derive(Clone)]
pub struct VmHeap {
    pub(super) heap: Arc<Heap<VmPages, HeapLock>>,
}

/// Says how a [`VmHeap`] is to be.
#[derive(Clone, Debug)]
pub struct HeapOptions {
    capacity: Option<usize>,
    threshold: usize,
    delivery: Delivery,
}

impl Default for HeapOptions {
    fn default() -> HeapOptions {
        let Options { threshold, .. } = Options::DEFAULT;
        HeapOptions { capacity: None, threshold, delivery: Delivery::Thread }
    }
}

impl HeapOptions {
    /// As [`VmHeap::new`] has it.
    pub fn new() -> HeapOptions {
        HeapOptions::default()
    }

    /// Bytes of addresses for all blocks of small requests; if not said, as many as
    /// budget and swap can hold, since more can't be used.
    pub fn capacity(mut self, bytes: usize) -> HeapOptions {
        self.capacity = Some(bytes);
        self
    }

    /// Requests of so many bytes or more are mappings of their own; at most 128 KiB.
    pub fn threshold(mut self, bytes: usize) -> HeapOptions {
        self.threshold = bytes;
        self
    }

    /// Who serves faults: threads of the `Vm`, if not said.
    pub fn delivery(mut self, delivery: Delivery) -> HeapOptions {
        self.delivery = delivery;
        self
    }

    /// Makes it. It takes nothing before the first request.
    pub fn build(&self, vm: &Vm) -> VmHeap {
        let usable = usize::try_from(vm.inner.room.limit).unwrap_or(usize::MAX / 2);
        let capacity = self.capacity.unwrap_or(usable.next_multiple_of(UNIT));
        let options = Options { capacity, threshold: self.threshold };
        let pages = VmPages::new(Mappings::new(vm, self.delivery));
        VmHeap { heap: Arc::new(Heap::new(pages, options)) }
    }
}

impl VmHeap {
    /// A heap whose faults are served by threads of the `Vm`.
    pub fn new(vm: &Vm) -> VmHeap {
        HeapOptions::new().build(vm)
    }

    /// Gives free memory of the segment back to the `Vm`, and answers how many bytes.
    /// It never happens by itself; mappings are given back as they are freed.
    pub fn trim(&self) -> usize {
        self.heap.trim()
    }

    /// What it takes now, in memory or in swap.
    pub fn stats(&self) -> Stats {
        self.heap.stats()
    }
}

impl fmt::Debug for VmHeap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VmHeap").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
