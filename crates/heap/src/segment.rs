//! Where the segment is, and the tables beside it.
//!
//! Each unit of 64 KiB has a row in each table. 560 bytes in all, 0.9 %, and they
//! cost nothing before the unit is first used.
//!
//! Rows are atomic numbers. It is locks that keep them right ([`Run`] rows the
//! segment's, [`Span`] rows and bits their class's); being atomic, a row that is
//! read under the wrong lock, because a program frees what it never got, is a wrong
//! number and not undefined behaviour.

#![allow(unsafe_code)]

use core::ops::Index;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::UNIT;
use crate::pages::Pages;

/// A number of a row.
#[repr(transparent)]
pub(crate) struct Number(AtomicU32);

impl Number {
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: u32) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// 64 bits of a row.
#[repr(transparent)]
pub(crate) struct Word(AtomicU64);

impl Word {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// A unit as the first or the last of a free run. All zeros in any other.
#[repr(C)]
pub(crate) struct Run {
    /// Units of the run.
    pub(crate) len: Number,
    /// 0, or what the run's bytes are: see `runs`.
    pub(crate) state: Number,
    /// The neighbours in the list of runs of about this length, as unit + 1; only in
    /// the first.
    pub(crate) next: Number,
    pub(crate) prev: Number,
}

/// A unit as part of a span; all but `head` count in the first of its span only.
#[repr(C)]
pub(crate) struct Span {
    /// The first unit of the span.
    pub(crate) head: Number,
    /// The mark of the class; 0 in no span.
    pub(crate) class: Number,
    /// Blocks given out.
    pub(crate) used: Number,
    /// No block from this one on was ever given out since the span began.
    pub(crate) fresh: Number,
    /// 1 if the pages of such blocks are zeros.
    pub(crate) zeros: Number,
    /// No word of bits before this one has a free block.
    pub(crate) hint: Number,
    /// The neighbours among its class's spans with free blocks, as unit + 1.
    pub(crate) next: Number,
    pub(crate) prev: Number,
}

/// Words of bits for a unit: one bit for each 16 bytes.
pub(crate) const WORDS: u32 = (UNIT / 16) as u32 / u64::BITS;

/// The most units that a segment has: words of bits have 32-bit numbers.
pub(crate) const UNITS_MAX: u32 = u32::MAX / WORDS;

/// Rows in ordinary memory.
pub(crate) struct Table<T> {
    start: NonNull<T>,
    len: u32,
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Table<T> {
        *self
    }
}

impl<T> Copy for Table<T> {}

// SAFETY: 1. a table gives out shared references only; 2. those may go to any thread
// as its rows are Sync.
unsafe impl<T: Sync> Send for Table<T> {}

impl<T> Index<u32> for Table<T> {
    type Output = T;

    fn index(&self, row: u32) -> &T {
        assert!(row < self.len, "row {row} of {}", self.len);
        // SAFETY: 1. the table has this row; 2. it is a value of its type, as zeros
        // are (`Segment::new`); 3. it stays as long as the heap, whose part the table
        // is, and changes only by its atomics.
        unsafe { self.start.add(row as usize).as_ref() }
    }
}

/// The segment: addresses and tables, which don't change.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    base: NonNull<u8>,
    /// Units that addresses are set aside for.
    pub(crate) units: u32,
    pub(crate) runs: Table<Run>,
    pub(crate) spans: Table<Span>,
    pub(crate) bits: Table<Word>,
}

// SAFETY: 1. `base` is only computed with here, and given out as a raw pointer; the
// tables are Send.
unsafe impl Send for Segment {}

/// Bytes of the tables' rows for one unit.
const ROW: usize = size_of::<Run>() + size_of::<Span>() + WORDS as usize * size_of::<Word>();

impl Segment {
    /// Sets aside `units` units, and tables for them.
    pub(crate) fn new(pages: &impl Pages, units: u32) -> Option<Segment> {
        let len = units as usize * UNIT;
        let base = (len > 0).then(|| pages.reserve(len)).flatten()?;
        assert!(base.addr().get().is_multiple_of(UNIT), "the segment is not aligned");
        let Some(side) = pages.side(Segment::side_len(units)) else {
            // SAFETY: 1. it was reserved above with this length, and isn't used yet.
            unsafe { pages.release(base, len) };
            return None;
        };
        let bits = side.cast::<Word>();
        let words = units * WORDS;
        // SAFETY: 1. `side_len` has room for the three tables; words first, as they
        // have the largest alignment, to which pages are aligned.
        let (spans, runs) = unsafe {
            let spans = bits.add(words as usize).cast::<Span>();
            (spans, spans.add(units as usize).cast::<Run>())
        };
        Some(Segment {
            base,
            units,
            runs: Table { start: runs, len: units },
            spans: Table { start: spans, len: units },
            bits: Table { start: bits, len: words },
        })
    }

    /// Gives everything back.
    ///
    /// # Safety
    /// Nobody uses the segment, or this value or a copy of it, any more; it came
    /// from `new` with the same `pages`.
    pub(crate) unsafe fn release(self, pages: &impl Pages) {
        // SAFETY: 1. both came from `pages` with these lengths (`new`); 2. nobody
        // uses them, by the caller's promise.
        unsafe {
            pages.release(self.base, self.units as usize * UNIT);
            pages.release_side(self.bits.start.cast(), Segment::side_len(self.units));
        }
    }

    fn side_len(units: u32) -> usize {
        (units as usize * ROW).next_multiple_of(faultless_addr::PAGE_SIZE)
    }

    /// The first byte.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The address `offset` bytes from the start, which the segment has.
    pub(crate) fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.units as usize * UNIT);
        // SAFETY: 1. the offset is inside the addresses that were set aside.
        unsafe { self.base.add(offset) }
    }

    /// How far `ptr` is from the start, if it is in the segment.
    pub(crate) fn offset_of(&self, ptr: NonNull<u8>) -> Option<usize> {
        let offset = ptr.addr().get().checked_sub(self.base.addr().get())?;
        (offset < self.units as usize * UNIT).then_some(offset)
    }

    /// Bytes of memory that the tables' rows for `units` units take.
    pub(crate) fn bookkeeping_bytes(units: u32) -> usize {
        units as usize * ROW
    }
}
