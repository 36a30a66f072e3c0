//! [`Map`] and [`MapMut`]: mappings that are slices.

use std::ops::Deref as _;

use crate::raw::MapRaw;

/// A mapped file as a `&[u8]`; made by [`MapOptions::map`](crate::MapOptions::map),
/// which says on what condition.
#[derive(Debug)]
pub struct Map {
    raw: MapRaw,
}

/// A mapped file as a `&mut [u8]`; made by
/// [`MapOptions::map_mut`](crate::MapOptions::map_mut), which says on what condition.
#[derive(Debug)]
pub struct MapMut {
    raw: MapRaw,
}

impl Map {
    pub(crate) fn new(raw: MapRaw) -> Map {
        Map { raw }
    }

    /// Everything but the slice.
    pub fn raw(&self) -> &MapRaw {
        &self.raw
    }

    /// The first byte.
    pub fn as_ptr(&self) -> *const u8 {
        self.raw.as_ptr()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Is it of length 0?
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }
}

impl MapMut {
    pub(crate) fn new(raw: MapRaw) -> MapMut {
        MapMut { raw }
    }

    /// Everything but the slice.
    pub fn raw(&self) -> &MapRaw {
        &self.raw
    }

    /// The first byte.
    pub fn as_ptr(&self) -> *const u8 {
        self.raw.as_ptr()
    }

    /// The first byte.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.raw.as_mut_ptr()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Is it of length 0?
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// As [`MapRaw::flush`].
    pub fn flush(&self) -> crate::Result<()> {
        self.raw.flush()
    }

    /// As [`MapRaw::flush_range`].
    pub fn flush_range(&self, offset: u64, len: u64) -> crate::Result<()> {
        self.raw.flush_range(offset, len)
    }

    /// As [`MapRaw::flush_async`].
    pub fn flush_async(&self) -> crate::Result<()> {
        self.raw.flush_async()
    }

    /// As [`MapRaw::protect`].
    ///
    /// # Safety
    ///
    /// As for [`Memory::protect`](crate::Memory::protect).
    #[allow(unsafe_code)]
    pub unsafe fn protect(
        &mut self,
        range: impl std::ops::RangeBounds<usize>,
        protection: crate::Protection,
    ) -> crate::Result<()> {
        self.raw.protect(range, protection)
    }

    /// As [`MapRaw::resize`]; no slice of the map lives meanwhile.
    pub fn resize(&mut self, len: u64) -> crate::Result<()> {
        self.raw.resize(len)
    }
}

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        self.deref()
    }
}

impl AsRef<[u8]> for MapMut {
    fn as_ref(&self) -> &[u8] {
        self.deref()
    }
}
