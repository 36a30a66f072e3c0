//! Memory reached by plain pointers: the only file of this crate that is `unsafe`.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use faultless::MapRaw;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::model::PAGE;

/// The words of a mapping, each loaded or stored in place, from any thread.
///
/// What is absent: a slice. The bytes of a file can be changed by others at any time,
/// which a `&[u8]` rules out and an atomic load does not mind.
#[derive(Clone, Copy)]
pub struct Words<'a> {
    start: *mut AtomicU64,
    len: usize,
    writes: Writes,
    mapping: PhantomData<&'a ()>,
}

/// May words be stored?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// The mapping is for reading and writing.
    Allowed,
    /// It is for reading only.
    Refused,
}

// SAFETY: 1. `start` and `len` describe memory that is mapped as long as 'a, in every
// thread of the process; 2. every access is an atomic one.
unsafe impl Send for Words<'_> {}
// SAFETY: as above; nothing in the value itself changes.
unsafe impl Sync for Words<'_> {}

impl<'a> Words<'a> {
    /// The whole words of a mapping by Faultless, which begins at a page.
    pub fn of_map(map: &'a MapRaw, writes: Writes) -> Words<'a> {
        Words::new(map.as_mut_ptr(), map.len(), writes)
    }

    fn new(start: *mut u8, bytes: usize, writes: Writes) -> Words<'a> {
        let start = start.cast::<AtomicU64>();
        assert!(start.is_aligned(), "a mapping of whole words begins at a multiple of 8");
        Words { start, len: bytes / 8, writes, mapping: PhantomData }
    }

    /// How many.
    pub fn len(&self) -> u64 {
        self.len as u64
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads a word; waits for its page, if that isn't in memory.
    #[inline]
    pub fn load(&self, word: u64) -> u64 {
        // A relaxed load needs no right to write (std::sync::atomic, "Atomic accesses
        // to read-only memory").
        u64::from_le(self.word(word).load(Ordering::Relaxed))
    }

    /// Writes a word.
    #[inline]
    pub fn store(&self, word: u64, value: u64) {
        assert_eq!(self.writes, Writes::Allowed, "the mapping is for reading only");
        self.word(word).store(value.to_le(), Ordering::Relaxed);
    }

    /// Adds 1 to a word, in one step.
    #[inline]
    pub fn increment(&self, word: u64) {
        assert_eq!(self.writes, Writes::Allowed, "the mapping is for reading only");
        // One step in the order of this machine's bytes, which are little-endian on
        // every machine that the library runs on.
        const { assert!(cfg!(target_endian = "little")) };
        self.word(word).fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    fn word(&self, word: u64) -> &AtomicU64 {
        assert!(word < self.len as u64, "word {word} of {}", self.len);
        // SAFETY: 1. the word is within the mapping (asserted), which lives as long as
        // 'a; 2. `start` is aligned (asserted in `new`), so every word is; 3. touching
        // it blocks until its page is there, as with any file mapping; 4. this process
        // accesses the memory by atomics only, as long as a `Words` of it lives, and
        // what other processes do to the file is ordered by the kernel's page copies.
        unsafe { &*self.start.add(word as usize) }
    }
}

/// Hands `len` bytes of a mapping at `offset` to write(2) as they are: the kernel reads
/// them from the mapping, and waits for the pages that aren't in memory. Answers how
/// many were taken. `EFAULT` means that a page could not be had.
pub fn write_from_map(
    to: BorrowedFd<'_>,
    map: &MapRaw,
    offset: usize,
    len: usize,
) -> io::Result<usize> {
    assert!(offset.checked_add(len).is_some_and(|end| end <= map.len()), "within the map");
    // SAFETY: 1. the range is within the mapping (asserted), which `map` keeps alive;
    // 2. the slice is only handed to the system call, which copies the bytes by itself:
    // this program never looks at them, so nothing relies on their not changing.
    let bytes = unsafe { std::slice::from_raw_parts(map.as_ptr().add(offset), len) };
    Ok(rustix::io::write(to, bytes)?)
}

/// A file mapped by the kernel: what Faultless is compared with.
pub struct KernelMap {
    start: *mut u8,
    len: usize,
    writes: Writes,
}

// SAFETY: 1. the pointer is only an address: what is there is reached by `Words`, whose
// accesses are atomic; 2. advice and flushes may come from any thread (madvise(2), msync(2)).
unsafe impl Send for KernelMap {}
// SAFETY: as above; nothing in the value itself changes.
unsafe impl Sync for KernelMap {}

impl KernelMap {
    /// Maps the first `len` bytes of a file, shared.
    pub fn new(file: &File, len: u64, writes: Writes) -> io::Result<KernelMap> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let prot = match writes {
            Writes::Allowed => ProtFlags::READ | ProtFlags::WRITE,
            Writes::Refused => ProtFlags::READ,
        };
        // SAFETY: at an address that the kernel chooses, nothing of ours is replaced.
        let start = unsafe {
            rustix::mm::mmap(ptr::null_mut(), len, prot, MapFlags::SHARED, file.as_fd(), 0)?
        };
        Ok(KernelMap { start: start.cast(), len, writes })
    }

    /// The whole words of it.
    pub fn words(&self) -> Words<'_> {
        Words::new(self.start, self.len, self.writes)
    }

    /// What will be touched next; only advice that changes no bytes.
    pub fn advise(&self, pattern: faultless::Pattern) -> io::Result<()> {
        self.advise_pages(0..(self.len as u64).div_ceil(PAGE), pattern)
    }

    /// As [`advise`](Self::advise), for whole pages of it.
    pub fn advise_pages(&self, pages: Range<u64>, pattern: faultless::Pattern) -> io::Result<()> {
        let advice = match pattern {
            faultless::Pattern::Normal => Advice::Normal,
            faultless::Pattern::Random => Advice::Random,
            faultless::Pattern::Sequential => Advice::Sequential,
        };
        self.give((pages.start * PAGE) as usize..(pages.end * PAGE) as usize, advice)
    }

    /// Begins to read a page that will be needed.
    pub fn will_need(&self, page: u64) -> io::Result<()> {
        let at = (page * PAGE) as usize;
        self.give(at..at + PAGE as usize, Advice::WillNeed)
    }

    fn give(&self, range: Range<usize>, advice: Advice) -> io::Result<()> {
        let range = range.start..range.end.min(self.len);
        assert!(range.start <= range.end, "within the mapping");
        // SAFETY: 1. the range is within this mapping (asserted); 2. none of the advices
        // used here changes bytes.
        unsafe {
            let start = self.start.add(range.start).cast();
            rustix::mm::madvise(start, range.end - range.start, advice)?;
        }
        Ok(())
    }

    /// Writes what was changed to the file and waits until it is durable.
    pub fn flush(&self) -> io::Result<()> {
        // SAFETY: the range is this mapping.
        unsafe {
            rustix::mm::msync(self.start.cast(), self.len, rustix::mm::MsyncFlags::SYNC)?;
        }
        Ok(())
    }
}

impl Drop for KernelMap {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping, which nothing borrows any longer.
        let unmapped = unsafe { rustix::mm::munmap(self.start.cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}
