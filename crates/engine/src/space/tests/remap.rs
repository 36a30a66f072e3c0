//! mremap(2): the lines of the checklist, and pictures of moves.

use super::*;

const MAY_MOVE: RemapFlags = RemapFlags::MAY_MOVE;
const FIXED: RemapFlags = MAY_MOVE.union(RemapFlags::FIXED);
const DONT_UNMAP: RemapFlags = MAY_MOVE.union(RemapFlags::DONT_UNMAP);

fn request(old: u64, old_pages: u64, new_pages: u64, flags: RemapFlags, new: u64) -> RemapRequest {
    let (old_len, new_len) = (old_pages * PAGE_BYTES, new_pages * PAGE_BYTES);
    RemapRequest { old: addr(old), old_len, new_len, flags, new: addr(new) }
}

fn remap(
    space: &mut AddressSpace,
    request: RemapRequest,
) -> (Result<VirtAddr, RemapError>, RemapEffects) {
    let mut effects = RemapEffects::default();
    let result = space.remap(request, &mut effects);
    space.check_invariants();
    (result, effects)
}

/// The error number of a request that changes nothing.
fn errno_of(space: &mut AddressSpace, request: RemapRequest) -> i32 {
    let before = draw(space);
    let (result, effects) = remap(space, request);
    assert_eq!(effects, RemapEffects::default());
    assert_eq!(draw(space), before);
    result.expect_err("it can't be").errno()
}

#[test]
fn line_37_arguments_that_contradict_each_other() {
    let mut space = drawn("AAAA");
    let one = request(0, 1, 1, MAY_MOVE, 0);
    let unaligned = VirtAddr(BASE + 1);
    let bad_flags = RemapFlags::from_bits_retain(8);
    for bad in [
        RemapRequest { old: unaligned, ..one },
        RemapRequest { new_len: 0, ..one },
        RemapRequest { new_len: u64::MAX, ..one },
        RemapRequest { flags: bad_flags, ..one },
        request(0, 1, 1, RemapFlags::FIXED, 8),
        request(0, 2, 2, FIXED, 1),
        RemapRequest { new: unaligned, ..request(0, 1, 1, FIXED, 0) },
        request(0, 1, 1, FIXED, PAGES),
        RemapRequest { new_len: (PAGES + 1) * PAGE_BYTES + BASE, ..one },
    ] {
        assert_eq!(errno_of(&mut space, bad), errno::EINVAL, "{bad:?}");
    }
    let too_low = RemapRequest { new: VirtAddr(0), ..request(0, 1, 1, FIXED, 0) };
    assert_eq!(errno_of(&mut space, too_low), errno::EPERM);
}

#[test]
fn line_38_an_old_size_of_0_duplicates_shared_areas() {
    let mut space = drawn("AAAA");
    assert_eq!(errno_of(&mut space, request(1, 0, 2, RemapFlags::empty(), 0)), errno::ENOMEM);
    let (at, effects) = remap(&mut space, request(1, 0, 2, FIXED, 8));
    assert_eq!(at, Ok(addr(8)));
    assert_eq!(effects, RemapEffects::default(), "no page moves");
    assert_eq!(draw(&space), "AAAA    AA");
    assert_eq!(space.find(addr(8)).unwrap().page_at(addr(8)), Some(PageIndex(1)));
    private(&mut space, 16, 18);
    assert_eq!(errno_of(&mut space, request(16, 0, 1, MAY_MOVE, 0)), errno::EINVAL);
}

#[test]
fn line_38_a_duplicate_can_hit_its_source() {
    let mut space = drawn("AAAA");
    let (at, effects) = remap(&mut space, request(1, 0, 2, FIXED, 1));
    assert_eq!(at, Err(RemapError::Hole));
    assert_eq!((effects.removed.len(), draw(&space).as_str()), (1, "A  A"));
}

#[test]
fn line_39_one_area_is_resized_at_a_time() {
    let mut space = drawn("AABB");
    assert_eq!(errno_of(&mut space, request(8, 1, 2, MAY_MOVE, 0)), errno::EFAULT);
    assert_eq!(errno_of(&mut space, request(0, 3, 4, MAY_MOVE, 0)), errno::EFAULT);
    assert_eq!(errno_of(&mut space, request(0, 3, 2, DONT_UNMAP, 8)), errno::EINVAL);
    assert_eq!(errno_of(&mut space, request(0, 3, 3, DONT_UNMAP, 8)), errno::EFAULT);
    assert_eq!(errno_of(&mut space, request(8, 3, 3, FIXED, 16)), errno::EFAULT);
}

