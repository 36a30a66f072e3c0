//! The memory of a [`Vm`] as what `faultless-heap` makes a heap of.
//!
//! ```text
//!   segment   │ paid, usable        │ addresses only        │   one area, made once
//!                                 break ──►
//!   mapping   │ paid, usable │ addresses left free to grow │   an area each
//! ```
//!
//! A mapping grows where it is if the addresses behind it are free. If not, its pages go
//! elsewhere: no byte is copied, and only what is new has to be paid.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::{self, NonNull};
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use faultless_addr::{PAGE_SIZE, VirtAddr, VirtRange};
use faultless_heap::{Lock, Pages, Place, Refused, UNIT};
use faultless_runtime::Active;

use super::mappings::Mappings;

/// Where a heap's memory comes from.
pub(super) struct VmPages {
    pub mappings: Mappings,
    /// Bytes of the segment that are paid: those below the break. The heap's lock
    /// guards it.
    paid: AtomicU64,
    /// What the memory for tables is a part of, or null.
    side: AtomicPtr<u8>,
}

impl VmPages {
    pub fn new(mappings: Mappings) -> VmPages {
        VmPages { mappings, paid: AtomicU64::new(0), side: AtomicPtr::new(ptr::null_mut()) }
    }
}

fn range(start: NonNull<u8>, len: usize) -> VirtRange {
    let start = start.as_ptr().expose_provenance() as u64;
    VirtRange::new(VirtAddr(start), VirtAddr(start + len as u64))
}

fn pointer(range: VirtRange) -> Option<NonNull<u8>> {
    NonNull::new(ptr::with_exposed_provenance_mut(range.start.0 as usize))
}

/// Tables, and what is needed to align them. `System` aligns so that it knows fresh
/// pages to be zeros, and doesn't touch them.
fn side_layout(len: usize) -> Option<Layout> {
    Layout::from_size_align(len.checked_add(PAGE_SIZE)?, align_of::<u64>()).ok()
}

/// The heap's locks: a fork happens while nobody holds one.
pub struct HeapLock(Mutex<()>);

// SAFETY: 1. it is a mutex, which is a lock.
unsafe impl Lock for HeapLock {
    #[allow(clippy::declare_interior_mutable_const, reason = "each use is a lock of its own")]
    const NEW: HeapLock = HeapLock(Mutex::new(()));

    fn hold<R>(&self, f: impl FnOnce() -> R) -> R {
        let _active = Active::enter();
        self.0.hold(f)
    }
}

// SAFETY: 1. an area of the engine is nobody else's until it is unmapped, and anonymous
// pages begin as zeros and keep what is stored to them; 2. `dont_need` makes them zeros
// again; 3. only `unmap`, `remap` and `release` end areas, when the heap calls them;
// 4. tables are `System`'s, which are zeros by `alloc_zeroed`; 5. the `Vm` lives as
// long as `mappings` does.
unsafe impl Pages for VmPages {
    fn reserve(&self, len: usize) -> Option<NonNull<u8>> {
        pointer(self.mappings.place(len as u64, UNIT as u64)?)
    }

    /// # Safety
    /// As the trait says.
    unsafe fn release(&self, segment: NonNull<u8>, len: usize) {
        self.mappings.end(range(segment, len));
        self.mappings.refund(self.paid.swap(0, Ordering::Relaxed));
    }

    /// # Safety
    /// As the trait says.
    unsafe fn set_break(&self, at: NonNull<u8>, old: usize, new: usize) -> Result<(), Refused> {
        if new >= old {
            self.mappings.pay((new - old) as u64).ok_or(Refused)?;
        } else {
            let all = range(at, old);
            let gone = VirtRange::new(VirtAddr(all.start.0 + new as u64), all.end);
            self.mappings.forget(gone).ok_or(Refused)?;
            self.mappings.refund(gone.len());
        }
        self.paid.store(new as u64, Ordering::Relaxed);
        Ok(())
    }

    /// # Safety
    /// As the trait says.
    unsafe fn discard(&self, start: NonNull<u8>, len: usize) -> Result<(), Refused> {
        self.mappings.forget(range(start, len)).ok_or(Refused)
    }

    fn map(&self, len: usize, align: usize) -> Option<NonNull<u8>> {
        pointer(self.mappings.map(len as u64, align as u64)?)
    }

    /// # Safety
    /// As the trait says.
    unsafe fn remap(
        &self,
        start: NonNull<u8>,
        old: usize,
        new: usize,
        place: Place,
    ) -> Option<NonNull<u8>> {
        pointer(self.mappings.resize(range(start, old), new as u64, place)?)
    }

    /// # Safety
    /// As the trait says.
    unsafe fn unmap(&self, start: NonNull<u8>, len: usize) {
        self.mappings.unmap(range(start, len));
    }

    fn side(&self, len: usize) -> Option<NonNull<u8>> {
        // SAFETY: 1. the layout has bytes.
        let all = NonNull::new(unsafe { System.alloc_zeroed(side_layout(len)?) })?;
        self.side.store(all.as_ptr(), Ordering::Relaxed);
        // SAFETY: 1. the layout has a page more than is needed, so the next address
        // between pages, and `len` bytes from there, are in it.
        Some(unsafe { all.add(all.align_offset(PAGE_SIZE)) })
    }

    /// # Safety
    /// As the trait says.
    unsafe fn release_side(&self, _start: NonNull<u8>, len: usize) {
        let all = self.side.swap(ptr::null_mut(), Ordering::Relaxed);
        if let Some(layout) = side_layout(len).filter(|_| !all.is_null()) {
            // SAFETY: 1. `side` got it from `System` for this layout, as a heap asks once;
            // 2. nobody uses it, by the caller's promise.
            unsafe { System.dealloc(all, layout) };
        }
    }
}
