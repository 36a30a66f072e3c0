//! Memory that becomes longer or shorter: where it is, if it can be.

#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use faultless_addr::PAGE_SIZE;

use crate::heap::{Fill, Heap, Route};
use crate::lock::Lock;
use crate::pages::{Pages, Place};

impl<P: Pages, L: Lock> Heap<P, L> {
    /// Makes memory for `old` memory for `new`, with the bytes that both have. It
    /// stays where it is if its class is the same, or if its mapping can be changed
    /// there. `None` leaves everything as it was.
    ///
    /// # Safety
    /// `ptr` came from this heap for `old`; if the answer is another pointer, nobody
    /// uses `ptr` any more.
    pub unsafe fn reallocate(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise is ours.
        unsafe { self.resize(ptr, old, new, Fill::Any) }
    }

    /// Like [`Heap::reallocate`]; the bytes that `old` doesn't have are zeros.
    ///
    /// # Safety
    /// As for [`Heap::reallocate`].
    pub unsafe fn reallocate_zeroed(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise is ours.
        unsafe { self.resize(ptr, old, new, Fill::Zeros) }
    }

    /// # Safety
    /// As for [`Heap::reallocate`].
    unsafe fn resize(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
        fill: Fill,
    ) -> Option<NonNull<u8>> {
        let is_aligned = ptr.addr().get().is_multiple_of(new.align());
        // Bytes of the memory as it is that may be anything.
        let (same, usable) = match (self.route(old), self.route(new)) {
            (Route::Block(a), Route::Block(b)) if a == b => (Some(ptr), a.size()),
            // SAFETY: the caller's promise is ours, and `route` says the lengths.
            (Route::Mapping(a), Route::Mapping(b)) if is_aligned => unsafe {
                (self.resize_mapping(ptr, a, b, new.align()), a)
            },
            _ => (None, 0),
        };
        let Some(same) = same else {
            // SAFETY: the caller's promise is ours.
            return unsafe { self.move_to_new(ptr, old, new, fill) };
        };
        let unknown = usable.min(new.size()).saturating_sub(old.size());
        if fill == Fill::Zeros && unknown > 0 {
            // SAFETY: 1. the bytes lie between the old size and the new one, which
            // the memory has; 2. they are of no use to anybody yet.
            unsafe { same.add(old.size()).write_bytes(0, unknown) };
        }
        Some(same)
    }

    /// # Safety
    /// `ptr` is a mapping of this heap of `old` bytes; if the answer is another
    /// pointer, nobody uses `ptr` any more.
    unsafe fn resize_mapping(
        &self,
        ptr: NonNull<u8>,
        old: usize,
        new: usize,
        align: usize,
    ) -> Option<NonNull<u8>> {
        if old == new {
            return Some(ptr);
        }
        let place = if align <= PAGE_SIZE { Place::Any } else { Place::Same };
        // SAFETY: the caller's promise is ours.
        let start = unsafe { self.pages.remap(ptr, old, new, place) }?;
        self.mapped.fetch_add(new, Ordering::Relaxed);
        self.mapped.fetch_sub(old, Ordering::Relaxed);
        Some(start)
    }

    /// # Safety
    /// As for [`Heap::reallocate`].
    unsafe fn move_to_new(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
        fill: Fill,
    ) -> Option<NonNull<u8>> {
        let to = self.obtain(new, fill)?;
        // SAFETY: 1. both have so many bytes; 2. the new memory is ours alone, so they
        // don't overlap; 3. `ptr` is for `old` and used by nobody, by the caller's
        // promise.
        unsafe {
            to.copy_from_nonoverlapping(ptr, old.size().min(new.size()));
            self.deallocate(ptr, old);
        }
        Some(to)
    }
}
