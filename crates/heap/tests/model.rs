//! The heap against a list of what was given out, and what it promises of pages.

mod common;

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::process::Command;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::Mmap;
use faultless_heap::{Alone, Heap, Options, UNIT};
use proptest::prelude::*;

type TestHeap = Heap<Mmap, Alone>;

const KIB: usize = 1024;

fn heap(capacity: usize) -> TestHeap {
    Heap::new(Mmap::new(), Options { capacity, ..Options::DEFAULT })
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Allocate(usize, usize),
    AllocateZeroed(usize, usize),
    Free(usize),
    Reallocate(usize, usize, usize),
    ReallocateZeroed(usize, usize, usize),
    Trim,
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0..200usize, 4 => 0..5000usize, 3 => 0..140_000usize, 1 => 0..600_000usize]
}

fn align() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0..5u32, 1 => 0..19u32].prop_map(|shift| 1 << shift)
}

fn step() -> impl Strategy<Value = Step> {
    let pick = any::<usize>();
    prop_oneof![
        6 => (size(), align()).prop_map(|(size, align)| Step::Allocate(size, align)),
        2 => (size(), align()).prop_map(|(size, align)| Step::AllocateZeroed(size, align)),
        7 => pick.prop_map(Step::Free),
        2 => (pick, size(), align()).prop_map(|(at, size, align)| Step::Reallocate(at, size, align)),
        1 => (pick, size(), align())
            .prop_map(|(at, size, align)| Step::ReallocateZeroed(at, size, align)),
        1 => Just(Step::Trim),
    ]
}

/// A piece of memory that is filled with one byte.
struct Piece {
    start: NonNull<u8>,
    layout: Layout,
    fill: u8,
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        // SAFETY: 1. the heap gave out so many bytes; 2. they were written, or are
        // zeros, before anybody looks.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }

    fn check(&self) {
        assert!(self.bytes().iter().all(|byte| *byte == self.fill), "somebody else wrote here");
    }

    fn fill(&mut self, fill: u8) {
        self.fill = fill;
        // SAFETY: the heap gave out so many bytes.
        unsafe { self.start.write_bytes(fill, self.layout.size()) };
    }
}

struct Model<'a> {
    heap: &'a TestHeap,
    pieces: Vec<Piece>,
    count: u8,
}

impl Model<'_> {
    fn apply(&mut self, step: Step) {
        match step {
            Step::Allocate(size, align) => {
                let start = self.heap.allocate(layout(size, align)).unwrap();
                self.add(start, layout(size, align));
            }
            Step::AllocateZeroed(size, align) => {
                let start = self.heap.allocate_zeroed(layout(size, align)).unwrap();
                Piece { start, layout: layout(size, align), fill: 0 }.check();
                self.add(start, layout(size, align));
            }
            Step::Free(at) => {
                let Some(piece) = self.take(at) else { return };
                // SAFETY: it came from this heap, and is forgotten.
                unsafe { self.heap.deallocate(piece.start, piece.layout) };
            }
            Step::Reallocate(at, size, align) => {
                let Some(Piece { start, layout: old, fill }) = self.take(at) else { return };
                let new = layout(size, align);
                // SAFETY: as above.
                let start = unsafe { self.heap.reallocate(start, old, new) }.unwrap();
                Piece { start, layout: layout(size.min(old.size()), align), fill }.check();
                self.add(start, new);
            }
            Step::ReallocateZeroed(at, size, align) => {
                let Some(Piece { start, layout: old, fill }) = self.take(at) else { return };
                let new = layout(size, align);
                // SAFETY: as above.
                let start = unsafe { self.heap.reallocate_zeroed(start, old, new) }.unwrap();
                let bytes = Piece { start, layout: new, fill };
                let (before, after) = bytes.bytes().split_at(size.min(old.size()));
                assert!(before.iter().all(|byte| *byte == fill) && after.iter().all(|b| *b == 0));
                self.add(start, new);
            }
            Step::Trim => {
                self.heap.trim();
            }
        }
    }

    fn take(&mut self, at: usize) -> Option<Piece> {
        let at = at.checked_rem(self.pieces.len())?;
        let piece = self.pieces.swap_remove(at);
        piece.check();
        Some(piece)
    }

    fn add(&mut self, start: NonNull<u8>, layout: Layout) {
        assert!(start.addr().get().is_multiple_of(layout.align()));
        self.count = self.count.wrapping_add(1);
        let mut piece = Piece { start, layout, fill: 0 };
        piece.fill(self.count);
        self.pieces.push(piece);
    }

    fn check(&self) {
        let mut by_address = BTreeMap::new();
        for piece in self.pieces.iter().filter(|piece| piece.layout.size() > 0) {
            let start = piece.start.addr().get();
            let end = start + piece.layout.size();
            let before = by_address.range(..end).next_back();
            assert!(before.is_none_or(|(_, before)| *before <= start), "two pieces overlap");
            by_address.insert(start, end);
        }
        self.heap.check_invariants();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn what_is_given_out_is_ours_alone_until_it_is_given_back(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let heap = heap(256 << 20);
        let mut model = Model { heap: &heap, pieces: Vec::new(), count: 0 };
        for step in steps {
            model.apply(step);
            model.check();
        }
        while !model.pieces.is_empty() {
            model.apply(Step::Free(0));
        }
        heap.check_invariants();
        let stats = heap.stats();
        prop_assert_eq!((stats.free_bytes, stats.mapped_bytes), (stats.segment_bytes, 0));
        heap.trim();
        prop_assert_eq!(heap.stats().segment_bytes, 0);
    }
}

