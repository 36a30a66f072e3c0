//! Places below 2 GiB (`MAP_32BIT`). What is expected is what Linux 6.18 does; it has no
//! guards between areas, but for those of stacks.

use super::*;

const GIB: u64 = 1 << 30;

/// The page with this number, counted from 1 GiB.
fn at(page: u64) -> VirtAddr {
    VirtAddr(GIB).plus_pages(page)
}

fn range(start: u64, end: u64) -> VirtRange {
    VirtRange::new(at(start), at(end))
}

fn low_space(guard_pages: u64) -> AddressSpace {
    let bounds = VirtRange::new(VirtAddr(GIB - 64 * PAGE_BYTES), VirtAddr(4 * GIB));
    AddressSpace::with_config(SpaceConfig { bounds, guard_pages, areas_max: 100 })
}

fn low(space: &mut AddressSpace, hint: u64, count: u64) -> Result<VirtRange, MapError> {
    let place = Place::Low(VirtAddr(hint));
    map_at(space, &anonymous(count, READ_WRITE), place, &mut Vec::new())
}

#[test]
fn the_lowest_gap_with_room_is_taken_from_its_lower_end() {
    let mut space = low_space(0);
    assert_eq!(low(&mut space, 0, 4), Ok(range(0, 4)));
    assert_eq!(low(&mut space, 0, 2), Ok(range(4, 6)));
    space.unmap(range(1, 3), &mut Vec::new()).unwrap();
    assert_eq!(low(&mut space, 0, 3), Ok(range(6, 9)));
    assert_eq!(low(&mut space, 0, 1), Ok(range(1, 2)));
    space.check_invariants();
}

#[test]
fn a_hint_is_taken_where_its_end_is_low_and_nothing_is_there() {
    let mut space = low_space(0);
    let pages = GIB / PAGE_BYTES;
    assert_eq!(low(&mut space, GIB - 9 * PAGE_BYTES + 5, 1).unwrap().start.0, GIB - 9 * PAGE_BYTES);
    assert_eq!(low(&mut space, at(pages - 1).0, 2), Ok(range(0, 2)), "it would end above 2 GiB");
    assert_eq!(low(&mut space, at(pages - 1).0, 1), Ok(range(pages - 1, pages)));
    assert_eq!(low(&mut space, at(pages - 1).0, 1), Ok(range(2, 3)), "something is there");
}

#[test]
fn there_is_no_room_but_in_the_second_gibibyte() {
    let mut space = low_space(0);
    let pages = GIB / PAGE_BYTES;
    assert_eq!(low(&mut space, 0, pages + 1), Err(MapError::NoRoom));
    assert_eq!(low(&mut space, 0, pages), Ok(range(0, pages)));
    assert_eq!(low(&mut space, 0, 1), Err(MapError::NoRoom));
}

#[test]
fn guards_are_kept() {
    let mut space = low_space(2);
    assert_eq!(low(&mut space, 0, 1), Ok(range(0, 1)));
    let alone = MapRequest { merge: Merge::No, ..anonymous(1, READ_WRITE) };
    let other = map_at(&mut space, &alone, Place::Low(VirtAddr(0)), &mut Vec::new());
    assert_eq!(other, Ok(range(3, 4)));
    let stack = MapRequest { flags: VmaFlags::GROWS_DOWN, ..alone };
    map_at(&mut space, &stack, Place::Fixed(at(300)), &mut Vec::new()).unwrap();
    // Pages 6 to 43 are free of all guards.
    assert_eq!(low(&mut space, 0, 39), Ok(range(303, 342)));
    assert_eq!(low(&mut space, 0, 38), Ok(range(6, 44)));
}
