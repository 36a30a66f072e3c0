//! [`Block`]: a large block, which is a mapping.
//!
//! ```text
//!   mapping  ┌──────┬───────────────────────────────┐
//!            │ Head │ the block                     │
//!            └──────┴───────────────────────────────┘
//!            64 bytes; or, where a larger alignment is asked for, so that the block has it
//! ```
//!
//! Whether a pointer that the program gives back is of such a block has to be known of all
//! pointers. Most lie outside of the hull of all blocks; of the rest most don't lie at such a
//! place in their page; and of those, what is before them says so. What is before a pointer to
//! the start of a page may not be there, so blocks that begin with a page are listed.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

pub const PAGE: usize = 4096;

/// Bytes before a block.
const HEAD: usize = 64;

/// What is written before a block.
#[derive(Clone, Copy)]
#[repr(C)]
struct Head {
    /// [`MARK`] and the block's address.
    mark: usize,
    /// Where the mapping begins.
    start: usize,
    /// Its bytes.
    len: usize,
}

/// A word that nobody else writes but by a rare chance.
static MARK: AtomicUsize = AtomicUsize::new(0);

/// The hull of all blocks that there have been.
static LOWEST: AtomicUsize = AtomicUsize::new(usize::MAX);
static HIGHEST: AtomicUsize = AtomicUsize::new(0);

/// Chooses what tells blocks, before there is any.
pub fn choose_mark() {
    // SAFETY: 1. it reads a word that the kernel has given this process.
    let random = unsafe { libc::getauxval(libc::AT_RANDOM) } as *const usize;
    // SAFETY: 1. sixteen bytes are there, if anything is.
    let mark = if random.is_null() { 0 } else { unsafe { random.read_unaligned() } };
    MARK.store(mark ^ 0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
}

/// Blocks that begin with a page; 0 where there is none. Not many are asked for.
static LISTED: [AtomicUsize; 1024] = [const { AtomicUsize::new(0) }; 1024];

/// No entry from here on was ever used.
static LISTED_END: AtomicUsize = AtomicUsize::new(0);

/// Writes `to` where `from` stands in the list; false if that stands nowhere.
fn relist(from: usize, to: usize) -> bool {
    let end = match from {
        0 => LISTED.len(),
        _ => LISTED_END.load(Ordering::Acquire),
    };
    let (order, failed) = (Ordering::AcqRel, Ordering::Relaxed);
    let is_it = |entry: &AtomicUsize| {
        entry.load(Ordering::Relaxed) == from
            && entry.compare_exchange(from, to, order, failed).is_ok()
    };
    let Some(at) = LISTED[..end].iter().position(is_it) else { return false };
    LISTED_END.fetch_max(at + 1, Ordering::AcqRel);
    true
}

fn is_listed(at: usize) -> bool {
    let end = LISTED_END.load(Ordering::Acquire);
    LISTED[..end].iter().any(|entry| entry.load(Ordering::Acquire) == at)
}

/// Why there is no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBlock {
    /// No memory.
    Memory,
    /// As many as may be begin with a page: another allocator may have one.
    List,
}

/// A block that there is.
pub struct Block {
    at: usize,
    head: Head,
}

impl Block {
    /// A new one, of zeros.
    pub fn map(len: usize, alignment: usize) -> Result<Block, NoBlock> {
        let alignment = alignment.max(HEAD);
        // A mapping begins between pages, so a larger alignment needs room to be found in.
        let before = if alignment <= PAGE { Some(alignment) } else { alignment.checked_add(PAGE) };
        let whole = before.and_then(|before| len.checked_add(before));
        let whole = whole.and_then(|whole| whole.checked_next_multiple_of(PAGE));
        let whole = whole.ok_or(NoBlock::Memory)?;
        let (rights, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: 1. the kernel chooses addresses where nothing is.
        let start = unsafe { libc::mmap(ptr::null_mut(), whole, rights, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(NoBlock::Memory);
        }
        let at = (start as usize + HEAD).next_multiple_of(alignment);
        if at.is_multiple_of(PAGE) && !relist(0, at) {
            // SAFETY: 1. it has been mapped just now, and nobody knows of it.
            unsafe { libc::munmap(start, whole) };
            return Err(NoBlock::List);
        }
        Ok(Block::write(at, start as usize, whole))
    }

    /// The block that begins there, if it is one.
    pub fn of(at: *mut c_void) -> Option<Block> {
        let at = at as usize;
        let is_within =
            LOWEST.load(Ordering::Relaxed) <= at && at < HIGHEST.load(Ordering::Relaxed);
        let place = at % PAGE;
        let may_be = is_within
            && match place {
                0 => is_listed(at),
                _ => place >= HEAD && place.is_power_of_two(),
            };
        if !may_be {
            return None;
        }
        // SAFETY: 1. the block is listed, and so is ours; or it begins within a page, which
        // is there, and has so many bytes before it.
        let head = unsafe { ((at - HEAD) as *const Head).read_volatile() };
        (head.mark == mark_of(at)).then_some(Block { at, head })
    }

    fn write(at: usize, start: usize, len: usize) -> Block {
        let head = Head { mark: mark_of(at), start, len };
        // SAFETY: 1. it is in our mapping, before the block, and aligned.
        unsafe { ((at - HEAD) as *mut Head).write_volatile(head) };
        LOWEST.fetch_min(at, Ordering::Relaxed);
        HIGHEST.fetch_max(at + 1, Ordering::Relaxed);
        Block { at, head }
    }

    pub fn start(&self) -> *mut c_void {
        self.at as *mut c_void
    }

    /// Bytes that it has.
    pub fn len(&self) -> usize {
        self.head.start + self.head.len - self.at
    }

    /// The same bytes in a block of another length.
    pub fn resized(&self, len: usize) -> Option<*mut c_void> {
        let before = self.at - self.head.start;
        let whole = len.checked_add(before)?.checked_next_multiple_of(PAGE)?;
        if whole == self.head.len {
            return Some(self.start());
        }
        let from = self.head.start as *mut c_void;
        // SAFETY: 1. the mapping is the block's; 2. whoever gave the block has nothing that
        // refers to it from here on, if it succeeds.
        let to = unsafe { libc::mremap(from, self.head.len, whole, libc::MREMAP_MAYMOVE) };
        if to == libc::MAP_FAILED {
            return None;
        }
        let at = to as usize + before;
        if at.is_multiple_of(PAGE) {
            relist(self.at, at);
        }
        Some(Block::write(at, to as usize, whole).start())
    }

    /// It is no more.
    pub fn unmap(self) {
        if self.at.is_multiple_of(PAGE) {
            relist(self.at, 0);
        }
        // SAFETY: 1. the mapping is the block's, which its owner has given back.
        unsafe { libc::munmap(self.head.start as *mut c_void, self.head.len) };
    }
}

fn mark_of(at: usize) -> usize {
    MARK.load(Ordering::Relaxed) ^ at.rotate_left(17)
}
