//! The blocks of spans: which are free, by a bit for each.
//!
//! ```text
//!   span      │■ ■ □ ■ □ □ □ □ □ □│     ■ given out
//!   bits       0 0 1 0 1 1 1 1 1 1       1 free
//!                      ▲
//!                      └ fresh: nothing from here on was ever given out
//! ```
//!
//! The free block with the lowest address is taken. So the blocks of a span that is
//! never full stay on its first pages, and what lies at `fresh` or beyond is as the
//! pages came: zeros, if they came as zeros.

use core::ptr::NonNull;

use crate::UNIT;
use crate::class::{Class, GROUP};
use crate::runs::{Bytes, Taken};
use crate::segment::{Segment, Span, WORDS};

/// A call that shows that the program is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Misuse {
    /// The pointer is not of a block, or not of one for this layout.
    NotABlock,
    /// The block is free already.
    FreedTwice,
}

/// The classes under one lock.
pub(crate) struct Group {
    segment: Option<Segment>,
    /// By class: the first span with a free block, as unit + 1.
    open: [u32; GROUP],
}

/// What freeing a block leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freed {
    /// Nothing more.
    Done,
    /// The span at this unit has no block in use: its units are to be given back.
    LastOf(u32),
}

impl Group {
    pub(crate) const NEW: Group = Group { segment: None, open: [0; GROUP] };

    /// Has no span of the class a free block?
    pub(crate) fn is_exhausted(&self, class: Class) -> bool {
        self.open[class.place()] == 0
    }

    /// Makes units that were taken for the class a span of it.
    pub(crate) fn add_span(&mut self, class: Class, taken: Taken) {
        let Taken { segment, unit, bytes } = taken;
        self.segment = Some(segment);
        for part in unit..unit + class.units() {
            segment.spans[part].head.set(unit);
        }
        let span = &segment.spans[unit];
        span.class.set(class.to_mark());
        span.used.set(0);
        span.fresh.set(0);
        span.hint.set(0);
        span.zeros.set(u32::from(bytes == Bytes::Zeros));
        for word in 0..class.blocks().div_ceil(u64::BITS) {
            let blocks = (class.blocks() - word * u64::BITS).min(u64::BITS);
            segment.bits[unit * WORDS + word].set(u64::MAX >> (u64::BITS - blocks));
        }
        self.link(&segment, class, unit);
    }

    /// A block of the class, and what its bytes are.
    pub(crate) fn take(&mut self, class: Class) -> Option<(NonNull<u8>, Bytes)> {
        let segment = self.segment?;
        let unit = self.open[class.place()].checked_sub(1)?;
        let span = &segment.spans[unit];
        let block = take_bit(&segment, unit, span);
        span.used.set(span.used.get() + 1);
        if span.used.get() == class.blocks() {
            self.unlink(&segment, class, unit);
        }
        let is_fresh = block >= span.fresh.get();
        if is_fresh {
            span.fresh.set(block + 1);
        }
        let bytes = if is_fresh && span.zeros.get() != 0 { Bytes::Zeros } else { Bytes::Any };
        Some((segment.at(unit as usize * UNIT + block as usize * class.size()), bytes))
    }

    /// Frees the block at `ptr`.
    pub(crate) fn give(&mut self, class: Class, ptr: NonNull<u8>) -> Result<Freed, Misuse> {
        let segment = self.segment.ok_or(Misuse::NotABlock)?;
        let (unit, block) = find(&segment, class, ptr).ok_or(Misuse::NotABlock)?;
        let word = &segment.bits[unit * WORDS + block / u64::BITS];
        let bit = 1 << (block % u64::BITS);
        if word.get() & bit != 0 {
            return Err(Misuse::FreedTwice);
        }
        word.set(word.get() | bit);
        let span = &segment.spans[unit];
        span.hint.set(span.hint.get().min(block / u64::BITS));
        if span.used.get() == class.blocks() {
            self.link(&segment, class, unit);
        }
        span.used.set(span.used.get() - 1);
        if span.used.get() > 0 {
            return Ok(Freed::Done);
        }
        self.unlink(&segment, class, unit);
        span.class.set(0);
        Ok(Freed::LastOf(unit))
    }

    /// Puts a span at the head of those of its class with free blocks.
    fn link(&mut self, segment: &Segment, class: Class, unit: u32) {
        let next = core::mem::replace(&mut self.open[class.place()], unit + 1);
        if next != 0 {
            segment.spans[next - 1].prev.set(unit + 1);
        }
        segment.spans[unit].next.set(next);
        segment.spans[unit].prev.set(0);
    }

    fn unlink(&mut self, segment: &Segment, class: Class, unit: u32) {
        let (next, prev) = (segment.spans[unit].next.get(), segment.spans[unit].prev.get());
        match prev {
            0 => self.open[class.place()] = next,
            _ => segment.spans[prev - 1].next.set(next),
        }
        if next != 0 {
            segment.spans[next - 1].prev.set(prev);
        }
    }
}

/// Takes the lowest free block of a span that has one.
fn take_bit(segment: &Segment, unit: u32, span: &Span) -> u32 {
    let mut at = span.hint.get();
    while segment.bits[unit * WORDS + at].get() == 0 {
        at += 1;
    }
    let word = &segment.bits[unit * WORDS + at];
    let bits = word.get();
    word.set(bits & (bits - 1));
    span.hint.set(at);
    at * u64::BITS + bits.trailing_zeros()
}

/// The span and the number of the block at `ptr`, if a block of the class begins
/// there.
fn find(segment: &Segment, class: Class, ptr: NonNull<u8>) -> Option<(u32, u32)> {
    let offset = segment.offset_of(ptr)?;
    let unit = segment.spans[(offset / UNIT) as u32].head.get();
    let inside = u32::try_from(offset.checked_sub(unit as usize * UNIT)?).ok()?;
    let size = class.size() as u32;
    let block = inside / size;
    let fits = segment.spans[unit].class.get() == class.to_mark()
        && block < class.blocks()
        && block * size == inside;
    fits.then_some((unit, block))
}

/// How many units the span at `unit` has; checks that its bits and its count agree.
pub(crate) fn check_span(segment: &Segment, unit: u32) -> u32 {
    let span = &segment.spans[unit];
    let Some(class) = Class::of_mark(span.class.get()) else { return 0 };
    let words = 0..class.blocks().div_ceil(u64::BITS);
    let free = |word| segment.bits[unit * WORDS + word].get().count_ones();
    let used = class.blocks() - words.map(free).sum::<u32>();
    assert_eq!(span.used.get(), used, "the span at {unit} has another count");
    assert!(used > 0, "the span at {unit} is empty and was not given back");
    for part in unit..unit + class.units() {
        assert_eq!(segment.spans[part].head.get(), unit);
    }
    class.units()
}
