//! [`MapCopy`]: a file's bytes, of which what is stored to is one's own.

use std::fmt;
use std::sync::Arc;

use faultless_addr::{PAGE_BYTES, PageIndex, SpaceId, VirtAddr, VirtRange};

use crate::error::Error;
use crate::mapping::Mapping;
use crate::verbs::range::Extent;

/// A mapped file, or a part of one, whose stores nobody else sees: the first store to a
/// page makes a copy of it (`MAP_PRIVATE`). The file never changes by it.
///
/// Made by [`MapOptions::map_copy`](crate::MapOptions::map_copy). It derefs to
/// `&mut [u8]`.
pub struct MapCopy {
    mapping: Arc<Mapping>,
    space: SpaceId,
    range: VirtRange,
    /// Bytes between the start of the first page and the first byte.
    lead: u64,
    len: usize,
    /// What was set aside of budget and swap, for its copies.
    room: u64,
}

impl MapCopy {
    /// Bytes `offset..offset + len` of what is mapped. With `reserved` there will be room
    /// for a copy of every page.
    pub(crate) fn new(
        mapping: Arc<Mapping>,
        offset: u64,
        len: u64,
        reserved: bool,
    ) -> Result<MapCopy, Error> {
        mapping.bytes(offset, len)?;
        let first = PageIndex::containing(offset);
        let lead = offset - first.offset();
        let bytes = (lead + len).max(1).next_multiple_of(PAGE_BYTES);
        let room = if reserved { bytes } else { 0 };
        mapping.vm.room.take(room)?;
        let space = mapping.handle.space;
        match mapping.core()?.map_copy(space, mapping.object(), first, bytes) {
            Ok(range) => Ok(MapCopy { mapping, space, range, lead, len: len as usize, room }),
            Err(error) => {
                mapping.vm.room.give(room);
                Err(error.into())
            }
        }
    }

    /// The first byte.
    pub fn as_ptr(&self) -> *const u8 {
        (self.range.start.0 + self.lead) as *const u8
    }

    /// The first byte.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        (self.range.start.0 + self.lead) as *mut u8
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Is it of length 0?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    pub(crate) fn extent(&self) -> Extent {
        let start = VirtAddr(self.range.start.0 + self.lead);
        Extent { space: self.space, start, len: self.len }
    }
}

impl fmt::Debug for MapCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapCopy")
            .field("name", &self.mapping.name)
            .field("start", &self.as_ptr())
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl Drop for MapCopy {
    fn drop(&mut self) {
        if self.mapping.vm.core().unmap_private(self.space, self.range).is_ok() {
            self.mapping.vm.room.give(self.room);
        }
    }
}
