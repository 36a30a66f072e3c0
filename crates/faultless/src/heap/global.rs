//! The large allocations of a whole process, in memory that may be larger than the
//! budget.
//!
//! Who gets which memory:
//!
//! ```text
//!                       the thread is inside          outside of the runtime
//!   smaller             System                        System
//!   threshold or more   System                        the Vm, once it was given
//!   freed: System's     System                        System
//!   freed: the Vm's     noted, and freed later        the Vm
//! ```
//!
//! *Inside* are the runtime's own threads, and every thread during a call of this crate
//! or while it serves a fault of its own. Whose a pointer is, its address says: the
//! `Vm`'s arena never changes.
//!
//! # Why nobody waits for itself
//!
//! A fault is served by somebody who is inside. It would wait for itself if what it
//! needs could come only after a fault that it must serve. It needs:
//!
//! 1. *Memory that it touches.* All that the runtime keeps was allocated inside
//!    (`Inner::core` is the only way in, and enters) or is of a fixed size less than the
//!    least threshold, so it is `System`'s. What a call takes from its caller is collected
//!    inside, before any lock, or touched with no lock held. Frames' bytes are at the pool's addresses. Stacks are nobody's
//!    of ours.
//! 2. *Locks.* Those of the runtime are taken inside only and, by 1., never held at a
//!    fault. This allocator has one, around the list of what is to be freed later: under
//!    it there is only that list, which is `System`'s, as it grows inside only; it is let
//!    go before anything is freed. Who takes it is at work, so that no fork copies it taken.
//!    `System`'s are held by code that touches its own
//!    memory only. The lock of `std`'s stderr is not taken (`say.rs` of the runtime).
//! 3. *Other faults served*, because it allocates, frees or reallocates. Inside,
//!    allocating is `System`'s, and freeing the `Vm`'s memory is a note in that list.
//!    Reallocating the `Vm`'s memory would touch it, but by 1. the runtime has none.
//!
//! One thing is left to the user: a [`Pager`](crate::Pager) of one's own is called
//! inside, and must not touch the `Vm`'s memory. What it allocates while it is called is
//! `System`'s by itself; what it is made with, make by [`unmanaged`]. A panic hook that
//! runs inside is under the same law.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::{self, NonNull};
use std::sync::{Mutex, OnceLock, PoisonError};

use faultless_addr::{PAGE_SIZE, VirtAddr, VirtRange};
use faultless_heap::{Pages, Place};
use faultless_runtime::{Active, Inside, is_inside};

use super::mappings::Mappings;
use super::pages::VmPages;
use crate::error::Error;
use crate::options::Delivery;
use crate::vm::Vm;

/// A process's allocator: `System`, but for large requests, which a [`Vm`] serves once
/// it was given.
///
/// ```
/// #[global_allocator]
/// static HEAP: faultless::GlobalHeap = faultless::GlobalHeap::new();
///
/// # fn main() -> faultless::Result<()> {
/// let swap = std::env::temp_dir();
/// HEAP.serve_from(&faultless::Vm::builder().memory(8 << 20).swap(swap, 64 << 20).build()?)?;
/// let numbers: Vec<u64> = (0..2_000_000).collect(); // 16 MB, under 8 MiB
/// assert_eq!(numbers[1_999_999], 1_999_999);
/// # Ok(())
/// # }
/// ```
///
/// What budget and swap can't hold is refused: `try_reserve` answers an error, `push`
/// ends the process. A fork's child has a copy of what its parent has in the `Vm`, unless
/// that was built otherwise ([`OnFork`](crate::OnFork)): then it gets `System`'s memory, and
/// SIGBUS where it touches the other. The file `heap/global.rs` proves that no thread waits
/// for itself.
pub struct GlobalHeap {
    threshold: usize,
    serving: OnceLock<Serving>,
    /// Memory of the `Vm` that was freed inside; filled inside only.
    later: Mutex<Vec<Later>>,
}

struct Serving {
    pages: VmPages,
    arena: VirtRange,
}

/// Memory that somebody has freed who must not wait.
struct Later {
    start: usize,
    len: usize,
}

/// Runs `f` with allocations from the system, whatever their size: for what a
/// [`Pager`](crate::Pager) keeps, if the process has a [`GlobalHeap`].
pub fn unmanaged<R>(f: impl FnOnce() -> R) -> R {
    let _inside = Inside::at_rest();
    f()
}

impl GlobalHeap {
    /// The threshold, if not said: 1 MiB.
    pub const THRESHOLD: usize = 1 << 20;
    /// The least there can be. What is smaller is not worth a mapping.
    pub const THRESHOLD_MIN: usize = 64 << 10;

    /// For requests of 1 MiB and more.
    pub const fn new() -> GlobalHeap {
        GlobalHeap::with_threshold(GlobalHeap::THRESHOLD)
    }

    /// For requests of `bytes` and more, 64 KiB at least.
    pub const fn with_threshold(bytes: usize) -> GlobalHeap {
        let least = GlobalHeap::THRESHOLD_MIN;
        GlobalHeap {
            threshold: if bytes > least { bytes } else { least },
            serving: OnceLock::new(),
            later: Mutex::new(Vec::new()),
        }
    }

    /// From now on and for good, large requests are served by `vm`, and their faults by
    /// its threads.
    ///
    /// # Errors
    ///
    /// Where another `Vm` serves already.
    pub fn serve_from(&'static self, vm: &Vm) -> Result<(), Error> {
        self.serve_from_by(vm, Delivery::Thread)
    }