#[test]
fn nothing_is_taken_early_and_nothing_kept_after_the_end() {
    let outstanding = Arc::new(AtomicUsize::new(0));
    let taken = || outstanding.load(Ordering::SeqCst);
    let mut pages = Mmap::new();
    pages.outstanding = Some(outstanding.clone());
    let heap: TestHeap = Heap::new(pages, Options { capacity: 1 << 30, ..Options::DEFAULT });
    assert_eq!(taken(), 0);
    let large = layout(1 << 20, 1 << 17);
    let mapping = heap.allocate(large).unwrap();
    assert_eq!(taken(), 1 << 20);
    heap.allocate(layout(10, 1)).unwrap();
    assert!(taken() > 1 << 30);
    // SAFETY: 1. the mapping has this layout, then the smaller one; 2. freed once.
    unsafe {
        let small = layout(1 << 18, 1 << 17);
        let mapping = heap.reallocate(mapping, large, small).unwrap();
        heap.deallocate(mapping, small);
    }
    drop(heap);
    assert_eq!(taken(), 0);
}

#[test]
fn allocating_and_freeing_touch_no_page() {
    let heap = heap(256 << 20);
    let sizes = [16, 40, 1000, 4096, 9000, 70_000];
    let mut blocks: Vec<_> = (0..900).map(|n| layout(sizes[n % 6], 8)).collect();
    let mut pointers: Vec<_> = blocks.iter().map(|block| heap.allocate(*block).unwrap()).collect();
    heap.pages().untouchable(|| {
        for (at, block) in blocks.iter().enumerate().filter(|(at, _)| at % 3 != 0) {
            // SAFETY: it is freed once, and its place filled again below.
            unsafe { heap.deallocate(pointers[at], *block) };
        }
        for at in (0..blocks.len()).filter(|at| at % 3 != 0) {
            pointers[at] = heap.allocate(blocks[at]).unwrap();
        }
        // The class has room for one byte more: it stays.
        let grown = layout(993, 8);
        // SAFETY: 1. block 2 is of 1000 bytes, and is remembered by its new layout.
        let same = unsafe { heap.reallocate(pointers[2], blocks[2], grown) };
        assert_eq!((same, heap.usable_size(grown)), (Some(pointers[2]), 1024));
        blocks[2] = grown;
        for (block, pointer) in blocks.iter().zip(&pointers) {
            // SAFETY: all are freed once.
            unsafe { heap.deallocate(*pointer, *block) };
        }
    });
    assert_eq!(heap.stats().free_bytes, heap.stats().segment_bytes);
}

#[test]
fn zeroed_memory_that_nobody_used_is_not_touched() {
    let heap = heap(16 << 20);
    let block = layout(4096, 8);
    heap.allocate(block).unwrap();
    let fresh = heap.pages().untouchable(|| heap.allocate_zeroed(block).unwrap());
    // SAFETY: 1. it is a block of 4096 bytes; 2. afterwards it is used as freed.
    unsafe {
        fresh.write_bytes(1, 4096);
        heap.deallocate(fresh, block);
        let again = heap.allocate_zeroed(block).unwrap();
        assert_eq!((again, again.add(4095).read()), (fresh, 0));
    }
}

#[test]
fn trim_lowers_the_break_and_discards_what_is_free_below_it() {
    let heap = heap(64 << 20);
    let block = layout(UNIT, 1);
    let pointers: Vec<_> = (0..40).map(|_| heap.allocate(block).unwrap()).collect();
    for (at, pointer) in pointers.iter().enumerate() {
        // SAFETY: the blocks are of 64 KiB; number 20 stays.
        unsafe {
            pointer.write_bytes(7, UNIT);
            if at != 20 {
                heap.deallocate(*pointer, block);
            }
        }
    }
    let before = heap.stats();
    assert_eq!(before.segment_bytes - before.free_bytes, UNIT);
    assert_eq!(heap.trim(), before.free_bytes);
    let after = heap.stats();
    assert_eq!((after.segment_bytes, after.free_bytes), (21 * UNIT, 20 * UNIT));
    assert_eq!(heap.trim(), 0);
    // Discarded pages are zeros, which aren't touched again.
    let zeros = heap.pages().untouchable(|| heap.allocate_zeroed(block).unwrap());
    // SAFETY: it is a block of 64 KiB.
    assert_eq!(unsafe { zeros.add(UNIT - 1).read() }, 0);
}

