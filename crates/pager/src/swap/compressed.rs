//! A swap area whose pages are compressed on their way out.
//!
//! ```text
//!   slot            0        1      2      3
//!   page            4 KiB    4 KiB  zeros  4 KiB
//!   stored bytes    1300     4096   –      700         lz4, as it is, nothing, lz4
//!   extent          3 units  8      –      2           in slabs of one length each
//! ```
//!
//! An overwritten page is stored elsewhere first, and its old bytes are free only
//! when that has ended well: a failed write loses nothing. The price is room for
//! both for a moment.
//!
//! Extents are not whole pages, so the store is best one that the kernel's page
//! cache stands before ([`IoMode::Buffered`](crate::IoMode)).

use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::area::SwapArea;
use super::codec::{self, Stored};
use super::extents::{self, Extent, NOTHING, Packed};
use super::file::SwapFile;
use super::slabs::{SLAB_BYTES, Slabs};
use crate::open::OpenError;
use crate::pager::{PAGE_SIZE, Pager, Shrunk};
use crate::transfer::{is_page_multiple, total};

/// Pages that are compressed and written, or read, together: 256 KiB at most.
const BATCH: usize = 64;

/// Free slabs that are punched in one call: 2 MiB.
const PUNCH_SLABS: u32 = 64;

struct Index {
    /// By slot.
    extents: Vec<Extent>,
    slabs: Slabs,
}

impl Index {
    fn release(&mut self, extent: Extent) {
        if extent.stored != Stored::ZEROS {
            self.slabs.free(extent.start, extent.stored.units());
        }
    }
}

/// Compresses pages with lz4 into a store, by default a [`SwapFile`].
///
/// The store's size is what the area may take on the disk; where that is full, a
/// write is `ENOSPC`. Whole pages only: other offsets and lengths are `EINVAL`.
/// Reads check the stored bytes' length and sum, and are an error of the kind
/// `InvalidData` where those are wrong.
///
/// ```
/// use faultless_pager::{CompressedSwap, IoMode, Pager, SwapFile};
/// use std::io::IoSlice;
///
/// let store = SwapFile::with_mode(&std::env::temp_dir(), 1 << 20, IoMode::Buffered)?;
/// let swap = CompressedSwap::new(store, 1024)?;
/// swap.write(0, &[IoSlice::new(&[7; 64 << 10])])?;
/// assert_eq!(swap.stored_bytes(), 16 * 512);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct CompressedSwap<P = SwapFile> {
    store: P,
    /// The store's size at the beginning.
    limit: u64,
    /// Never held during a call of the store.
    index: Mutex<Index>,
}

impl<P: Pager> CompressedSwap<P> {
    /// An area of `pages` pages, all zeros, in `store`, whose bytes are its own.
    pub fn new(store: P, pages: u64) -> io::Result<CompressedSwap<P>> {
        let index = Mutex::new(Index { extents: Vec::new(), slabs: Slabs::new() });
        let limit = store.size()?;
        let swap = CompressedSwap { store, limit, index };
        swap.use_all_of_store()?;
        swap.resize(pages.checked_mul(PAGE_SIZE).ok_or(Errno::FBIG)?)?;
        Ok(swap)
    }

    /// The store inside.
    pub fn store(&self) -> &P {
        &self.store
    }

    /// Takes the store's size anew, if it has become larger.
    pub fn use_all_of_store(&self) -> io::Result<()> {
        // As many as unit numbers have room for: 2 TiB.
        let slabs = (self.store.size()? / SLAB_BYTES).min(u64::from(u32::MAX / u64::BITS));
        self.lock().slabs.grow(slabs as u32);
        Ok(())
    }

    /// Bytes that the pages take in the store.
    pub fn stored_bytes(&self) -> u64 {
        self.lock().slabs.used_bytes()
    }

