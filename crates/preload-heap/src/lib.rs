//! The library that `faultless run --anonymous` loads after the one with mmap: malloc and its
//! family. The C library's own malloc maps inside itself, where no other library sees it; so
//! here large blocks are mappings, made by the `mmap` that programs are given, and all others
//! are left to who would have been called without us.
//!
//! ```text
//!   malloc(n) ── n small ──► the next malloc: the C library's, or another library's
//!       └─────── n large ──► mmap ──► served, or the kernel's
//! ```
//!
//! It takes no lock and keeps no list: a block says itself that it is one (`block.rs`). So it
//! can be called wherever malloc and mmap can.

mod block;
mod next;

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use block::{Block, NoBlock, PAGE};

/// Blocks of so many bytes are mappings of their own.
static LARGE: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Run by the loader before `main`; whoever asks for a block before is given the C library's.
// SAFETY: 1. the section holds addresses of functions, as this is one.
#[used]
// SAFETY: 1. the loader calls what is in this section as C functions.
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = {
    extern "C" fn begin() {
        // SAFETY: 1. the name ends in a zero.
        let value = unsafe { libc::getenv(VARIABLE.as_ptr()) };
        if value.is_null() {
            return;
        }
        // SAFETY: 1. it is a string in the environment, which nobody changes before `main`.
        let bytes = unsafe { libc::strtoull(value, std::ptr::null_mut(), 10) };
        block::choose_mark();
        LARGE.store((bytes as usize).max(PAGE), Ordering::Relaxed);
    }
    begin
};

/// Says from how many bytes on a block is large.
const VARIABLE: &std::ffi::CStr = c"FAULTLESS_BLOCKS";

const _: () = {
    let (ours, theirs) = (VARIABLE.to_bytes(), faultless_protocol::BLOCKS_VARIABLE.as_bytes());
    assert!(ours.len() == theirs.len());
    let mut at = 0;
    while at < ours.len() {
        assert!(ours[at] == theirs[at]);
        at += 1;
    }
};

fn is_large(len: usize) -> bool {
    len >= LARGE.load(Ordering::Relaxed)
}

/// A new block of zeros; null, and ENOMEM, where there is none.
fn new(len: usize) -> *mut c_void {
    or_errno(Block::map(len, 0).map_or(std::ptr::null_mut(), |block| block.start()))
}

/// A new block with an alignment, if such a one is ours to give out.
fn new_aligned(len: usize, alignment: usize) -> Option<*mut c_void> {
    if !is_large(len) || !alignment.is_power_of_two() {
        return None;
    }
    match Block::map(len, alignment) {
        Ok(block) => Some(block.start()),
        Err(NoBlock::Memory) => Some(std::ptr::null_mut()),
        Err(NoBlock::List) => None,
    }
}

/// Null, and ENOMEM, where there is no block.
fn or_errno(block: *mut c_void) -> *mut c_void {
    if block.is_null() {
        set_errno(libc::ENOMEM);
    }
    block
}

fn set_errno(errno: c_int) {
    // SAFETY: 1. it is the calling thread's own, and alive.
    unsafe { *libc::__errno_location() = errno };
}

fn errno() -> c_int {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() }
}

/// malloc(3).
///
/// # Safety
/// As malloc(3), as for all that follow.
#[unsafe(no_mangle)]
// SAFETY: 1. it does what the function of this name does, with the same parameters; so do all
// that follow.
pub unsafe extern "C" fn malloc(len: usize) -> *mut c_void {
    if is_large(len) {
        return new(len);
    }
    // SAFETY: the caller's promise is ours.
    unsafe { next::malloc(len) }
}

/// calloc(3): what has just been mapped is zeros.
///
/// # Safety
/// As calloc(3).
// SAFETY: as for `malloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn calloc(count: usize, each: usize) -> *mut c_void {
    match count.checked_mul(each) {
        Some(len) if is_large(len) => new(len),
        // SAFETY: the caller's promise is ours.
        _ => unsafe { next::calloc(count, each) },
    }
}

