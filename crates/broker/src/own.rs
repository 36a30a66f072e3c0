//! [`Own`]: homes for the memory that a client has for itself.
//!
//! ```text
//!   memfd 0   │ A │ A │ free │ B │   free   │       4 GiB, sparse: only this client has it
//!   memfd 1   │ C … C │       free         │        8 GiB, or as long as C
//!   client    B at 0x7f10…, A at 0x7f20…, …          each mapped at some addresses
//! ```
//!
//! Each page has a home of its own from its mmap to its munmap, also when mremap moves it:
//! then the kernel moves the mapping of the same bytes. It takes memory only while it is
//! there to be seen; otherwise it is aside, in swap, or still a page of the file that it begins as.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faultless_addr::{PAGE_BYTES, VirtAddr, VirtRange};
use faultless_linux::shared::STORE;
use faultless_sys::shared::SharedMemory;
use rustix::io::Errno;

use crate::served::SharedCore;

/// Bytes of the first memfd; each that follows has twice as many as the one before.
const FIRST: u64 = 4 << 30;

/// No memfd has more, but for a mapping that needs more.
const MOST: u64 = 64 << 30;

/// Addresses that one client may have here: the files of all need some, too.
const ALL: u64 = 1 << 40;

/// One client's homes.
pub(crate) struct Own {
    core: Arc<SharedCore>,
    chunks: Mutex<Vec<Chunk>>,
}

/// One memfd.
struct Chunk {
    /// Where the broker sees it.
    range: VirtRange,
    memory: Arc<SharedMemory>,
    /// Homes that are nobody's, by their start: their ends.
    free: BTreeMap<u64, u64>,
}

/// Homes that have been taken, next to each other.
#[derive(Clone)]
pub(crate) struct Homes {
    /// Where the broker sees them.
    pub range: VirtRange,
    /// Where in the memory they begin.
    pub offset: u64,
    memory: Arc<SharedMemory>,
}

impl Homes {
    /// The memory that they are in.
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.memory.writer()
    }
}

impl Own {
    pub fn new(core: Arc<SharedCore>) -> Own {
        Own { core, chunks: Mutex::default() }
    }

    /// So many bytes, whole pages. ENOMEM where there are no addresses for a memfd more, or
    /// the client has as many as it may.
    pub fn take(&self, len: u64) -> Result<Homes, Errno> {
        let mut chunks = self.lock();
        if let Some(homes) = chunks.iter_mut().find_map(|chunk| chunk.take(len)) {
            return Ok(homes);
        }
        let usual = (FIRST << chunks.len().min(8)).min(MOST);
        let before: u64 = chunks.iter().map(|chunk| chunk.range.len()).sum();
        if before.saturating_add(usual.max(len)) > ALL {
            return Err(Errno::NOMEM);
        }
        let mut chunk = Chunk::new(&self.core, usual.max(len))?;
        let homes = chunk.take(len).ok_or(Errno::NOMEM);
        chunks.push(chunk);
        homes
    }

    /// The homes of a range, if they are nobody's.
    pub fn take_at(&self, homes: VirtRange) -> Result<(), Errno> {
        let mut chunks = self.lock();
        let chunk = chunks.iter_mut().find(|chunk| chunk.range.encloses(homes));
        let taken = chunk.is_some_and(|chunk| chunk.take_at(homes));
        if taken { Ok(()) } else { Err(Errno::NOMEM) }
    }

