//! Limits, and what a new area is checked for.

use super::*;

fn limited(limits: Limits) -> AddressSpace {
    let mut space = space();
    space.set_limits(limits);
    space
}

fn map(space: &mut AddressSpace, request: MapRequest) -> Result<VirtRange, i32> {
    let before = draw(space);
    let mapped = space.map(request, &mut Vec::new());
    space.check_invariants();
    assert!(mapped.is_ok() || draw(space) == before);
    mapped.map_err(MapError::errno)
}

#[test]
fn line_1_lengths_and_offsets() {
    let one = anonymous(1, READ_WRITE);
    let file = |page| shared('A', page, 2);
    for (request, errno) in [
        (MapRequest { len: 0, ..one }, errno::EINVAL),
        (MapRequest { len: u64::MAX, ..one }, errno::ENOMEM),
        (MapRequest { len: 1 << 60, ..one }, errno::ENOMEM),
        (file((1 << 51) - 2), errno::EOVERFLOW),
        (file(u64::MAX), errno::EOVERFLOW),
    ] {
        assert_eq!(map(&mut space(), request), Err(errno), "{request:?}");
    }
    assert!(map(&mut space(), file((1 << 51) - 3)).is_ok());
}

#[test]
fn line_7_and_8_fixed_places() {
    let mut space = drawn("AA");
    let one = anonymous(1, READ_WRITE);
    let fixed = |addr| MapRequest { place: Place::Fixed(addr), ..one };
    assert_eq!(map(&mut space, fixed(VirtAddr(BASE + 1))), Err(errno::EINVAL));
    assert_eq!(map(&mut space, fixed(addr(PAGES))), Err(errno::ENOMEM));
    assert_eq!(map(&mut space, fixed(VirtAddr(0))), Err(errno::EPERM));
    let no_replace = MapRequest { place: Place::FixedNoReplace(addr(1)), ..one };
    assert_eq!(map(&mut space, no_replace), Err(errno::EEXIST));
}

#[test]
fn line_11_only_private_memory_without_an_object_grows() {
    let grows = VmaFlags::GROWS_DOWN;
    let file = shared('A', 0, 1);
    for bad in [
        MapRequest { flags: grows, ..file },
        MapRequest { flags: grows, sharing: Sharing::Private, ..file },
        MapRequest { flags: grows, sharing: Sharing::Shared, ..anonymous(1, READ_WRITE) },
    ] {
        assert_eq!(map(&mut space(), bad), Err(errno::EINVAL));
    }
    assert!(map(&mut space(), MapRequest { flags: grows, ..anonymous(1, READ_WRITE) }).is_ok());
}

#[test]
fn line_15_space_counts_everything() {
    let mut space = limited(Limits { space_bytes_max: 5 * PAGE_BYTES - 1, ..Limits::NONE });
    place(&mut space, 'a', 0, 2);
    private(&mut space, 2, 4);
    assert_eq!(map(&mut space, anonymous(1, Prot::empty())), Err(errno::ENOMEM));
    let over = MapRequest { place: Place::Fixed(addr(0)), ..anonymous(2, READ_WRITE) };
    assert!(map(&mut space, over).is_ok(), "what is replaced does not count");
    assert_eq!((space.pages(), space.data_pages()), (4, 4));
}

#[test]
fn line_15_data_counts_private_writable_pages() {
    let mut space = limited(Limits { data_bytes_max: 2 * PAGE_BYTES, ..Limits::NONE });
    private(&mut space, 0, 2);
    assert_eq!(map(&mut space, anonymous(1, READ_WRITE)), Err(errno::ENOMEM));
    let stack = MapRequest { flags: VmaFlags::GROWS_DOWN, ..anonymous(1, READ_WRITE) };
    for fine in [anonymous(1, Prot::READ), shared('A', 0, 4), stack] {
        assert!(map(&mut space, fine).is_ok());
    }
    assert_eq!(space.data_pages(), 2);
    let read_only = space.iter().find(|area| area.prot == Prot::READ).unwrap().range;
    let more = space.protect(read_only, READ_WRITE).map_err(ProtectError::errno);
    assert_eq!(more, Err(errno::ENOMEM));
    space.protect(pages(0, 1), Prot::READ).unwrap();
    assert_eq!(space.data_pages(), 1);
    space.protect(read_only, READ_WRITE).unwrap();
    space.check_invariants();
}

