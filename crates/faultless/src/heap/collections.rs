//! The heap as the allocator of single collections.

#![allow(unsafe_code)]

use std::alloc::Layout;
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};

use super::VmHeap;

// SAFETY: 1. each method is that of `Heap`, which is an allocator; 2. clones are handles
// to the same heap, which stays where it is and lives as long as the last of them: so
// may its blocks and, by the `Vm` that its pages keep, their addresses.
unsafe impl Allocator for VmHeap {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Allocator::allocate(&*self.heap, layout)
    }

    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Allocator::allocate_zeroed(&*self.heap, layout)
    }

    /// # Safety
    /// As the trait says.
    unsafe fn deallocate(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is ours.
        unsafe { Allocator::deallocate(&*self.heap, ptr, layout) };
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
        unsafe { Allocator::grow(&*self.heap, ptr, old, new) }
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
        unsafe { Allocator::grow_zeroed(&*self.heap, ptr, old, new) }
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
        unsafe { Allocator::shrink(&*self.heap, ptr, old, new) }
    }
}
