//! The least that is an allocator: memory is given out from one end, and never comes back.

#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

const BYTES: usize = 64 << 20;

/// A range of bytes, of which the first `used` are given out.
#[repr(align(4096))]
struct Bump {
    bytes: UnsafeCell<[u8; BYTES]>,
    used: AtomicUsize,
}

// SAFETY: 1. what `bytes` holds is only touched by those to whom `alloc` gave it. 2. it gives
// no byte to two, since `used` only grows, by atomic steps.
unsafe impl Sync for Bump {}

#[global_allocator]
static MEMORY: Bump = Bump { bytes: UnsafeCell::new([0; BYTES]), used: AtomicUsize::new(0) };

// SAFETY: 1. `alloc` answers with null or with `layout.size()` bytes inside of `bytes`, which
// nobody else has or gets. 2. they begin at a multiple of `layout.align()`, because `bytes`
// does at one of 4096 and greater alignments are refused. 3. nothing here panics.
unsafe impl GlobalAlloc for Bump {
    // SAFETY: 1. the caller keeps the trait's promise, a size that is not 0. 2. nothing here
    // relies on it.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > 4096 {
            return ptr::null_mut();
        }
        let place = |used: usize| {
            let start = used.checked_next_multiple_of(layout.align())?;
            let end = start.checked_add(layout.size())?;
            (end <= BYTES).then_some((start, end))
        };
        let grow = |used| place(used).map(|(_, end)| end);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow) {
            Ok(used) => {
                let (start, _) = place(used).unwrap_or((0, 0));
                self.bytes.get().cast::<u8>().wrapping_add(start)
            }
            Err(_) => ptr::null_mut(),
        }
    }

    // SAFETY: 1. nothing is done.
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
