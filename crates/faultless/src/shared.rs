//! [`SharedMemory`]: memory without a file that several maps show.

use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;

use faultless_addr::{PAGE_BYTES, Prot, VirtAddr};
use faultless_engine::ObjectOptions;
use faultless_pager::Rights;
use faultless_runtime::NewObject;

use crate::error::Error;
use crate::mapping::Mapping;
use crate::options::Delivery;
use crate::raw::MapRaw;
use crate::verbs::range::Extent;
use crate::vm::Vm;

/// Bytes that begin as zeros and have no file, for any number of maps, each of which sees
/// what is stored by the others (`mmap(2)` with `MAP_SHARED | MAP_ANONYMOUS`).
///
/// As many of them are in memory as the budget has room for; the others are in the swap of
/// the [`Vm`]. They live as long as a handle or a map of them does, and a clone is another
/// handle to the same bytes. A [`MapRaw`] has pointers, pins, `read_at` and `write_at`; its
/// `flush` has nothing to do, and its `resize` is EINVAL.
///
/// In a forked child they are the parent's: touching them is SIGBUS, and calls are
/// [`Error::Forked`](faultless_runtime::Error), as with shared maps of files.
///
/// ```
/// # fn main() -> faultless::Result<()> {
/// let vm = faultless::Vm::builder()
///     .memory(1 << 20)
///     .swap(std::env::temp_dir(), 16 << 20)
///     .build()?;
/// let shared = vm.shared_memory(8 << 20)?;
/// let (all, part) = (shared.map()?, shared.map_part(5 << 20..6 << 20)?);
/// all.write_at(5 << 20, b"seen by both")?;
/// assert_eq!(&part.pin(0, 12)?[..], b"seen by both");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedMemory {
    mapping: Arc<Mapping>,
    len: usize,
}

impl Vm {
    /// `len` bytes of zeros to be shared, whose faults are served by threads of the `Vm`.
    ///
    /// # Errors
    ///
    /// ENOMEM where budget and swap together have no room for so many bytes more: what is
    /// given can be used, as with [`anonymous`](Self::anonymous).
    pub fn shared_memory(&self, len: usize) -> Result<SharedMemory, Error> {
        self.shared_memory_by(len, Delivery::Thread)
    }

    /// As [`shared_memory`](Self::shared_memory), with the delivery of faults chosen.
    pub fn shared_memory_by(&self, len: usize, delivery: Delivery) -> Result<SharedMemory, Error> {
        let bytes = (len.max(1) as u64).next_multiple_of(PAGE_BYTES);
        self.inner.room.take(bytes)?;
        let opened = self.inner.core().open(NewObject {
            pager: self.inner.scratch(bytes),
            options: ObjectOptions::scratch(bytes),
            space: delivery.space(),
            prot: Prot::READ | Prot::WRITE,
            reserve: bytes,
        });
        let handle = opened.inspect_err(|_| self.inner.room.give(bytes))?;
        let name = "shared memory".to_owned();
        let mapping = Mapping::new(self.inner.clone(), handle, name, None, true).paid(bytes);
        Ok(SharedMemory { mapping: Arc::new(mapping), len })
    }
}

impl SharedMemory {
    /// A map of all of it.
    pub fn map(&self) -> Result<MapRaw, Error> {
        self.map_part(..)
    }

    /// A map of a part, which may begin at any byte.
    ///
    /// # Errors
    ///
    /// Where the range leaves the memory; in a forked child.
    pub fn map_part(&self, range: impl RangeBounds<usize>) -> Result<MapRaw, Error> {
        let start = VirtAddr(self.mapping.addr(0) as u64);
        let extent = Extent { space: self.mapping.handle.space, start, len: self.len };
        let (start, end) = extent.bounds(&range)?;
        let len = (end - start) as u64;
        MapRaw::new(self.mapping.clone(), start as u64, len, Rights::ReadWrite)
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Is it of length 0?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory").field("len", &self.len).finish_non_exhaustive()
    }
}
