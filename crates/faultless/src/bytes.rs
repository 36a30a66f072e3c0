//! Bytes of mappings as slices: the only file of this crate that makes them.

#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut, RangeBounds};

use crate::copy::MapCopy;
use crate::map::{Map, MapMut};
use crate::memory::Memory;
use crate::pin::{Pinned, PinnedMut, PinnedRef};
use crate::reservation::Reservation;

// Why the pins' slices are sound, for as long as the pin lives:
// 1. The pin was made for whole pages that hold the bytes, and a pinned page stays at
//    its address: the engine neither evicts, moves nor discards it.
// 2. The addresses are inside the mapping's home range, which the pin keeps alive (a
//    `PinnedRef` borrows it of its map).
// 3. The bytes are in a frame of ours. Others who write to the file don't change it.
// 4. Within this `Vm`, whoever changes bytes of a page holds a pin for writing, which
//    excludes every other pin of the page; or uses a pointer, a `Map` or a `MapMut`,
//    whose conditions exclude it.

impl Deref for Pinned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let (start, len) = self.place();
        // SAFETY: see above: the bytes are in memory and nobody changes them.
        unsafe { std::slice::from_raw_parts(start, len) }
    }
}

impl Deref for PinnedRef<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let (start, len) = self.place();
        // SAFETY: see above: the bytes are in memory and nobody changes them.
        unsafe { std::slice::from_raw_parts(start, len) }
    }
}

impl Deref for PinnedMut {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let (start, len) = self.place();
        // SAFETY: see above: the bytes are in memory and ours alone.
        unsafe { std::slice::from_raw_parts(start, len) }
    }
}

impl DerefMut for PinnedMut {
    fn deref_mut(&mut self) -> &mut [u8] {
        let (start, len) = self.place();
        // SAFETY: see above: the bytes are in memory, ours alone, and stores to them
        // mark their page as changed.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: 1. the addresses are the map's as long as it lives; 2. touching one
        // brings its page in; 3. that nobody changes the bytes is the promise of whoever
        // called `MapOptions::map`.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }
}

impl Deref for MapMut {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: as for `Map`, by the promise of whoever called `MapOptions::map_mut`.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }
}

impl DerefMut for MapMut {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; and that nobody else reads the bytes meanwhile is part of
        // that promise.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), self.len()) }
    }
}

impl Deref for MapCopy {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: as for `Map`, by the promise of whoever called `MapOptions::map_copy`.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }
}

impl DerefMut for MapCopy {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; and stores go to pages that are this map's alone.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), self.len()) }
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: 1. the addresses are this memory's as long as it lives, and touching one
        // brings its page in; 2. nobody else stores to them: no other map shows them, and
        // a mutable slice needs the `Memory` for itself.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), self.len()) }
    }
}

impl Reservation {
    /// A range as a slice, if something has been placed at every page of it.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Option<&[u8]> {
        let (start, len) = self.placed_bytes(range)?;
        // SAFETY: 1. the addresses are the reservation's, and what is placed there stays as
        // long as it is borrowed; 2. touching one brings its page in; 3. anonymous memory
        // and copies are changed by a mutable slice only, and that nobody changes a file is
        // the promise of whoever placed it.
        Some(unsafe { std::slice::from_raw_parts(start, len) })
    }

    /// As [`slice`](Self::slice), to be stored to: stores are the reservation's own.
    pub fn slice_mut(&mut self, range: impl RangeBounds<usize>) -> Option<&mut [u8]> {
        let (start, len) = self.placed_bytes(range)?;
        // SAFETY: as above; and the reservation is borrowed for this slice alone.
        Some(unsafe { std::slice::from_raw_parts_mut(start, len) })
    }
}

/// A pointer into a mapping.
///
/// SAFETY of sending what holds one to another thread: the addresses are the same in
/// every thread, and the mapping that they belong to is kept alive beside it.
#[derive(Clone, Copy)]
pub(crate) struct Address(pub *mut u8);

// SAFETY: see the type.
unsafe impl Send for Address {}
// SAFETY: see the type; the address itself never changes.
unsafe impl Sync for Address {}