    /// They are nobody's any more: no page is there, and the client maps them nowhere.
    pub fn give_back(&self, homes: VirtRange) {
        let is_of = |chunk: &Chunk| chunk.range.encloses(homes);
        let place = |chunk: &Chunk| (chunk.memory.clone(), homes.start.0 - chunk.range.start.0);
        let found = self.lock().iter().find(|chunk| is_of(chunk)).map(place);
        let Some((memory, offset)) = found else { return };
        // What the client may have put there past its mappings goes. They are taken as yet, and
        // it may take long: nobody waits for it.
        let _ = memory.punch(offset, homes.len());
        if let Some(chunk) = self.lock().iter_mut().find(|chunk| is_of(chunk)) {
            chunk.give_back(homes);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Chunk>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        for chunk in self.lock().drain(..) {
            self.core.machine().remove_memory(chunk.range);
            let _ = self.core.unmap_private(STORE, chunk.range);
        }
    }
}

impl Chunk {
    fn new(core: &SharedCore, len: u64) -> Result<Chunk, Errno> {
        let len = len.next_multiple_of(PAGE_BYTES);
        let memory = Arc::new(SharedMemory::of_fixed_length("faultless-own", len)?);
        // Nobody touches it there: it keeps others away from the addresses.
        let range = core.map_anonymous(STORE, len).map_err(|_| Errno::NOMEM)?;
        if let Err(errno) = core.machine().add_memory(range, memory.clone()) {
            let _ = core.unmap_private(STORE, range);
            return Err(errno);
        }
        Ok(Chunk { range, memory, free: BTreeMap::from([(range.start.0, range.end.0)]) })
    }

    /// The first that are long enough.
    fn take(&mut self, len: u64) -> Option<Homes> {
        let (start, _) = self.free.iter().find(|(start, end)| *end - *start >= len)?;
        let start = VirtAddr(*start);
        let range = VirtRange { start, end: VirtAddr(start.0 + len) };
        self.take_at(range);
        let offset = start.0 - self.range.start.0;
        Some(Homes { range, offset, memory: self.memory.clone() })
    }

    fn take_at(&mut self, homes: VirtRange) -> bool {
        let (start, end) = (homes.start.0, homes.end.0);
        let before = self.free.range(..=start).next_back().map(|(from, to)| (*from, *to));
        let Some((from, to)) = before.filter(|(_, to)| *to >= end) else { return false };
        self.free.remove(&from);
        let rest = [(from, start), (end, to)];
        self.free.extend(rest.into_iter().filter(|(from, to)| from < to));
        true
    }

    fn give_back(&mut self, homes: VirtRange) {
        let (mut start, mut end) = (homes.start.0, homes.end.0);
        let before = self.free.range(..start).next_back().map(|(from, to)| (*from, *to));
        if let Some((from, _)) = before.filter(|(_, to)| *to == start) {
            self.free.remove(&from);
            start = from;
        }
        if let Some(to) = self.free.remove(&end) {
            end = to;
        }
        self.free.insert(start, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: u64, to: u64) -> VirtRange {
        VirtRange { start: VirtAddr(from << 12), end: VirtAddr(to << 12) }
    }

    #[test]
    fn homes_are_one_mappings_until_they_are_given_back() {
        let whole = range(100, 116);
        let memory = Arc::new(SharedMemory::new("test", whole.len()).unwrap());
        let free = BTreeMap::from([(whole.start.0, whole.end.0)]);
        let mut chunk = Chunk { range: whole, memory, free };
        let taken = |chunk: &mut Chunk, pages: u64| {
            chunk.take(pages << 12).map(|homes| (homes.range.start.0 >> 12, homes.offset >> 12))
        };
        assert_eq!(taken(&mut chunk, 4), Some((100, 0)));
        assert_eq!(taken(&mut chunk, 8), Some((104, 4)));
        assert_eq!(taken(&mut chunk, 5), None);
        assert!(!chunk.take_at(range(110, 113)), "some of it is taken");
        assert!(chunk.take_at(range(112, 113)), "the next is free");
        chunk.give_back(range(105, 107));
        assert_eq!(taken(&mut chunk, 2), Some((105, 5)));
        for part in [range(104, 113), range(100, 104)] {
            chunk.give_back(part);
        }
        assert_eq!(chunk.free, BTreeMap::from([(whole.start.0, whole.end.0)]));
    }
}
