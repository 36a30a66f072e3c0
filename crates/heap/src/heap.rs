//! The heap: each request to a block of a span or to a mapping of its own.

#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use faultless_addr::PAGE_SIZE;

use crate::UNIT;
use crate::blocks::{Freed, Group, Misuse, check_span};
use crate::class::{BLOCK_MAX, Class, GROUPS};
use crate::lock::{Lock, Locked};
use crate::pages::Pages;
use crate::runs::{Bytes, Runs};
use crate::segment::{Segment, UNITS_MAX};

/// What a heap is like.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of addresses to set aside for the segment: all small blocks together
    /// can't be more. Whole units of 64 KiB, at most 4 TiB.
    pub capacity: usize,
    /// Requests of so many bytes or more are mappings of their own, at most 128 KiB:
    /// `M_MMAP_THRESHOLD` of mallopt(3), which begins with the same.
    pub threshold: usize,
}

impl Options {
    /// 64 GiB of addresses, mappings from 128 KiB on.
    pub const DEFAULT: Options = Options { capacity: 64 << 30, threshold: BLOCK_MAX };
}

/// What a heap takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of the segment below the break.
    pub segment_bytes: usize,
    /// Those of them that no span has.
    pub free_bytes: usize,
    /// Bytes of the mappings of large requests.
    pub mapped_bytes: usize,
    /// Bytes of ordinary memory that the tables take, besides the heap itself.
    pub bookkeeping_bytes: usize,
}

/// A heap over the memory of `P`. It takes nothing before the first request.
///
/// All its methods may be called by many threads if `L` is a lock for many, as
/// `std::sync::Mutex<()>` is (feature `std`).
///
/// Dropping it ends the segment, with every block in it; mappings that were not
/// freed stay.
pub struct Heap<P: Pages, L: Lock> {
    pub(crate) pages: P,
    options: Options,
    /// Rank 2: taken while a group is held, never the other way round.
    runs: Locked<L, Runs>,
    /// Rank 1: one at a time.
    groups: [Locked<L, Group>; GROUPS],
    pub(crate) mapped: AtomicUsize,
}

/// How a request is met.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// It has no bytes.
    Nothing,
    Block(Class),
    /// Of this length, in whole pages.
    Mapping(usize),
}

/// What the bytes of an answer must be that no old bytes are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    Any,
    Zeros,
}

impl<P: Pages, L: Lock> Heap<P, L> {
    /// A heap that takes its memory from `pages`.
    pub const fn new(pages: P, options: Options) -> Heap<P, L> {
        Heap {
            pages,
            options,
            runs: Locked::new(Runs::NEW),
            groups: [const { Locked::new(Group::NEW) }; GROUPS],
            mapped: AtomicUsize::new(0),
        }
    }

    /// Where its memory comes from.
    pub fn pages(&self) -> &P {
        &self.pages
    }

