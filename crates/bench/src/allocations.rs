//! An allocator that counts, for those who say that they allocate nothing.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Calls of this thread that took memory.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator; every call that takes memory counts for its thread.
#[derive(Debug)]
pub struct Counting;

// SAFETY: 1. every call goes to the system's allocator as it came, and its answer back; 2. the
// counter is a plain cell of the thread, which allocates nothing and has nothing to drop.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: what `GlobalAlloc` asks of callers is all that is asked.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is ours.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: what `GlobalAlloc` asks of callers is all that is asked.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is ours.
        unsafe { System.alloc_zeroed(layout) }
    }

    // SAFETY: what `GlobalAlloc` asks of callers is all that is asked.
    unsafe fn realloc(&self, start: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is ours.
        unsafe { System.realloc(start, layout, len) }
    }

    // SAFETY: what `GlobalAlloc` asks of callers is all that is asked.
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is ours.
        unsafe { System.dealloc(start, layout) }
    }
}

fn count() {
    // A thread that ends may allocate after its cells are gone.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

/// How often this thread has taken memory; always 0 in a program whose global allocator is
/// not [`Counting`].
pub fn calls_of_this_thread() -> u64 {
    CALLS.with(Cell::get)
}
