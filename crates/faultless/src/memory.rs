//! [`Memory`]: anonymous memory that may be larger than the budget.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use faultless_addr::{PAGE_BYTES, SpaceId, VirtRange};

use crate::error::Error;
use crate::options::Delivery;
use crate::verbs::range::Extent;
use crate::vm::{Inner, Vm};

/// Bytes that begin as zeros, of which as many are in memory as the budget has room
/// for; the others are in the swap file of the [`Vm`].
///
/// It is a `&mut [u8]`, safe to use: nobody else has it. Should the swap file not be
/// readable, touching a page that is there ends in SIGBUS.
///
/// ```
/// # fn main() -> faultless::Result<()> {
/// let vm = faultless::Vm::builder()
///     .memory(1 << 20)
///     .swap(std::env::temp_dir(), 16 << 20)
///     .build()?;
/// let mut memory = vm.anonymous(8 << 20)?;
/// memory[5 << 20] = 7;
/// assert_eq!((memory[5 << 20], memory[6 << 20]), (7, 0));
/// # Ok(())
/// # }
/// ```
pub struct Memory {
    vm: Arc<Inner>,
    space: SpaceId,
    range: VirtRange,
    len: usize,
}

/// How many bytes of anonymous memory there may be: as many as fit into the budget and
/// the swap file. So memory that was given can be used: it is refused when it is asked
/// for, not when it is touched. (Linux's overcommit mode 2.)
pub(crate) struct Room {
    /// Bytes that there can be in all.
    pub limit: u64,
    used: AtomicU64,
}

impl Room {
    pub fn new(limit: u64) -> Room {
        Room { limit, used: AtomicU64::new(0) }
    }

    /// Room for so many bytes more, if there is.
    pub fn take(&self, bytes: u64) -> Result<(), Error> {
        let take = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.limit);
        let taken = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        let refused = |used| Error::NoSwap { wanted: bytes, left: self.limit - used };
        taken.map(drop).map_err(refused)
    }

    /// So many bytes are not needed any more.
    pub fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
    }
}

impl Vm {
    /// `len` bytes of zeros, whose faults are served by threads of the `Vm`.
    ///
    /// # Errors
    ///
    /// Where budget and swap file together have no room for so many bytes more.
    pub fn anonymous(&self, len: usize) -> Result<Memory, Error> {
        self.anonymous_by(len, Delivery::Thread)
    }

    /// As [`anonymous`](Self::anonymous), with the delivery of faults chosen.
    pub fn anonymous_by(&self, len: usize, delivery: Delivery) -> Result<Memory, Error> {
        let space = delivery.space();
        let bytes = (len.max(1) as u64).next_multiple_of(PAGE_BYTES);
        self.inner.room.take(bytes)?;
        match self.inner.core().map_anonymous(space, bytes) {
            Ok(range) => Ok(Memory { vm: self.inner.clone(), space, range, len }),
            Err(error) => {
                self.inner.room.give(bytes);
                Err(error.into())
            }
        }
    }
}

impl Memory {
    /// The first byte.
    pub fn as_ptr(&self) -> *const u8 {
        self.range.start.0 as *const u8
    }

    /// The first byte.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.range.start.0 as *mut u8
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Is it of length 0?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn vm(&self) -> &Inner {
        &self.vm
    }

    /// All its pages.
    pub(crate) fn pages(&self) -> VirtRange {
        self.range
    }

    /// It is elsewhere from now on, and nobody has a slice of it.
    pub(crate) fn set_pages(&mut self, range: VirtRange) {
        self.range = range;
    }

    /// So many bytes of its pages are its own.
    pub(crate) fn set_len(&mut self, len: usize) {
        debug_assert!(len as u64 <= self.range.len());
        self.len = len;
    }

    pub(crate) fn extent(&self) -> Extent {
        Extent { space: self.space, start: self.range.start, len: self.len }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("start", &self.as_ptr())
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.vm.core().unmap_private(self.space, self.range).is_ok() {
            self.vm.room.give(self.range.len());
        }
    }
}
