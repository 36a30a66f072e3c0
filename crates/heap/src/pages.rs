//! The trait of whoever gives the heap its addresses, pages and bookkeeping memory.

// Declaring the trait is what the compiler calls unsafe here; there is no code.
#![allow(unsafe_code)]

use core::ptr::NonNull;

/// The request can't be met: no memory, or no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no memory or addresses are left for the heap")]
pub struct Refused;

/// Where a mapping whose length changes may be afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where it is.
    Same,
    /// Anywhere, with its bytes (`MREMAP_MAYMOVE`).
    Any,
}

/// Gives a heap its memory. Lengths are multiples of the page size, and never 0.
///
/// The heap calls it with a lock held, so its methods must not allocate from the
/// same heap, nor panic where the heap is a program's allocator. They may take as long
/// as a system call does, but should not read or write pages. `tests/common/mod.rs` of
/// this crate is one of plain mmap(2), `tests/global.rs` a program that lives on it.
///
/// # Safety
/// What it gives out is writable memory that nobody else uses, reads as zeros where
/// this says so, and stays until the heap gives it back.
pub unsafe trait Pages {
    /// Sets addresses aside for the segment: `len` bytes, aligned to
    /// [`UNIT`](crate::UNIT), that can't be used before [`Pages::set_break`] says so.
    /// A heap asks once.
    fn reserve(&self, len: usize) -> Option<NonNull<u8>>;

    /// Gives the addresses of the segment back.
    ///
    /// # Safety
    /// `segment` came from [`Pages::reserve`] with this `len`, and nobody uses it.
    unsafe fn release(&self, segment: NonNull<u8>, len: usize);

    /// Makes the first `new` bytes of the segment usable, as `brk(2)` does; it was
    /// `old`. Bytes that become usable read as zeros.
    ///
    /// # Safety
    /// `segment` came from [`Pages::reserve`], and nobody uses what lies beyond
    /// `new`.
    unsafe fn set_break(&self, segment: NonNull<u8>, old: usize, new: usize)
    -> Result<(), Refused>;

    /// Forgets the bytes of a part of the segment: it stays usable, and reads as
    /// zeros from now on if this is `Ok`.
    ///
    /// # Safety
    /// The part is usable, and nobody uses it.
    unsafe fn discard(&self, start: NonNull<u8>, len: usize) -> Result<(), Refused>;

    /// A mapping of its own: zeros, aligned to `align` and to the page size.
    fn map(&self, len: usize, align: usize) -> Option<NonNull<u8>>;

    /// Changes the length of a mapping; new bytes read as zeros. `None` leaves
    /// everything as it was.
    ///
    /// # Safety
    /// The mapping came from here with the length `old`. If the answer is another
    /// address, nobody uses the old one.
    unsafe fn remap(
        &self,
        start: NonNull<u8>,
        old: usize,
        new: usize,
        place: Place,
    ) -> Option<NonNull<u8>>;

    /// Ends a mapping.
    ///
    /// # Safety
    /// The mapping came from here with this length, and nobody uses it.
    unsafe fn unmap(&self, start: NonNull<u8>, len: usize);

    /// Ordinary memory for the heap's tables: zeros, aligned to the page size. It
    /// should cost only what is touched of it, and touching it must never need this
    /// heap.
    fn side(&self, len: usize) -> Option<NonNull<u8>>;

    /// Ends ordinary memory.
    ///
    /// # Safety
    /// The memory came from [`Pages::side`] with this length, and nobody uses it.
    unsafe fn release_side(&self, start: NonNull<u8>, len: usize);
}
