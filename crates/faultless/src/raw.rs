//! [`MapRaw`]: a mapping whose bytes are reached by pointers, pins, reads and writes.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use faultless_addr::{ByteRange, PAGE_BYTES, PageRange, VirtAddr};
use faultless_engine::{ErrorsSeen, Pattern, Pin, PinFor};
use faultless_pager::Rights;

use crate::error::Error;
use crate::mapping::Mapping;
use crate::pin::{Pinned, PinnedMut, PinnedRef};
use crate::reader::Reader;
use crate::verbs::range::Extent;

/// Pages that `read_at` and `write_at` hold at a time.
const CHUNK_PAGES: u64 = 16;

/// A mapped file, or a part of one.
///
/// Offsets are bytes from the start of the map. Everything here is safe but following
/// the pointers: that a page can't be read is an `Err`, not a signal.
pub struct MapRaw {
    mapping: Arc<Mapping>,
    offset: u64,
    len: AtomicU64,
    rights: Rights,
    seen: Mutex<ErrorsSeen>,
}

impl MapRaw {
    pub(crate) fn new(
        mapping: Arc<Mapping>,
        offset: u64,
        len: u64,
        rights: Rights,
    ) -> Result<MapRaw, Error> {
        let seen = Mutex::new(mapping.core()?.errors_seen(mapping.object())?);
        Ok(MapRaw { mapping, offset, len: AtomicU64::new(len), rights, seen })
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire) as usize
    }

    /// Is it of length 0?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first byte. The map's bytes follow each other in memory, whether they are
    /// there at the moment or not.
    pub fn as_ptr(&self) -> *const u8 {
        self.mapping.addr(self.offset)
    }

    /// The first byte, to be written through if the map was made for writing. Stores
    /// through a pointer must not race with reads, and not touch what is pinned.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.mapping.addr(self.offset)
    }

    /// Which byte of the file is the first.
    pub fn file_offset(&self) -> u64 {
        self.offset
    }

    /// What people call the file.
    pub fn name(&self) -> &str {
        &self.mapping.name
    }

    /// Bytes of the file that a range of the map means, if it is inside of the map.
    #[inline]
    fn range(&self, offset: u64, len: u64) -> Option<ByteRange> {
        let end = offset.checked_add(len).filter(|end| *end <= self.len() as u64)?;
        Some(ByteRange::new(self.offset + offset, self.offset + end))
    }

    /// The same, which the file has.
    fn bytes(&self, offset: u64, len: u64) -> Result<ByteRange, Error> {
        self.mapping.core()?;
        let Some(bytes) = self.range(offset, len) else {
            return Err(faultless_runtime::Error::BeyondEnd {
                name: self.mapping.name.clone(),
                size: self.offset + self.len() as u64,
                start: self.offset.saturating_add(offset),
                end: self.offset.saturating_add(offset).saturating_add(len),
            }
            .into());
        };
        self.mapping.bytes(bytes.start, bytes.len())
    }

    /// Brings bytes in and holds them while the guard lives.
    ///
    /// # Errors
    ///
    /// Where the bytes can't be read or lie beyond the end; where other pins leave no
    /// room in the budget; where a page of them is pinned for writing.
    pub fn pin(&self, offset: u64, len: usize) -> Result<Pinned, Error> {
        let (pin, start) = self.begin_pin(offset, len)?;
        Ok(Pinned::new(self.mapping.clone(), pin, start, len))
    }

    /// As [`pin`](Self::pin), for as long as the map is borrowed: the quickest way to look at
    /// bytes that are looked at often.
    ///
    /// ```
    /// # use std::io::Write;
    /// # let mut file = tempfile::tempfile()?;
    /// # file.write_all(&1234u32.to_le_bytes())?;
    /// # let vm = faultless::Vm::with_memory(1 << 20)?;
    /// let map = faultless::MapOptions::new().map_raw(&vm, &file)?;
    /// let number = u32::from_le_bytes(map.pin_ref(0, 4)?[..].try_into()?);
    /// assert_eq!(number, 1234);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn pin_ref(&self, offset: u64, len: usize) -> Result<PinnedRef<'_>, Error> {
        let (pin, start) = self.begin_pin(offset, len)?;
        Ok(PinnedRef::new(&self.mapping, pin, start, len))
    }

    /// A pin for reading, and which byte of the file it begins with.
    #[inline]
    fn begin_pin(&self, offset: u64, len: usize) -> Result<(Pin, u64), Error> {
        let bytes = self.range(offset, len as u64);
        let again = bytes.and_then(|it| Some((self.mapping.pin_again(it.pages())?, it.start)));
        again.map_or_else(|| self.pin_anew(offset, len), Ok)
    }

    fn pin_anew(&self, offset: u64, len: usize) -> Result<(Pin, u64), Error> {
        let bytes = self.bytes(offset, len as u64)?;
        let core = self.mapping.core()?;
        let pin = core.pin(self.mapping.object(), bytes.pages(), PinFor::Read)?;
        Ok((pin, bytes.start))
    }

    /// As [`pin`](Self::pin), for writing: no other pin may hold a page of the bytes.
    pub fn pin_mut(&self, offset: u64, len: usize) -> Result<PinnedMut, Error> {
        self.check_writable()?;
        let bytes = self.bytes(offset, len as u64)?;
        let core = self.mapping.core()?;
        let pin = core.pin(self.mapping.object(), bytes.pages(), PinFor::Write)?;
        Ok(PinnedMut::new(self.mapping.clone(), pin, bytes.start, len))
    }

    /// Pins many ranges `(offset, len)`, their reads under way at the same time: one
    /// thread keeps the disk's queue full. All or none.
    pub fn pin_many(
        &self,
        ranges: impl IntoIterator<Item = (u64, usize)>,
    ) -> Result<Vec<Pinned>, Error> {
        // Entered first: what the runtime goes through is then never in memory of its own.
        let core = self.mapping.core()?;
        let bytes: Result<Vec<_>, Error> =
            ranges.into_iter().map(|(offset, len)| self.bytes(offset, len as u64)).collect();
        let bytes = bytes?;
        let pages = bytes.iter().map(|bytes| bytes.pages());
        let pins = core.pin_many(self.mapping.object(), pages)?;
        let held = bytes.iter().zip(pins);
        Ok(held
            .map(|(bytes, pin)| {
                Pinned::new(self.mapping.clone(), pin, bytes.start, bytes.len() as usize)
            })
            .collect())
    }

    /// Begins to read ranges `(offset, len)` that will be needed, and doesn't wait.
    /// Goes as far as the budget allows; answers how many bytes were left out.
    pub fn prefetch(&self, ranges: impl IntoIterator<Item = (u64, u64)>) -> Result<u64, Error> {
        // Entered first, as above.
        let core = self.mapping.core()?;
        let pages: Result<Vec<_>, Error> =
            ranges.into_iter().map(|(offset, len)| Ok(self.bytes(offset, len)?.pages())).collect();
        let left_out = core.prefetch(self.mapping.object(), pages?.into_iter())?;
        Ok(left_out * PAGE_BYTES)
    }

    /// Copies bytes out of the map, up to its end; answers how many.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Error> {
        let all = (self.len() as u64).saturating_sub(offset).min(into.len() as u64) as usize;
        let mut done = 0;
        while done < all {
            let len = self.chunk(offset + done as u64, all - done);
            let pinned = self.pin_ref(offset + done as u64, len)?;
            into[done..done + len].copy_from_slice(&pinned);
            done += len;
        }
        Ok(all)
    }

    /// Copies bytes into the map, all of them within its length. They are pinned and copied 16
    /// pages at a time: after an error the first ones may have been written.
    pub fn write_at(&self, offset: u64, from: &[u8]) -> Result<(), Error> {
        self.check_writable()?;
        self.bytes(offset, from.len() as u64)?;
        let mut done = 0;
        while done < from.len() {
            let len = self.chunk(offset + done as u64, from.len() - done);
            let part = &from[done..done + len];
            let bytes = self.bytes(offset + done as u64, len as u64)?;
            let object = self.mapping.object();
            let pin = self.mapping.core()?.pin_to_fill(None, object, (bytes.start, part))?;
            PinnedMut::new(self.mapping.clone(), pin, bytes.start, len).copy_from_slice(part);
            done += len;
        }
        Ok(())
    }

    /// How much of `left` bytes at `offset` to copy in one go: whole pages.
    fn chunk(&self, offset: u64, left: usize) -> usize {
        let into_page = (self.offset + offset) % PAGE_BYTES;
        left.min((CHUNK_PAGES * PAGE_BYTES - into_page) as usize)
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    pub(crate) fn extent(&self) -> Extent {
        let start = VirtAddr(self.as_ptr() as u64);
        Extent { space: self.mapping.handle.space, start, len: self.len() }
    }

    /// May it be written through?
    ///
    /// # Errors
    ///
    /// EACCES where it is for reading.
    pub fn check_writable(&self) -> Result<(), Error> {
        if self.rights == Rights::ReadWrite && self.mapping.is_writable() {
            return Ok(());
        }
        Err(faultless_runtime::Error::ReadOnly { name: self.mapping.name.clone() }.into())
    }

    /// The bytes from the start, as a reader.
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(self)
    }

    /// Writes every change to the file and waits until it is durable. Reports every
    /// error of this file that this map hasn't been told yet.
    pub fn flush(&self) -> Result<(), Error> {
        self.flush_pages(PageRange::all())
    }

    /// As [`flush`](Self::flush), for a range.
    pub fn flush_range(&self, offset: u64, len: u64) -> Result<(), Error> {
        self.flush_pages(self.bytes(offset, len)?.pages())
    }

    fn flush_pages(&self, pages: PageRange) -> Result<(), Error> {
        self.mapping.core()?;
        let mut seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.mapping.core()?.flush(self.mapping.object(), pages, &mut seen);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(result?)
    }

    /// Begins to write every change to the file and returns at once; a thread of the `Vm`
    /// carries it on. Nothing is durable before a `flush`. Errors are told by `check` and
    /// the next `flush` of every map of the file. What is pinned for writing is left out.
    pub fn flush_async(&self) -> Result<(), Error> {
        Ok(self.mapping.core()?.flush_async(self.mapping.object(), PageRange::all())?)
    }

    /// Has anything gone wrong with this file that this map hasn't been told?
    pub fn check(&self) -> Result<(), Error> {
        self.mapping.core()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.mapping.core()?.check(self.mapping.object(), &mut seen)?)
    }

    /// The order in which bytes will be accessed, for all maps of the file.
    pub fn advise(&self, pattern: Pattern) -> Result<(), Error> {
        Ok(self.mapping.core()?.advise(self.mapping.object(), pattern)?)
    }

    /// Takes unchanged pages of a range out of memory.
    pub fn release(&self, offset: u64, len: u64) -> Result<(), Error> {
        let pages = self.bytes(offset, len)?.pages();
        Ok(self.mapping.core()?.drop_clean(self.mapping.object(), pages)?)
    }

    /// Sets the file's length so that this map, which keeps its address, is `len`
    /// bytes long. It can grow as far as addresses were reserved.
    pub fn resize(&self, len: u64) -> Result<(), Error> {
        self.check_writable()?;
        self.mapping.core()?.resize(self.mapping.handle, self.offset + len)?;
        self.len.store(len, Ordering::Release);
        Ok(())
    }

    /// Makes this map `len` bytes long, if it is shorter, where the file has them by now: it
    /// was made longer by somebody else.
    ///
    /// # Errors
    ///
    /// ENXIO where the file is not that long.
    pub fn grow(&self, len: u64) -> Result<(), Error> {
        self.mapping.core()?.refresh(self.mapping.object())?;
        self.mapping.bytes(self.offset, len)?;
        self.len.fetch_max(len, Ordering::AcqRel);
        Ok(())
    }

    /// Bytes of addresses that belong to the file from this map's first byte on: as far as
    /// it can grow.
    pub fn reserved(&self) -> u64 {
        self.mapping.handle.range.len() - self.offset
    }

    /// Bytes of a range read as zeros from now on; whole pages of them take no space in
    /// the file. In pages that the range has in part, zeros are stored, which a flush
    /// writes as it does other changes; where those may not be stored to, nothing is done.
    pub fn punch_hole(&self, offset: u64, len: u64) -> Result<(), Error> {
        self.check_writable()?;
        let bytes = self.bytes(offset, len)?;
        let start = bytes.start.next_multiple_of(PAGE_BYTES).min(bytes.end);
        let end = (bytes.end - bytes.end % PAGE_BYTES).max(start);
        // Others may store beside the hole meanwhile: these pages are never dropped. Both are
        // held before either changes, so that what is refused has changed nothing.
        let parts = [ByteRange::new(bytes.start, start), ByteRange::new(end, bytes.end)];
        let pin = |part: &ByteRange| self.pin_mut(part.start - self.offset, part.len() as usize);
        let held: Result<Vec<_>, _> =
            parts.iter().filter(|part| !part.is_empty()).map(pin).collect();
        held?.iter_mut().for_each(|held| held.fill(0));
        let whole = ByteRange::new(start, end);
        Ok(self.mapping.core()?.punch(self.mapping.object(), whole)?)
    }

    /// Looks at once whether somebody else has changed the file's length (otherwise it
    /// is noticed within seconds, or when a page is read); answers it.
    pub fn refresh(&self) -> Result<u64, Error> {
        Ok(self.mapping.core()?.refresh(self.mapping.object())?)
    }

    /// Pages of the file in memory, and how many of them differ from it.
    pub fn resident(&self) -> Result<(u32, u32), Error> {
        Ok(self.mapping.core()?.resident(self.mapping.object())?)
    }
}

impl fmt::Debug for MapRaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapRaw")
            .field("name", &self.mapping.name)
            .field("start", &self.as_ptr())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