    /// A panic elsewhere can't leave it half changed: what is done under the lock
    /// panics only before it changes anything.
    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes up to [`BATCH`] pages to `slots`: pages `from..` of `bufs`.
    fn write_batch(
        &self,
        slots: Range<usize>,
        bufs: &[IoSlice<'_>],
        from: usize,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut batch: Vec<Packed> = slots
            .enumerate()
            .map(|(nth, slot)| {
                let at = bytes.len();
                let stored = codec::encode(&codec::gather(bufs, from + nth), &mut bytes);
                Packed { slot, at, extent: Extent { start: 0, stored } }
            })
            .collect();
        // Extents of one length lie together, and are then written together.
        batch.sort_by_key(|packed| packed.extent.stored.units());
        self.place(&mut batch)?;
        let written = extents::write(&self.store, &batch, &bytes);
        let mut index = self.lock();
        for packed in batch {
            match (&written, index.extents.get_mut(packed.slot)) {
                (Ok(()), Some(extent)) => {
                    let old = std::mem::replace(extent, packed.extent);
                    index.release(old);
                }
                // Not written, or the area was made smaller meanwhile.
                _ => index.release(packed.extent),
            }
        }
        written
    }

    /// Finds room for all of `batch`, or for none.
    fn place(&self, batch: &mut [Packed]) -> io::Result<()> {
        let mut index = self.lock();
        for at in 0..batch.len() {
            let stored = batch[at].extent.stored;
            if stored == Stored::ZEROS {
                continue;
            }
            let Some(start) = index.slabs.alloc(stored.units()) else {
                batch[..at].iter().for_each(|packed| index.release(packed.extent));
                return Err(Errno::NOSPC.into());
            };
            batch[at].extent.start = start;
        }
        Ok(())
    }

    /// Reads up to [`BATCH`] pages of `slots` into pages `from..` of `bufs`.
    fn read_batch(
        &self,
        slots: Range<usize>,
        bufs: &mut [IoSliceMut<'_>],
        from: usize,
    ) -> io::Result<()> {
        loop {
            let extents = self.lock().extents.get(slots.clone()).unwrap_or_default().to_vec();
            match extents::read(&self.store, &extents, bufs, from)? {
                None => return Ok(()),
                // Somebody overwrote or punched the page meanwhile.
                Some(bad) if self.lock().extents.get(slots.start + bad) != extents.get(bad) => {}
                Some(bad) => return Err(damaged(slots.start + bad)),
            }
        }
    }

    fn punch_stale_slabs(&self) -> io::Result<()> {
        let mut result = Ok(());
        while let Some(slabs) = { self.lock().slabs.take_stale(PUNCH_SLABS) } {
            let count = u64::from(slabs.end - slabs.start);
            let punched = self.store.punch(u64::from(slabs.start) * SLAB_BYTES, count * SLAB_BYTES);
            self.lock().slabs.punched(slabs);
            result = result.and(punched);
        }
        result
    }
}

/// The ranges of `slots` that are moved together, each with the page of the
/// caller's bytes at which it begins.
fn batches(slots: Range<usize>) -> impl Iterator<Item = (Range<usize>, usize)> {
    let Range { start, end } = slots;
    (start..end).step_by(BATCH).map(move |at| (at..end.min(at + BATCH), at - start))
}

fn damaged(slot: usize) -> io::Error {
    let message = format!("page {slot} of the swap area is not what was written there");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// The slots of whole pages; anything else is `EINVAL`.
fn slots_of(offset: u64, len: u64) -> io::Result<Range<usize>> {
    let end = offset.checked_add(len).ok_or(Errno::INVAL)?;
    if !is_page_multiple(offset) || !is_page_multiple(len) {
        return Err(Errno::INVAL.into());
    }
    let slot = |offset| usize::try_from(offset / PAGE_SIZE).map_err(|_| Errno::INVAL);
    Ok(slot(offset)?..slot(end)?)
}

impl<P: Pager> Pager for CompressedSwap<P> {
    fn name(&self) -> String {
        format!("compressed {}", self.store.name())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.lock().extents.len() as u64 * PAGE_SIZE)
    }

    fn read(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let fitting = Shrunk::fitting(offset, total(bufs), self.size()?);
        for (slots, from) in batches(slots_of(offset, fitting)?) {
            self.read_batch(slots, bufs, from)?;
        }
        // No more than the bytes of `bufs`, which are in memory.
        Ok(fitting as usize)
    }

    fn write(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        let (len, size) = (total(bufs), self.size()?);
        slots_of(offset, len)?;
        let written = Shrunk::fitting(offset, len, size);
        for (slots, from) in batches(slots_of(offset, written)?) {
            self.write_batch(slots, bufs, from)?;
        }
        if written < len {
            return Err(Shrunk { offset, len, size, written }.into());
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.store.sync()
    }

    /// 12 bytes a page, and little for slabs.
    fn bookkeeping_bytes(&self) -> usize {
        let index = self.lock();
        index.extents.capacity() * size_of::<Extent>() + index.slabs.bookkeeping_bytes()
    }

    /// Changes how many pages there are, not the store's size.
    fn resize(&self, size: u64) -> io::Result<()> {
        let pages = slots_of(0, size)?.end;
        let mut index = self.lock();
        while index.extents.len() > pages {
            let last = index.extents.pop().unwrap_or(NOTHING);
            index.release(last);
        }
        let more = pages - index.extents.len();
        index.extents.try_reserve_exact(more).map_err(|_| io::ErrorKind::OutOfMemory)?;
        index.extents.resize(pages, NOTHING);
        Ok(())
    }

    /// Forgets pages, and gives the room of slabs that have become empty back to
    /// the store, also those that overwriting has emptied.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let fitting = Shrunk::fitting(offset, len, self.size()?);
        for slot in slots_of(offset, fitting)? {
            let mut index = self.lock();
            let Some(extent) = index.extents.get_mut(slot) else { break };
            let old = std::mem::replace(extent, NOTHING);
            index.release(old);
        }
        self.punch_stale_slabs()
    }
}

impl SwapArea for CompressedSwap<SwapFile> {
    fn dir(&self) -> &Path {
        self.store.dir()
    }

    fn beside(&self) -> Result<Arc<dyn SwapArea>, OpenError> {
        let failed = |source| OpenError::NoSwapFile { dir: self.dir().to_owned(), source };
        let pages = self.size().map_err(failed)? / PAGE_SIZE;
        let area = CompressedSwap::new(self.store.another(self.limit)?, pages);
        Ok(Arc::new(area.map_err(failed)?))
    }

    /// Slabs that are not full are counted as stored.
    fn lend(&self, size: u64) -> io::Result<()> {
        let store = self.limit + self.lock().slabs.taken_bytes();
        if store > self.store.size()? {
            self.store.resize(store)?;
            self.use_all_of_store()?;
        }
        if size > self.size()? { self.resize(size) } else { Ok(()) }
    }
}