    /// As [`serve_from`](Self::serve_from), with the delivery of faults chosen.
    pub fn serve_from_by(&'static self, vm: &Vm, delivery: Delivery) -> Result<(), Error> {
        let mappings = Mappings::new(vm, delivery);
        let arena = mappings.arena();
        let serving = Serving { pages: VmPages::new(mappings), arena };
        self.serving.set(serving).map_err(|_| Error::Option {
            option: "the memory of the global heap",
            value: "of a second Vm".into(),
            remedy: "choose one, once",
        })
    }

    /// Is `ptr` into memory of the `Vm` that serves?
    pub fn has(&self, ptr: *const u8) -> bool {
        self.owner(ptr.cast_mut()).is_some()
    }

    /// Who is to serve a request of so many bytes, if not `System`.
    fn server(&self, size: usize) -> Option<&VmPages> {
        if size < self.threshold || is_inside() {
            return None;
        }
        let serving = self.serving.get()?;
        serving.pages.mappings.is_here().then_some(&serving.pages)
    }

    /// Whose memory it is, if not `System`'s.
    fn owner(&self, ptr: *mut u8) -> Option<&VmPages> {
        let serving = self.serving.get()?;
        serving.arena.contains(VirtAddr(ptr.addr() as u64)).then_some(&serving.pages)
    }

    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Later>> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frees what others have left, now that we may wait.
    fn free_left(&self, pages: &VmPages) {
        let left = {
            // A fork waits for who has the lock.
            let _active = Active::enter();
            std::mem::take(&mut *self.list())
        };
        for Later { start, len } in left {
            if let Some(start) = NonNull::new(ptr::with_exposed_provenance_mut(start)) {
                // SAFETY: 1. `dealloc` was given it, so it is a mapping of this length
                // (`len_of`) that nobody uses; 2. it was in the list once, and is out.
                unsafe { pages.unmap(start, len) };
            }
        }
    }

    /// # Safety
    /// As for `GlobalAlloc::realloc`.
    unsafe fn move_to_new(&self, ptr: *mut u8, old: Layout, new: Layout) -> *mut u8 {
        // SAFETY: 1. the sizes aren't 0, by the caller's promise; 2. both have so many
        // bytes, and the new memory is ours alone; 3. the old is the caller's, who does
        // not use it if we answer another address.
        unsafe {
            let to = self.alloc(new);
            if !to.is_null() {
                to.copy_from_nonoverlapping(ptr, old.size().min(new.size()));
                self.dealloc(ptr, old);
            }
            to
        }
    }
}

impl Default for GlobalHeap {
    fn default() -> GlobalHeap {
        GlobalHeap::new()
    }
}

/// A layout is at most isize::MAX bytes: rounding up doesn't overflow.
fn len_of(size: usize) -> usize {
    size.next_multiple_of(PAGE_SIZE)
}

fn or_null(memory: Option<NonNull<u8>>) -> *mut u8 {
    memory.map_or(ptr::null_mut(), NonNull::as_ptr)
}

// SAFETY: 1. `System` is an allocator, and so are mappings: nobody else's, aligned as
// asked, of their length until they are unmapped; 2. a pointer goes back to where it
// came from: the arena's addresses are given out by its `Vm` only, which is never taken
// out of `serving`; 3. nothing here unwinds: what it calls answers with values, but for
// bugs of the runtime, which end the process.
unsafe impl GlobalAlloc for GlobalHeap {
    /// # Safety
    /// As the trait says.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.server(layout.size()) {
            Some(pages) => {
                self.free_left(pages);
                or_null(pages.map(len_of(layout.size()), layout.align()))
            }
            // SAFETY: the caller's promise is ours.
            None => unsafe { System.alloc(layout) },
        }
    }

    /// # Safety
    /// As the trait says.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.server(layout.size()) {
            // SAFETY: the caller's promise is ours. Mappings begin as zeros.
            Some(_) => unsafe { self.alloc(layout) },
            // SAFETY: the caller's promise is ours.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    /// # Safety
    /// As the trait says.
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let Some((pages, start)) = self.owner(ptr).zip(NonNull::new(ptr)) else {
            // SAFETY: 1. what isn't the `Vm`'s came from `System`; the rest is the
            // caller's promise.
            return unsafe { System.dealloc(ptr, layout) };
        };
        let len = len_of(layout.size());
        if !pages.mappings.is_here() {
            return; // It is the parent's, as is the thread that may hold the list.
        }
        if is_inside() {
            let _active = Active::enter();
            return self.list().push(Later { start: ptr.expose_provenance(), len });
        }
        self.free_left(pages);
        // SAFETY: 1. it came from `map` or `remap` with this length, as `len_of` depends
        // on nothing else; 2. nobody uses it, by the caller's promise.
        unsafe { pages.unmap(start, len) };
    }

    /// # Safety
    /// As the trait says.
    unsafe fn realloc(&self, ptr: *mut u8, old: Layout, new_size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(new_size, old.align()) else {
            return ptr::null_mut();
        };
        match (self.owner(ptr), self.server(new_size)) {
            // SAFETY: 1. it is `System`'s; the rest is the caller's promise.
            (None, None) => unsafe { System.realloc(ptr, old, new_size) },
            (Some(pages), Some(_)) if old.align() <= PAGE_SIZE => {
                self.free_left(pages);
                let (was, wanted) = (len_of(old.size()), len_of(new_size));
                or_null(NonNull::new(ptr).and_then(|start| {
                    // SAFETY: 1. it came from here with this length; 2. if the answer is
                    // another address, nobody uses the old one, by the caller's promise.
                    unsafe { pages.remap(start, was, wanted, Place::Any) }
                }))
            }
            // SAFETY: the caller's promise is ours.
            _ => unsafe { self.move_to_new(ptr, old, new) },
        }
    }
}
