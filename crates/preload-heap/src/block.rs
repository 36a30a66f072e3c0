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
//! place in their page; and of those, what is before them says so.

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

/// A block that there is.
pub struct Block {
    at: usize,
    head: Head,
}

impl Block {
    /// A new one, of zeros.
    pub fn map(len: usize, alignment: usize) -> Option<Block> {
        let alignment = alignment.max(HEAD);
        // A mapping begins between pages, so a larger alignment needs room to be found in.
        let before = if alignment <= PAGE { alignment } else { alignment.checked_add(PAGE)? };
        let whole = len.checked_add(before)?.checked_next_multiple_of(PAGE)?;
        let (rights, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: 1. the kernel chooses addresses where nothing is.
        let start = unsafe { libc::mmap(ptr::null_mut(), whole, rights, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        let start = start as usize;
        let at = (start + HEAD).next_multiple_of(alignment);
        Some(Block::write(at, start, whole))
    }

    /// The block that begins there, if it is one.
    pub fn of(at: *mut c_void) -> Option<Block> {
        let at = at as usize;
        let is_within =
            LOWEST.load(Ordering::Relaxed) <= at && at < HIGHEST.load(Ordering::Relaxed);
        let place = at % PAGE;
        if !is_within || !(place == 0 || place >= HEAD && place.is_power_of_two()) {
            return None;
        }
        // SAFETY: 1. any allocator has a word at least before what it gives out at the start
        // of a page, and nobody gives out a page's 64th byte and not what is before it: the
        // page is there.
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
        Some(Block::write(to as usize + before, to as usize, whole).start())
    }

    /// It is no more.
    pub fn unmap(self) {
        // SAFETY: 1. the mapping is the block's, which its owner has given back.
        unsafe { libc::munmap(self.head.start as *mut c_void, self.head.len) };
    }
}

fn mark_of(at: usize) -> usize {
    MARK.load(Ordering::Relaxed) ^ at.rotate_left(17)
}