#[test]
fn line_40_what_is_behind_blocks_growth_in_place() {
    let mut space = drawn("AABB");
    assert_eq!(errno_of(&mut space, request(0, 2, 3, RemapFlags::empty(), 0)), errno::ENOMEM);
    assert_eq!(errno_of(&mut space, request(0, 1, 2, RemapFlags::empty(), 0)), errno::ENOMEM);
    let (at, effects) = remap(&mut space, request(2, 2, 5, RemapFlags::empty(), 0));
    assert_eq!((at, draw(&space).as_str()), (Ok(addr(2)), "AABBBBB"));
    assert_eq!(effects, RemapEffects::default());
}

#[test]
fn line_40_shrinking_removes_the_tail_of_any_areas() {
    let mut space = drawn("AABB C");
    let (at, effects) = remap(&mut space, request(0, 6, 1, RemapFlags::empty(), 0));
    assert_eq!((at, draw(&space).as_str()), (Ok(addr(0)), "A"));
    let removed = effects.removed.iter().map(|piece| piece.range);
    assert!(removed.eq([pages(1, 2), pages(2, 4), pages(5, 6)]));
}

#[test]
fn growing_moves_if_it_may() {
    let mut space = drawn("AABB");
    let (at, effects) = remap(&mut space, request(0, 2, 4, MAY_MOVE, 0));
    assert_eq!(at, Ok(addr(PAGES - 4)));
    assert_eq!(draw(&space).trim_start(), std::format!("BB{:24}AAAA", ""));
    let [moved] = effects.moved[..] else { panic!("{effects:?}") };
    assert_eq!(
        (moved.from.range, moved.to, moved.left),
        (pages(0, 2), addr(PAGES - 4), Left::Nothing)
    );
}

#[test]
fn growth_in_place_reaches_the_next_part_of_the_object() {
    let mut space = drawn("AA AA");
    let (at, _) = remap(&mut space, request(0, 2, 3, RemapFlags::empty(), 0));
    assert_eq!((at, draw(&space), space.len()), (Ok(addr(0)), "AAAAA".into(), 1));
}

#[test]
fn an_area_that_never_merges_grows_as_one() {
    let mut space = drawn("");
    let alone = MapRequest { merge: Merge::No, ..shared('A', 0, 2) };
    map_at(&mut space, &alone, Place::Fixed(addr(0)), &mut Vec::new()).unwrap();
    remap(&mut space, request(0, 2, 4, RemapFlags::empty(), 0)).0.unwrap();
    assert_eq!((draw(&space), space.len()), ("AAAA".into(), 1));
}

#[test]
fn line_41_areas_move_together_and_keep_their_holes() {
    let mut space = drawn("AAB CC  DDDDDDD");
    let (at, effects) = remap(&mut space, request(1, 4, 4, FIXED, 9));
    assert_eq!((at, draw(&space).as_str()), (Ok(addr(9)), "A    C  DABDCDD"));
    let moved = effects.moved.iter().map(|moved| (moved.from.range, moved.to));
    let expected = [(pages(1, 2), addr(9)), (pages(2, 3), addr(10)), (pages(4, 5), addr(12))];
    assert!(moved.eq(expected));
    let removed = effects.removed.iter().map(|piece| piece.range);
    assert!(removed.eq([pages(9, 10), pages(10, 11), pages(12, 13)]));
}

#[test]
fn line_41_a_seal_stops_a_move_where_it_is() {
    let mut space = drawn("AABBCC");
    space.seal(addr(2), 1, 0).unwrap();
    let (at, effects) = remap(&mut space, request(0, 6, 6, FIXED, 10));
    assert_eq!(at, Err(RemapError::Sealed));
    assert_eq!((effects.moved.len(), draw(&space).as_str()), (1, "  B|BCC    AA"));
}

#[test]
fn line_42_an_empty_area_stays_behind() {
    let mut space = drawn("AAAA");
    for bad in [
        request(0, 2, 2, RemapFlags::DONT_UNMAP, 8),
        request(0, 2, 3, DONT_UNMAP, 8),
        request(0, 3, 2, DONT_UNMAP, 8),
    ] {
        assert_eq!(errno_of(&mut space, bad), errno::EINVAL);
    }
    let (at, effects) = remap(&mut space, request(1, 2, 2, DONT_UNMAP, 8));
    assert_eq!((at, draw(&space).as_str()), (Ok(addr(8)), "AAAA    AA"), "the hint is free");
    let [moved] = effects.moved[..] else { panic!("{effects:?}") };
    assert_eq!((moved.from.range, moved.left), (pages(1, 3), Left::EmptyArea));
    let (at, _) = remap(&mut space, request(1, 2, 2, DONT_UNMAP, 8));
    assert_eq!(at, Ok(addr(PAGES - 2)), "the hint is taken");
}