/// realloc(3).
///
/// # Safety
/// As realloc(3).
// SAFETY: as for `malloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(at: *mut c_void, len: usize) -> *mut c_void {
    let block = Block::of(at);
    let before = match &block {
        Some(block) if is_large(len) => {
            return block.resized(len).unwrap_or_else(|| {
                set_errno(libc::ENOMEM);
                std::ptr::null_mut()
            });
        }
        Some(block) => block.len(),
        // SAFETY: the caller's promise is ours.
        None if !is_large(len) => return unsafe { next::realloc(at, len) },
        None if at.is_null() => return new(len),
        // SAFETY: the caller's promise is ours: it is a block of theirs.
        None => unsafe { next::malloc_usable_size(at) },
    };
    // It becomes another kind of block.
    // SAFETY: the caller's promise is ours.
    let after = unsafe { if len == 0 { std::ptr::null_mut() } else { malloc(len) } };
    if after.is_null() && len > 0 {
        return after;
    }
    if !after.is_null() {
        // SAFETY: 1. both blocks are that long at least; 2. the new one is nobody's yet.
        unsafe { libc::memcpy(after, at, before.min(len)) };
    }
    // SAFETY: the caller's promise is ours.
    unsafe { free(at) };
    after
}

/// free(3), which leaves `errno` be.
///
/// # Safety
/// As free(3).
// SAFETY: as for `malloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(at: *mut c_void) {
    match Block::of(at) {
        Some(block) => {
            let before = errno();
            block.unmap();
            set_errno(before);
        }
        // SAFETY: the caller's promise is ours.
        None => unsafe { next::free(at) },
    }
}

/// malloc_usable_size(3).
///
/// # Safety
/// As malloc_usable_size(3).
// SAFETY: as for `malloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(at: *mut c_void) -> usize {
    // SAFETY: the caller's promise is ours.
    Block::of(at).map_or_else(|| unsafe { next::malloc_usable_size(at) }, |block| block.len())
}

/// reallocarray(3).
///
/// # Safety
/// As reallocarray(3).
// SAFETY: as for `malloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(at: *mut c_void, count: usize, each: usize) -> *mut c_void {
    match count.checked_mul(each) {
        // SAFETY: the caller's promise is ours.
        Some(len) => unsafe { realloc(at, len) },
        None => {
            set_errno(libc::ENOMEM);
            std::ptr::null_mut()
        }
    }
}

/// memalign(3).
///
/// # Safety
/// As memalign(3).
// SAFETY: as for `malloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memalign(alignment: usize, len: usize) -> *mut c_void {
    match new_aligned(len, alignment) {
        Some(block) => or_errno(block),
        // SAFETY: the caller's promise is ours.
        None => unsafe { next::memalign(alignment, len) },
    }
}

/// aligned_alloc(3).
///
/// # Safety
/// As aligned_alloc(3).
// SAFETY: as for `malloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aligned_alloc(alignment: usize, len: usize) -> *mut c_void {
    match new_aligned(len, alignment) {
        Some(block) => or_errno(block),
        // SAFETY: the caller's promise is ours.
        None => unsafe { next::aligned_alloc(alignment, len) },
    }
}

/// posix_memalign(3), which answers an errno.
///
/// # Safety
/// As posix_memalign(3).
// SAFETY: as for `malloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(
    at: *mut *mut c_void,
    alignment: usize,
    len: usize,
) -> c_int {
    let fits = alignment >= size_of::<usize>();
    match fits.then(|| new_aligned(len, alignment)).flatten() {
        // SAFETY: the caller's promise is ours.
        None => unsafe { next::posix_memalign(at, alignment, len) },
        Some(block) if block.is_null() => libc::ENOMEM,
        Some(block) => {
            // SAFETY: 1. the caller's word for the answer.
            unsafe { *at = block };
            0
        }
    }
}

/// valloc(3).
///
/// # Safety
/// As valloc(3).
// SAFETY: as for `malloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn valloc(len: usize) -> *mut c_void {
    // SAFETY: the caller's promise is ours.
    unsafe { memalign(PAGE, len) }
}

/// pvalloc(3).
///
/// # Safety
/// As pvalloc(3).
// SAFETY: as for `malloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pvalloc(len: usize) -> *mut c_void {
    match len.checked_next_multiple_of(PAGE) {
        // SAFETY: the caller's promise is ours.
        Some(len) => unsafe { memalign(PAGE, len) },
        None => {
            set_errno(libc::ENOMEM);
            std::ptr::null_mut()
        }
    }
}
