//! The heap as the allocator of a whole program.

#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

use crate::heap::Heap;
use crate::lock::Lock;
use crate::pages::Pages;

fn or_null(memory: Option<NonNull<u8>>) -> *mut u8 {
    memory.map_or(ptr::null_mut(), NonNull::as_ptr)
}

// SAFETY: 1. blocks and mappings overlap nobody's and stay until freed; 2. they are
// aligned as asked (`Class::of`, the promise of `Pages::map`); 3. nothing here
// unwinds: what may panic is the misuse of `deallocate`, which can't leave it; 4. it
// never allocates from itself, as its bookkeeping is in `Pages::side`.
unsafe impl<P: Pages, L: Lock> GlobalAlloc for Heap<P, L> {
    /// # Safety
    /// As the trait says.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        or_null(self.allocate(layout))
    }

    /// # Safety
    /// As the trait says.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        or_null(self.allocate_zeroed(layout))
    }

    /// # Safety
    /// As the trait says.
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if let Some(ptr) = NonNull::new(ptr) {
            // SAFETY: the caller's promise is ours.
            unsafe { self.deallocate(ptr, layout) };
        }
    }

    /// # Safety
    /// As the trait says.
    unsafe fn realloc(&self, ptr: *mut u8, old: Layout, new_size: usize) -> *mut u8 {
        let new = Layout::from_size_align(new_size, old.align()).ok();
        let grown = NonNull::new(ptr).zip(new).and_then(|(ptr, new)| {
            // SAFETY: the caller's promise is ours.
            unsafe { self.reallocate(ptr, old, new) }
        });
        or_null(grown)
    }
}