#[test]
fn line_42_what_stays_behind_is_unlocked_and_still_counted() {
    let mut space = space();
    private(&mut space, 0, 4);
    space.lock(addr(0), 4 * PAGE_BYTES, LockKind::Full).unwrap();
    remap(&mut space, request(0, 2, 2, DONT_UNMAP, 8)).0.unwrap();
    assert!(!flags(&space, 0).contains(VmaFlags::LOCKED), "all of it, moved or not");
    assert!(!flags(&space, 3).contains(VmaFlags::LOCKED));
    assert!(flags(&space, 8).contains(VmaFlags::LOCKED));
    assert_eq!(space.locked_pages(), 6);
}

#[test]
fn line_44_a_locked_area_grows_up_to_the_limit() {
    let mut space = space();
    private(&mut space, 0, 4);
    space.lock(addr(0), 4 * PAGE_BYTES, LockKind::Full).unwrap();
    space.set_limits(Limits { locked_bytes_max: 6 * PAGE_BYTES, ..Limits::NONE });
    assert_eq!(errno_of(&mut space, request(0, 4, 7, MAY_MOVE, 0)), errno::EAGAIN);
    let (_, effects) = remap(&mut space, request(0, 4, 6, MAY_MOVE, 0));
    assert_eq!(effects.populate, [pages(4, 6)]);
    assert_eq!(space.locked_pages(), 6);
    let (_, effects) = remap(&mut space, request(0, 6, 6, FIXED, 8));
    assert_eq!((effects.populate.len(), space.locked_pages()), (0, 6));
}

#[test]
fn a_devices_area_moves_and_does_not_grow() {
    let mut space = space();
    let device = MapRequest { flags: VmaFlags::DEVICE, ..shared('A', 0, 2) };
    map_at(&mut space, &device, Place::Fixed(addr(0)), &mut Vec::new()).unwrap();
    assert_eq!(errno_of(&mut space, request(0, 2, 3, MAY_MOVE, 0)), errno::EFAULT);
    assert_eq!(errno_of(&mut space, request(0, 2, 2, DONT_UNMAP, 8)), errno::EINVAL);
    assert_eq!(remap(&mut space, request(0, 2, 2, FIXED, 8)).0, Ok(addr(8)));
}

#[test]
fn guards_move_with_their_pages() {
    let mut space = space();
    private(&mut space, 0, 4);
    private(&mut space, 8, 12);
    for page in [1, 2, 9] {
        space.advise(addr(page), PAGE_BYTES, Advice::GuardInstall, &mut Vec::new()).unwrap();
    }
    remap(&mut space, request(0, 2, 2, FIXED, 8)).0.unwrap();
    assert!(space.guards().iter().eq([pages(2, 3), pages(9, 10)]), "{:?}", space.guards());
    remap(&mut space, request(8, 4, 4, DONT_UNMAP, 16)).0.unwrap();
    assert!(space.guards().iter().eq([pages(2, 3), pages(17, 18)]), "{:?}", space.guards());
}

#[test]
fn own_pages_keep_their_numbers_and_so_their_borders() {
    let mut space = space();
    private(&mut space, 0, 4);
    space.touched(addr(0));
    remap(&mut space, request(2, 2, 2, FIXED, 10)).0.unwrap();
    private(&mut space, 12, 14);
    assert_eq!(space.len(), 3, "page 4 would follow the moved ones, not 12");
    remap(&mut space, request(10, 2, 2, FIXED, 2)).0.unwrap();
    assert_eq!(space.find(addr(3)).unwrap().range, pages(0, 4), "moved back, it is one again");

    let mut untouched = AddressSpace::with_config(config(0, 100));
    private(&mut untouched, 0, 4);
    remap(&mut untouched, request(2, 2, 2, FIXED, 10)).0.unwrap();
    private(&mut untouched, 12, 14);
    assert_eq!(untouched.len(), 2, "what has no pages is numbered anew");
}

#[test]
fn a_move_needs_areas_in_reserve() {
    let mut space = AddressSpace::with_config(config(0, 6));
    private(&mut space, 0, 4);
    assert_eq!(errno_of(&mut space, request(0, 1, 1, FIXED, 8)), errno::ENOMEM);
    assert_eq!(remap(&mut space, request(0, 1, 2, MAY_MOVE, 0)).0, Ok(addr(PAGES - 2)));
    private(&mut space, 8, 9);
    assert_eq!(errno_of(&mut space, request(1, 1, 2, MAY_MOVE, 0)), errno::ENOMEM);
}