    /// Memory for `layout`; `None` where there is none. A request of no bytes gets a
    /// pointer to none.
    pub fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.obtain(layout, Fill::Any)
    }

    /// Like [`Heap::allocate`], and all zeros. Pages that nobody has used yet are
    /// zeros already, and aren't touched.
    pub fn allocate_zeroed(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.obtain(layout, Fill::Zeros)
    }

    /// Frees memory. A pointer that isn't this heap's or is free already ends the
    /// process, as far as it is seen.
    ///
    /// # Safety
    /// `ptr` came from this heap for `layout`, and nobody uses it any more.
    pub unsafe fn deallocate(&self, ptr: NonNull<u8>, layout: Layout) {
        match self.route(layout) {
            Route::Nothing => {}
            Route::Block(class) => {
                if let Err(misuse) = self.free_block(ptr, class) {
                    give_up(misuse);
                }
            }
            Route::Mapping(len) => {
                // SAFETY: 1. a pointer for this layout came from `map` or `remap` with
                // this length, as `route` depends on nothing else; 2. nobody uses it,
                // by the caller's promise.
                unsafe { self.pages.unmap(ptr, len) };
                self.mapped.fetch_sub(len, Ordering::Relaxed);
            }
        }
    }

    /// Gives free memory of the segment back, as `malloc_trim(3)` does: the break
    /// moves down, and the pages of free runs are discarded. Answers how many bytes.
    /// It never happens by itself.
    pub fn trim(&self) -> usize {
        self.runs.with(|runs| runs.trim(&self.pages))
    }

    /// Bytes that memory for `layout` really has.
    pub fn usable_size(&self, layout: Layout) -> usize {
        match self.route(layout) {
            Route::Nothing => 0,
            Route::Block(class) => class.size(),
            Route::Mapping(len) => len,
        }
    }

    /// What it takes now.
    pub fn stats(&self) -> Stats {
        let (units, free) = self.runs.with(|runs| runs.count());
        Stats {
            segment_bytes: units as usize * UNIT,
            free_bytes: free as usize * UNIT,
            mapped_bytes: self.mapped.load(Ordering::Relaxed),
            bookkeeping_bytes: Segment::bookkeeping_bytes(units),
        }
    }

    /// Checks every table. Nobody else may use the heap meanwhile.
    pub fn check_invariants(&self) {
        self.runs.with(|runs| runs.check_invariants(check_span));
    }

    pub(crate) fn route(&self, layout: Layout) -> Route {
        if layout.size() == 0 {
            return Route::Nothing;
        }
        match Class::of(layout).filter(|_| layout.size() < self.options.threshold) {
            Some(class) => Route::Block(class),
            // A layout is at most isize::MAX bytes: rounding up doesn't overflow.
            None => Route::Mapping(layout.size().next_multiple_of(PAGE_SIZE)),
        }
    }

    pub(crate) fn obtain(&self, layout: Layout, fill: Fill) -> Option<NonNull<u8>> {
        match self.route(layout) {
            Route::Nothing => Some(dangling(layout)),
            Route::Mapping(len) => {
                let start = self.pages.map(len, layout.align())?;
                self.mapped.fetch_add(len, Ordering::Relaxed);
                Some(start)
            }
            Route::Block(class) => {
                let (block, bytes) = self.take_block(class)?;
                if fill == Fill::Zeros && bytes == Bytes::Any {
                    // SAFETY: 1. the block is ours alone until we return it; 2. its
                    // class has room for the layout.
                    unsafe { block.write_bytes(0, layout.size()) };
                }
                Some(block)
            }
        }
    }

    fn take_block(&self, class: Class) -> Option<(NonNull<u8>, Bytes)> {
        let capacity = (self.options.capacity / UNIT).min(UNITS_MAX as usize) as u32;
        self.groups[class.group()].with(|group| {
            if group.is_exhausted(class) {
                let take = |runs: &mut Runs| runs.take(class.units(), &self.pages, capacity);
                group.add_span(class, self.runs.with(take)?);
            }
            group.take(class)
        })
    }

    fn free_block(&self, ptr: NonNull<u8>, class: Class) -> Result<(), Misuse> {
        self.groups[class.group()].with(|group| {
            if let Freed::LastOf(unit) = group.give(class, ptr)? {
                self.runs.with(|runs| runs.give(unit, class.units()));
            }
            Ok(())
        })
    }
}

impl<P: Pages, L: Lock> Drop for Heap<P, L> {
    fn drop(&mut self) {
        if let Some(segment) = self.runs.get_mut().end() {
            // SAFETY: 1. no block is used any more, as `Heap` says; 2. the groups have
            // copies of it, and are dropped with us; 3. it came from our pages.
            unsafe { segment.release(&self.pages) };
        }
    }
}

/// A pointer to no bytes.
fn dangling(layout: Layout) -> NonNull<u8> {
    let align = core::num::NonZero::new(layout.align()).expect("an alignment is a power of two");
    NonNull::without_provenance(align)
}

/// Ends the process: a panic can't leave a function of this kind. No lock is held,
/// as saying why may allocate.
extern "C" fn give_up(misuse: Misuse) -> ! {
    match misuse {
        Misuse::NotABlock => panic!("memory was freed that this heap has not given out so"),
        Misuse::FreedTwice => panic!("memory was freed twice"),
    }
}
