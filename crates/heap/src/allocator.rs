//! The heap as the allocator of single collections.

#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};

use crate::heap::Heap;
use crate::lock::Lock;
use crate::pages::Pages;

/// Memory with the length that was asked for.
fn sized(memory: Option<NonNull<u8>>, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
    let memory = memory.ok_or(AllocError)?;
    Ok(NonNull::slice_from_raw_parts(memory, layout.size()))
}

// SAFETY: 1. blocks and mappings overlap nobody's and are aligned as asked; 2. they
// stay where they are when the heap is moved, being elsewhere, and until it is
// dropped; 3. it has no clones.
unsafe impl<P: Pages, L: Lock> Allocator for Heap<P, L> {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        sized(self.allocate(layout), layout)
    }

    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        sized(self.allocate_zeroed(layout), layout)
    }

    /// # Safety
    /// As the trait says.
    unsafe fn deallocate(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is ours.
        unsafe { self.deallocate(ptr, layout) };
    }

    /// # Safety
    /// As the trait says.
    unsafe fn grow(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is ours.
        sized(unsafe { self.reallocate(ptr, old, new) }, new)
    }

    /// # Safety
    /// As the trait says.
    unsafe fn grow_zeroed(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is ours.
        sized(unsafe { self.reallocate_zeroed(ptr, old, new) }, new)
    }

    /// # Safety
    /// As the trait says.
    unsafe fn shrink(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is ours.
        sized(unsafe { self.reallocate(ptr, old, new) }, new)
    }
}
