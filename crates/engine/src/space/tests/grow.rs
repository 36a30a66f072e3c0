//! Stacks: line 11 of the checklist.

use super::*;

const WIDE: u64 = 4096;

/// A space with a stack of two pages below page 2000.
fn wide() -> AddressSpace {
    let config = SpaceConfig { bounds: pages(0, WIDE), guard_pages: 0, areas_max: 100 };
    let mut space = AddressSpace::with_config(config);
    let stack = MapRequest { flags: VmaFlags::GROWS_DOWN, ..anonymous(2, READ_WRITE) };
    map_at(&mut space, &stack, Place::Fixed(addr(1998)), &mut Vec::new()).unwrap();
    space
}

fn grow(space: &mut AddressSpace, page: u64) -> Result<VirtRange, GrowError> {
    let grown = space.grow_down(VirtAddr(addr(page).0 + 9));
    space.check_invariants();
    grown
}

#[test]
fn line_11_a_fault_below_grows_the_stack() {
    let mut space = wide();
    assert_eq!(grow(&mut space, 1990), Ok(pages(1990, 1998)));
    assert_eq!(space.find(addr(1990)).unwrap().range, pages(1990, 2000));
    assert_eq!(space.pages(), 10);
    assert_eq!(grow(&mut space, 2000), Err(GrowError::NotGrowing));
    assert_eq!(GrowError::NotGrowing.errno(), errno::EFAULT);
}

#[test]
fn line_6_no_gap_within_a_stack_s_guard_is_looked_at() {
    let mut space = wide();
    let one = anonymous(1, READ_WRITE);
    // The gap below the stack has ten pages, and none with the guard kept.
    map_at(&mut space, &one, Place::Fixed(addr(1987)), &mut Vec::new()).unwrap();
    map_at(&mut space, &one, Place::Fixed(addr(1950)), &mut Vec::new()).unwrap();
    let above = MapRequest { len: (WIDE - 2000) * PAGE_BYTES, ..one };
    map_at(&mut space, &above, Place::Fixed(addr(2000)), &mut Vec::new()).unwrap();
    let placed = map_at(&mut space, &one, Place::Anywhere, &mut Vec::new()).unwrap();
    assert_eq!(placed, pages(1741, 1742), "the gap from 1951 to 1987 is left out");
    space.check_invariants();
}

#[test]
fn line_6_a_second_stack_within_the_guard_of_the_first_keeps_its_own() {
    let mut space = wide();
    let one = anonymous(1, READ_WRITE);
    let above = MapRequest { len: (WIDE - 2000) * PAGE_BYTES, ..one };
    map_at(&mut space, &above, Place::Fixed(addr(2000)), &mut Vec::new()).unwrap();
    let second = MapRequest { flags: VmaFlags::GROWS_DOWN, ..one };
    map_at(&mut space, &second, Place::Fixed(addr(1900)), &mut Vec::new()).unwrap();
    let placed = map_at(&mut space, &one, Place::Anywhere, &mut Vec::new()).unwrap();
    assert_eq!(placed, pages(1643, 1644));
    space.check_invariants();
}

#[test]
fn line_11_only_the_next_area_grows() {
    let mut space = wide();
    place(&mut space, 'A', 1000, 1001);
    assert_eq!(grow(&mut space, 999), Err(GrowError::NotGrowing));
}

#[test]
fn line_11_a_stack_stays_256_pages_away_from_what_can_be_accessed() {
    let mut space = wide();
    place(&mut space, 'A', 1000, 1001);
    assert_eq!(grow(&mut space, 1256), Err(GrowError::Guard));
    assert_eq!(grow(&mut space, 1257), Ok(pages(1257, 1998)));
    space.protect(pages(1000, 1001), Prot::empty()).unwrap();
    assert_eq!(grow(&mut space, 1001), Ok(pages(1001, 1257)), "that is a guard itself");
}

#[test]
fn line_11_limits() {
    let mut space = wide();
    space.set_limits(Limits { stack_bytes_max: 8 * PAGE_BYTES, ..Limits::NONE });
    assert_eq!(grow(&mut space, 1991), Err(GrowError::TooLarge));
    assert_eq!(grow(&mut space, 1992), Ok(pages(1992, 1998)));
    space.set_limits(Limits { space_bytes_max: 8 * PAGE_BYTES, ..Limits::NONE });
    assert_eq!(grow(&mut space, 1991), Err(GrowError::TooManyPages));
    space.set_limits(Limits { locked_bytes_max: 8 * PAGE_BYTES, ..Limits::NONE });
    space.lock(addr(1992), 8 * PAGE_BYTES, LockKind::Full).unwrap();
    assert_eq!(grow(&mut space, 1991), Err(GrowError::TooManyLocked));
    space.set_limits(Limits::NONE);
    assert_eq!(grow(&mut space, 1991), Ok(pages(1991, 1992)));
    assert_eq!(space.locked_pages(), 9);
}

#[test]
fn places_keep_the_stacks_guard_and_fixed_ones_do_not() {
    let mut space = wide();
    let one = anonymous(1, READ_WRITE);
    let mut map = |place| map_at(&mut space, &one, place, &mut Vec::new()).unwrap();
    let hint = |page| Place::Hint(addr(page));
    assert_eq!(map(hint(1998 - 257)), pages(1998 - 257, 1998 - 256));
    assert_eq!(map(hint(1998 - 256)), pages(WIDE - 1, WIDE));
    assert_eq!(map(Place::Fixed(addr(1997))), pages(1997, 1998));
    space.unmap(pages(0, 1998), &mut Vec::new()).unwrap();
    space.unmap(pages(2000, WIDE), &mut Vec::new()).unwrap();
    let mut high = anonymous(WIDE - 2000, READ_WRITE);
    let mut map = |request: &MapRequest| {
        map_at(&mut space, request, Place::Anywhere, &mut Vec::new()).unwrap()
    };
    map(&high);
    high.len = 1;
    assert_eq!(map(&high), pages(1998 - 257, 1998 - 256));
    space.check_invariants();
}