#[test]
fn large_requests_are_mappings_that_grow_with_their_bytes() {
    let heap = heap(16 << 20);
    let (small, large) = (layout(128 * KIB - 1, 1), layout(128 * KIB, 1));
    heap.allocate(small).unwrap();
    assert_eq!(heap.stats().mapped_bytes, 0);
    let mapping = heap.allocate(large).unwrap();
    assert_eq!(heap.stats().mapped_bytes, 128 * KIB);
    let larger = layout(40 << 20, 1);
    // SAFETY: 1. the mapping has its length, then the other; 2. it is freed once.
    unsafe {
        mapping.add(100_000).write(9);
        let grown = heap.reallocate(mapping, large, larger).unwrap();
        assert_eq!((grown.add(100_000).read(), grown.add((40 << 20) - 1).read()), (9, 0));
        assert_eq!(heap.stats().mapped_bytes, 40 << 20);
        heap.deallocate(grown, larger);
    }
    assert_eq!(heap.stats().mapped_bytes, 0);

    let options = Options { threshold: 1000, ..Options::DEFAULT };
    let heap: TestHeap = Heap::new(Mmap::new(), options);
    assert_eq!(heap.usable_size(layout(999, 1)), 1024);
    assert_eq!(heap.usable_size(layout(1000, 1)), 4096);
}

#[test]
fn no_memory_is_none_and_loses_nothing() {
    let heap = heap(4 * UNIT);
    let block = layout(30_000, 1);
    let mut pointers = Vec::new();
    while let Some(pointer) = heap.allocate(block) {
        pointers.push(pointer);
    }
    assert_eq!(pointers.len(), 8, "the capacity is used up");
    let pointer = pointers.pop().unwrap();
    // SAFETY: 1. a block of 30000 bytes, grown to what can't be had; 2. then freed.
    unsafe {
        pointer.write(3);
        assert_eq!(heap.reallocate(pointer, block, layout(40_000, 1)), None);
        assert_eq!(pointer.read(), 3);
        heap.deallocate(pointer, block);
    }
    assert!(heap.allocate(block).is_some());
    heap.pages().limit.store(1000, Ordering::SeqCst);
    assert_eq!(heap.allocate(layout(1 << 20, 1)), None);
    heap.check_invariants();

    let heap = self::heap(64 << 20);
    heap.pages().limit.store(UNIT + 1, Ordering::SeqCst);
    assert!(heap.allocate(layout(16, 1)).is_some(), "the break moves less far than it would");
    assert_eq!(heap.allocate(layout(32, 1)), None);
    assert_eq!(self::heap(UNIT - 1).allocate(layout(1, 1)), None);
}

#[test]
fn bookkeeping_is_less_than_a_hundredth() {
    let heap = heap(64 << 20);
    heap.allocate(layout(16, 1)).unwrap();
    let stats = heap.stats();
    assert!(stats.bookkeeping_bytes * 100 < stats.segment_bytes);
}

/// Runs `misuse` in another process and answers what that said before its end.
fn last_words(name: &str, misuse: impl FnOnce(&TestHeap)) -> String {
    const CHILD: &str = "FAULTLESS_HEAP_CHILD";
    if std::env::var_os(CHILD).is_some() {
        misuse(&heap(1 << 20));
        std::process::exit(0);
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(!child.status.success());
    String::from_utf8(child.stderr).unwrap()
}

#[test]
fn freeing_twice_ends_the_process() {
    let said = last_words("freeing_twice_ends_the_process", |heap| {
        let block = layout(100, 1);
        let pointers = [(); 2].map(|()| heap.allocate(block).unwrap());
        for _ in 0..2 {
            // SAFETY: none the second time: that is what is tested.
            unsafe { heap.deallocate(pointers[0], block) };
        }
    });
    assert!(said.contains("freed twice"), "{said}");
}

#[test]
fn freeing_what_was_never_given_out_ends_the_process() {
    let said = last_words("freeing_what_was_never_given_out_ends_the_process", |heap| {
        let pointer = heap.allocate(layout(100, 1)).unwrap();
        // SAFETY: none: that is what is tested.
        unsafe { heap.deallocate(pointer.add(16), layout(100, 1)) };
    });
    assert!(said.contains("has not given out"), "{said}");
}
