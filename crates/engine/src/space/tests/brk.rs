//! brk(2): line 59 of the checklist; and layouts.

use super::*;

fn layout() -> Layout {
    Layout {
        code: pages(0, 2),
        data: pages(2, 3),
        start_brk: VirtAddr(addr(4).0 + 100),
        brk: VirtAddr(addr(4).0 + 100),
        mmap_base: addr(24),
        start_stack: addr(30),
        args: pages(30, 31),
        env: pages(31, 32),
    }
}

fn set_up() -> AddressSpace {
    let mut space = space();
    space.set_up(layout()).unwrap();
    space
}

fn brk(space: &mut AddressSpace, wanted: VirtAddr) -> (Result<VirtRange, BrkError>, Vec<Vma>) {
    let mut removed = Vec::new();
    let result = space.brk(wanted, &mut removed);
    space.check_invariants();
    (result, removed)
}

#[test]
fn line_59_the_break_is_a_byte_and_the_heap_has_pages() {
    let mut space = set_up();
    assert_eq!(brk(&mut space, VirtAddr(addr(4).0 + 200)).0, Ok(pages(5, 5)));
    assert_eq!(brk(&mut space, VirtAddr(addr(6).0 + 1)).0, Ok(pages(5, 7)));
    assert_eq!(brk(&mut space, addr(9)).0, Ok(pages(7, 9)));
    assert_eq!((draw(&space).as_str(), space.len()), ("     ZZZZ", 1));
    let (none, removed) = brk(&mut space, VirtAddr(addr(6).0 + 1));
    assert!(none.unwrap().is_empty());
    assert!(removed.iter().map(|piece| piece.range).eq([pages(7, 9)]));
    assert_eq!(space.layout().unwrap().brk, VirtAddr(addr(6).0 + 1));
}

#[test]
fn line_59_a_page_stays_free_below_the_next_area() {
    let mut space = set_up();
    place(&mut space, 'A', 10, 11);
    let (result, _) = brk(&mut space, VirtAddr(addr(9).0 + 1));
    assert_eq!(result, Err(BrkError::Occupied));
    assert_eq!(result.map_err(BrkError::errno), Err(errno::ENOMEM));
    assert_eq!(space.layout().unwrap().brk, layout().brk, "the raw call says the old break");
    assert_eq!(brk(&mut space, addr(9)).0, Ok(pages(5, 9)));
}

#[test]
fn line_59_what_else_keeps_the_break() {
    let mut space = set_up();
    assert_eq!(brk(&mut space, addr(4)).0, Err(BrkError::BelowHeap));
    assert_eq!(brk(&mut AddressSpace::new(pages(0, 8), 0), addr(4)).0, Err(BrkError::NoHeap));
    assert_eq!(brk(&mut space, addr(PAGES + 1)).0, Err(BrkError::Map(MapError::OutOfBounds)));
    // Data is a page, too.
    space.set_limits(Limits { data_bytes_max: 3 * PAGE_BYTES, ..Limits::NONE });
    assert_eq!(brk(&mut space, VirtAddr(addr(6).0 + 101)).0, Err(BrkError::TooLarge));
    assert_eq!(brk(&mut space, VirtAddr(addr(6).0 + 100)).0, Ok(pages(5, 7)));
    space.unmap(pages(6, 7), &mut Vec::new()).unwrap();
    assert_eq!(brk(&mut space, addr(6)).0, Err(BrkError::Unmapped));
    space.seal(addr(5), 1, 0).unwrap();
    let sealed = BrkError::Unmap(UnmapError::Sealed { at: addr(5) });
    assert_eq!(brk(&mut space, addr(5)).0, Err(sealed));
}

#[test]
fn line_59_locks_to_come_are_for_the_heap_too() {
    let mut space = set_up();
    space.set_limits(Limits { locked_bytes_max: 2 * PAGE_BYTES, ..Limits::NONE });
    space.lock_all(LockAll::FUTURE).unwrap();
    assert_eq!(brk(&mut space, addr(8)).0, Err(BrkError::Map(MapError::TooManyLocked)));
    brk(&mut space, addr(7)).0.unwrap();
    assert_eq!(space.locked_pages(), 2);
}

#[test]
fn mappings_begin_below_the_base_and_go_above_when_that_is_full() {
    let mut space = set_up();
    let one = anonymous(8, READ_WRITE);
    let mut map =
        |request: &MapRequest| map_at(&mut space, request, Place::Anywhere, &mut Vec::new());
    assert_eq!(map(&one), Ok(pages(16, 24)));
    assert_eq!(map(&one), Ok(pages(8, 16)));
    assert_eq!(map(&one), Ok(pages(0, 8)));
    assert_eq!(map(&one), Ok(pages(24, 32)));
    assert_eq!(map(&one), Err(MapError::NoRoom));
}

#[test]
fn layouts_that_can_not_be() {
    let good = layout();
    for (bad, error) in [
        (Layout { brk: addr(PAGES + 1), ..good }, LayoutError::OutOfBounds(addr(PAGES + 1))),
        (Layout { brk: addr(4), ..good }, LayoutError::Disorder),
        (Layout { data: pages(2, 6), ..good }, LayoutError::Disorder),
        (Layout { code: pages(2, 2), ..good }, LayoutError::Disorder),
    ] {
        assert_eq!(space().set_up(bad), Err(error));
        assert_eq!(error.errno(), errno::EINVAL);
    }
    let mut space = space();
    space.set_limits(Limits { data_bytes_max: 1, ..Limits::NONE });
    assert_eq!(space.set_up(good), Err(LayoutError::TooLarge));
    assert_eq!(good.bss(), VirtRange::new(addr(3), good.start_brk));
}

#[test]
fn the_base_leaves_room_for_the_stack() {
    let bounds = VirtRange::new(VirtAddr(0x1000), VirtAddr(0x7fff_ffff_f000));
    let base = |stack| Layout::mmap_base_top_down(bounds, stack).0;
    assert_eq!(base(8 << 20), 0x7fff_ffff_f000 - (128 << 20));
    assert_eq!(base(1 << 30), 0x7fff_ffff_f000 - (1 << 30) - (1 << 20));
    assert!(base(u64::MAX) < 0x7fff_ffff_f000 / 6 + (2 << 12));
    assert_eq!(Layout::mmap_base_bottom_up(bounds).0, 0x2aaa_aaaa_a000 + 0x1000);
}
