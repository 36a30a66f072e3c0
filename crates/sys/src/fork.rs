//! What a forked child sees of addresses that only its parent can serve.
//!
//! A page that isn't there is answered by a thread or a handler of the parent; a
//! child has neither. Left alone it would read zeros, or die by SIGSEGV, or find
//! somebody else's mapping. So the ranges are kept out of children
//! (`MADV_DONTFORK`, see [`Reservation`](crate::memory::Reservation)), and a child's
//! first act is to map over each of them the pages of an empty file: any access is
//! SIGBUS there, for good.
//!
//! A child made without `pthread_atfork` handlers (a bare `clone`) finds nothing
//! mapped there, until it maps something itself. `vfork` and `posix_spawn` children
//! share the parent's memory and are not concerned.

use std::os::fd::{AsFd, IntoRawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use faultless_addr::{PAGE_BYTES, VirtAddr, VirtRange};

use crate::Errno;

/// How many ranges a process can plug at a time.
pub const PLUGS: usize = 256;

/// Counts forks from process to process: a child's is its parent's plus one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The empty file, or -1.
static EMPTY_FILE: AtomicI32 = AtomicI32::new(-1);

static TABLE: [Entry; PLUGS] =
    [const { Entry { start: AtomicU64::new(0), len: AtomicU64::new(0) } }; PLUGS];

/// `start` is 0 where the entry is free, and `len` is 0 until the range counts.
struct Entry {
    start: AtomicU64,
    len: AtomicU64,
}

/// The process that made a thing, to tell a child that inherited it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birthplace(u32);

impl Birthplace {
    /// This process. Forks are noticed from the first call of this on.
    pub fn here() -> Birthplace {
        prepare().ok();
        Birthplace(GENERATION.load(Ordering::Relaxed))
    }

    /// Is this still the process that it was taken in, not a forked child of it?
    ///
    /// One load; async-signal-safe.
    pub fn is_here(self) -> bool {
        GENERATION.load(Ordering::Relaxed) == self.0
    }
}

/// While this lives, forked children get SIGBUS in its range.
#[derive(Debug)]
pub struct Plug {
    entry: usize,
    birthplace: Birthplace,
}

impl Plug {
    /// Plugs `range`, which must not be inherited (`MADV_DONTFORK`), in children to
    /// come. ENOSPC when there are [`PLUGS`] already.
    ///
    /// What a child has mapped within the range by other means stays as it is.
    pub fn new(range: VirtRange) -> Result<Plug, Errno> {
        prepare()?;
        let birthplace = Birthplace::here();
        for (entry, slot) in TABLE.iter().enumerate() {
            let free =
                slot.start.compare_exchange(0, range.start.0, Ordering::AcqRel, Ordering::Relaxed);
            if free.is_ok() {
                // A fork in another thread sees the length only after the start.
                slot.len.store(range.len(), Ordering::Release);
                return Ok(Plug { entry, birthplace });
            }
        }
        Err(Errno::NOSPC)
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        // In a child the table tells what is plugged there; a grandchild inherits it.
        if self.birthplace.is_here() {
            TABLE[self.entry].len.store(0, Ordering::Release);
            TABLE[self.entry].start.store(0, Ordering::Release);
        }
    }
}

/// Makes the empty file and registers the hook, once.
fn prepare() -> Result<(), Errno> {
    static PREPARED: OnceLock<Result<(), Errno>> = OnceLock::new();
    *PREPARED.get_or_init(|| {
        let file = rustix::fs::memfd_create("faultless-plug", rustix::fs::MemfdFlags::CLOEXEC)?;
        // A descriptor that outlives everything: children map it.
        let file = rustix::io::fcntl_dupfd_cloexec(file.as_fd(), 3)?;
        EMPTY_FILE.store(file.into_raw_fd(), Ordering::Release);
        // SAFETY: 1. `in_child` is a function that lives as long as the program; 2. it
        // does only what is allowed in the child of a threaded process: loads, stores
        // of atomics and mmap(2).
        match unsafe { libc::pthread_atfork(None, None, Some(in_child)) } {
            0 => Ok(()),
            errno => Err(Errno::from_raw_os_error(errno)),
        }
    })
}

/// Runs in the child, in its only thread, before fork returns. Takes no lock and
/// allocates nothing.
extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    for entry in &TABLE {
        let len = entry.len.load(Ordering::Acquire);
        if len != 0 {
            plug(entry.start.load(Ordering::Acquire), len);
        }
    }
}

/// Maps the empty file over what is free of the range. Something may have been put
/// into it already, by a child handler that ran before ours: that is left alone, by
/// halving the range around it.
fn plug(start: u64, len: u64) {
    if map_empty(VirtAddr(start), len) || len <= PAGE_BYTES {
        return;
    }
    let half = (len / 2).next_multiple_of(PAGE_BYTES);
    plug(start, half);
    plug(start + half, len - half);
}

fn map_empty(at: VirtAddr, len: u64) -> bool {
    // SAFETY: 1. MAP_FIXED_NOREPLACE maps only where nothing is, so no memory that
    // anything refers to changes; 2. mmap(2) is a system call without hidden state.
    let mapped = unsafe {
        libc::mmap(
            at.0 as *mut libc::c_void,
            len as usize,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE,
            EMPTY_FILE.load(Ordering::Acquire),
            0,
        )
    };
    mapped != libc::MAP_FAILED
}
