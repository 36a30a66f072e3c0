//! Size classes: which block a request gets.
//!
//! Eight steps to each doubling, as mimalloc has them (Leijen, Zorn and de Moura
//! 2019; the bins of Lea's malloc are the root): a block is at most 12.5 % or 7 bytes
//! larger than its request.
//!
//! ```text
//!   16 24 32 40 48 56 64 │ 72 80 88 … 128 │ 144 160 … 256 │ … │ 72 KiB … 128 KiB
//!   group 0              │ group 1        │ group 2       │ … │ group 11
//! ```
//!
//! Requests of less than 9 bytes take 16, too. A request whose alignment is more than 8
//! takes the first class from its size on that is a multiple of the alignment:
//! blocks lie at multiples of their size from an address aligned to [`UNIT`].
//!
//! A span is as many units of 64 KiB as are needed so that no more than an eighth of
//! it is left over at the end.

use core::alloc::Layout;

use crate::UNIT;

/// The size that the largest class has, in bytes.
pub(crate) const BLOCK_MAX: usize = 128 << 10;

/// Classes of one lock.
pub(crate) const GROUP: usize = 8;

/// Groups of classes: a doubling each.
pub(crate) const GROUPS: usize = 12;

/// Classes up to 64 bytes, in steps of 8.
const SMALL: usize = 7;

const CLASSES: usize = SMALL + GROUP * (GROUPS - 1);

/// One of the size classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class(u8);

/// What the blocks and spans of a class are like.
#[derive(Clone, Copy)]
struct Shape {
    /// Bytes of a block.
    size: u32,
    /// Units of a span.
    units: u32,
    /// Blocks of a span.
    blocks: u32,
}

/// By class.
static SHAPES: [Shape; CLASSES] = {
    let mut shapes = [Shape { size: 0, units: 0, blocks: 0 }; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        let size = size_of_class(class);
        let units = units_for(size);
        let blocks = (units * UNIT / size) as u32;
        shapes[class] = Shape { size: size as u32, units: units as u32, blocks };
        class += 1;
    }
    shapes
};

const fn size_of_class(class: usize) -> usize {
    if class < SMALL {
        return 16 + 8 * class;
    }
    let (doubling, step) = ((class - SMALL) / GROUP, (class - SMALL) % GROUP);
    (GROUP + 1 + step) << (doubling + 3)
}

const fn units_for(size: usize) -> usize {
    let mut units = 1;
    while units * UNIT < size || units * UNIT % size > units * UNIT / 8 {
        units += 1;
    }
    assert!(units <= 8);
    units
}

impl Class {
    /// The class of a request, if there is one.
    pub(crate) fn of(layout: Layout) -> Option<Class> {
        if layout.align() > UNIT {
            return None;
        }
        let size = layout.pad_to_align().size();
        if size > BLOCK_MAX {
            return None;
        }
        // An alignment is a power of two: a mask is quicker than a division.
        let is_aligned = |class: &Class| class.size() & (layout.align() - 1) == 0;
        (Class::of_size(size).0..CLASSES as u8).map(Class).find(is_aligned)
    }

    fn of_size(size: usize) -> Class {
        if size <= 64 {
            return Class((size.max(16).div_ceil(8) - 2) as u8);
        }
        // The doubling that begins below the size, and which eighth of it.
        let doubling = (size - 1).ilog2() as usize;
        let eighth = ((size - 1) >> (doubling - 3)) - GROUP;
        Class((SMALL + (doubling - 6) * GROUP + eighth) as u8)
    }

    fn shape(self) -> &'static Shape {
        &SHAPES[usize::from(self.0)]
    }

    /// Bytes of a block.
    pub(crate) fn size(self) -> usize {
        self.shape().size as usize
    }

    /// Units of a span.
    pub(crate) fn units(self) -> u32 {
        self.shape().units
    }

    /// Blocks of a span.
    pub(crate) fn blocks(self) -> u32 {
        self.shape().blocks
    }

    /// Whose lock it is under.
    pub(crate) fn group(self) -> usize {
        (usize::from(self.0) + GROUP - SMALL) / GROUP
    }

    /// Its place in its group.
    pub(crate) fn place(self) -> usize {
        (usize::from(self.0) + GROUP - SMALL) % GROUP
    }

    /// Not 0, for tables that begin as zeros.
    pub(crate) fn to_mark(self) -> u32 {
        u32::from(self.0) + 1
    }

    /// The class with this mark.
    pub(crate) fn of_mark(mark: u32) -> Option<Class> {
        let class = u8::try_from(mark.checked_sub(1)?).ok()?;
        (usize::from(class) < CLASSES).then_some(Class(class))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(size: usize, align: usize) -> Option<Class> {
        Class::of(Layout::from_size_align(size, align).unwrap())
    }

    #[test]
    fn every_size_gets_the_smallest_class_that_holds_it() {
        for size in 1..=BLOCK_MAX {
            let class = class(size, 1).unwrap();
            assert!(class.size() >= size);
            assert!(class.0 == 0 || size_of_class(usize::from(class.0) - 1) < size);
            let waste = class.size() - size;
            assert!(size <= 8 || waste <= 7 || waste * 8 <= size, "{size}: {}", class.size());
        }
        assert_eq!(class(BLOCK_MAX, 1).unwrap().0 as usize, CLASSES - 1);
        assert_eq!(class(BLOCK_MAX + 1, 1), None);
    }

    #[test]
    fn blocks_are_aligned_where_they_lie() {
        for align in (0..=16).map(|shift| 1usize << shift) {
            for size in [1, 24, 100, 1000, 5000, 70_000] {
                let class = class(size, align).unwrap();
                assert!(class.size() >= size && class.size().is_multiple_of(align));
            }
        }
        assert_eq!(class(1, 2 * UNIT), None);
        assert_eq!(class(BLOCK_MAX - 1, UNIT).unwrap().size(), BLOCK_MAX);
    }

    #[test]
    fn spans_leave_little_over_and_groups_are_doublings() {
        let mut groups = [0; GROUPS];
        for number in 0..CLASSES {
            let class = Class(number as u8);
            let span = class.units() as usize * UNIT;
            let over = span - class.blocks() as usize * class.size();
            assert!(over * 8 <= span && class.blocks() <= 4096 * class.units());
            groups[class.group()] += 1;
            assert!(class.place() < GROUP);
            assert_eq!(Class::of_mark(class.to_mark()), Some(class));
        }
        assert_eq!((groups[0], &groups[1..]), (SMALL, &[GROUP; GROUPS - 1][..]));
        assert_eq!((Class::of_mark(0), Class::of_mark(CLASSES as u32 + 1)), (None, None));
    }
}