#[test]
fn line_15_a_lowered_limit_stops_only_what_is_new() {
    let mut space = limited(Limits::NONE);
    private(&mut space, 0, 4);
    let read_only = MapRequest { place: Place::Fixed(addr(8)), ..anonymous(1, Prot::READ) };
    map(&mut space, read_only).unwrap();
    space.set_limits(Limits { space_bytes_max: 0, ..Limits::NONE });
    space.protect(pages(8, 9), READ_WRITE).expect("it is not this that passes the limit");
    space.unmap(pages(0, 1), &mut Vec::new()).unwrap();
    assert_eq!(map(&mut space, read_only).map(|range| range.start), Err(errno::ENOMEM));
}

#[test]
fn line_30_ranges_in_bytes_are_rounded() {
    let space = space();
    let range = |start: VirtAddr, len| space.unmap_range(start, len).map_err(UnmapError::errno);
    assert_eq!(range(addr(1), 1), Ok(pages(1, 2)));
    assert_eq!(range(addr(1), 0), Err(errno::EINVAL));
    assert_eq!(range(VirtAddr(BASE + 1), 1), Err(errno::EINVAL));
    assert_eq!(range(addr(1), u64::MAX), Err(errno::EINVAL));
    assert_eq!(range(addr(1), PAGES * PAGE_BYTES), Err(errno::EINVAL));
}

#[test]
fn line_32_ranges_of_rights() {
    let range = |start, len| AddressSpace::protect_range(start, len).map_err(ProtectError::errno);
    assert_eq!(range(addr(1), 0), Ok(pages(1, 1)));
    assert_eq!(range(addr(1), PAGE_BYTES + 1), Ok(pages(1, 3)));
    assert_eq!(range(VirtAddr(BASE + 1), 0), Err(errno::EINVAL));
    assert_eq!(range(addr(1), u64::MAX), Err(errno::ENOMEM));
    let mut space = space();
    let growing = |space: &AddressSpace, range| {
        space.protect_range_growing(range).map_err(ProtectError::errno)
    };
    assert_eq!(growing(&space, pages(1, 4)), Err(errno::ENOMEM));
    private(&mut space, 0, 4);
    assert_eq!(growing(&space, pages(1, 4)), Err(errno::EINVAL));
    let stack = MapRequest { flags: VmaFlags::GROWS_DOWN, ..anonymous(4, READ_WRITE) };
    map_at(&mut space, &stack, Place::Fixed(addr(0)), &mut Vec::new()).unwrap();
    assert_eq!(growing(&space, pages(2, 4)), Ok(pages(0, 4)));
}

#[test]
fn line_32_a_right_that_may_never_be_is_eacces() {
    let mut space = space();
    let file = MapRequest { flags: VmaFlags::NEVER_WRITE, ..shared('a', 0, 1) };
    let range = map(&mut space, file).unwrap();
    assert_eq!(space.protect(range, READ_WRITE).map_err(ProtectError::errno), Err(errno::EACCES));
}

#[test]
fn line_58_maps_that_are_locked() {
    let locked = MapRequest { flags: VmaFlags::LOCKED, ..anonymous(3, READ_WRITE) };
    let mut space = limited(Limits { locked_bytes_max: 4 * PAGE_BYTES, ..Limits::NONE });
    assert!(map(&mut space, locked).is_ok());
    assert_eq!(map(&mut space, locked), Err(errno::EAGAIN));
    space.set_limits(Limits { locked_bytes_max: 0, ..Limits::NONE });
    assert_eq!(map(&mut space, locked), Err(errno::EPERM));
    space.set_limits(Limits { lock_right: LockRight::Unlimited, ..*space.limits() });
    assert!(map(&mut space, locked).is_ok());
    assert_eq!(space.locked_pages(), 6);
}
