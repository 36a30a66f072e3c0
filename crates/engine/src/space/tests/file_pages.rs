//! remap_file_pages(2): line 62 of the checklist.

use super::*;

fn show(space: &mut AddressSpace, start: u64, count: u64, first: u64) -> Result<(), i32> {
    let len = count * PAGE_BYTES;
    let done = space.remap_file_pages(addr(start), len, 0, PageIndex(first), &mut Vec::new());
    space.check_invariants();
    done.map(|_| ()).map_err(FilePagesError::errno)
}

#[test]
fn line_62_other_pages_of_the_object() {
    let mut space = drawn("AAAAA");
    show(&mut space, 1, 2, 7).unwrap();
    let shown = (0..5).map(|page| space.find(addr(page)).unwrap().page_at(addr(page)).unwrap().0);
    assert!(shown.eq([0, 7, 8, 3, 4]));
    show(&mut space, 0, 5, 0).expect("areas of one object do, whichever pages they show");
    assert_eq!(space.len(), 1);
}

#[test]
fn line_62_what_is_invalid() {
    let mut space = drawn("AABB aa");
    let none = PageIndex(0);
    for (len, prot) in [(0, 0), (4095, 0), (PAGE_BYTES, 1), (u64::MAX, 0)] {
        let done = space.remap_file_pages(addr(0), len, prot, none, &mut Vec::new());
        assert_eq!(done, Err(FilePagesError::Invalid));
    }
    assert_eq!(show(&mut space, 1, 2, 0), Err(errno::EINVAL), "another object");
    assert_eq!(show(&mut space, 3, 2, 0), Err(errno::EINVAL), "a hole");
    space.protect(pages(1, 2), Prot::READ).unwrap();
    assert_eq!(show(&mut space, 0, 2, 0), Err(errno::EINVAL), "other rights");
    private(&mut space, 8, 9);
    assert_eq!(show(&mut space, 8, 1, 0), Err(errno::EINVAL), "private");
    let read_only = MapRequest { flags: VmaFlags::NEVER_WRITE, ..shared('a', 0, 1) };
    map_at(&mut space, &read_only, Place::Fixed(addr(9)), &mut Vec::new()).unwrap();
    assert_eq!(show(&mut space, 9, 1, 0), Err(errno::EINVAL), "open for reading only");
    space.seal(addr(0), 1, 0).unwrap();
    assert_eq!(show(&mut space, 0, 1, 4), Err(errno::EPERM));
}

#[test]
fn line_62_marks_of_advice_are_gone_and_locks_stay() {
    let mut space = drawn("AAAA");
    space.advise(addr(0), 4 * PAGE_BYTES, Advice::Random, &mut Vec::new()).unwrap();
    space.lock(addr(0), 4 * PAGE_BYTES, LockKind::OnFault).unwrap();
    show(&mut space, 1, 1, 9).unwrap();
    assert_eq!(flags(&space, 1), VmaFlags::LOCKED);
    assert_eq!(space.locked_pages(), 4);
}

#[test]
fn line_62_a_private_area_of_the_object_behind_a_shared_one_is_no_part_of_it() {
    let mut space = space();
    let request = shared('A', 4, 4);
    let private = MapRequest { sharing: Sharing::Private, ..shared('A', 8, 4) };
    for (page, request) in [(4, request), (8, private)] {
        map_at(&mut space, &request, Place::Fixed(addr(page)), &mut Vec::new()).unwrap();
    }
    let len = 8 * PAGE_BYTES;
    let result = space.remap_file_pages(addr(4), len, 0, PageIndex(0), &mut Vec::new());
    assert_eq!(result, Err(FilePagesError::Unfit));
}

/// Seed 502 of the differential runs: only the second area had ever had a guard.
#[test]
fn line_62_all_areas_have_had_a_guard_or_none() {
    let mut space = drawn("AAAAA");
    show(&mut space, 0, 1, 10).unwrap();
    let guard = |space: &mut AddressSpace, page, advice| {
        space.advise(addr(page), PAGE_BYTES, advice, &mut Vec::new()).unwrap();
    };
    guard(&mut space, 3, Advice::GuardInstall);
    guard(&mut space, 3, Advice::GuardRemove);
    assert_eq!(flags(&space, 1), VmaFlags::HAD_GUARD, "the area keeps the mark");
    assert_eq!(show(&mut space, 0, 2, 20), Err(errno::EINVAL));
    guard(&mut space, 0, Advice::GuardInstall);
    show(&mut space, 0, 2, 20).unwrap();
    assert_eq!((flags(&space, 0), flags(&space, 2)), (VmaFlags::empty(), VmaFlags::HAD_GUARD));
}

#[test]
fn a_mark_of_guards_keeps_no_areas_apart() {
    let mut space = drawn("AAAA");
    space.advise(addr(1), PAGE_BYTES, Advice::GuardInstall, &mut Vec::new()).unwrap();
    space.protect(pages(2, 3), Prot::READ).unwrap();
    assert_eq!(space.len(), 3);
    for page in 0..4 {
        assert_eq!(flags(&space, page), VmaFlags::HAD_GUARD, "each part of the area has it");
    }
    // A new area below takes the mark over with its neighbour.
    let mut space = drawn(" AAA");
    space.advise(addr(2), PAGE_BYTES, Advice::GuardInstall, &mut Vec::new()).unwrap();
    place(&mut space, 'A', 0, 1);
    assert_eq!((space.len(), flags(&space, 0)), (1, VmaFlags::HAD_GUARD));
    let lines = |space: &AddressSpace| space.iter().map(|area| area.range).collect::<Vec<_>>();
    assert_eq!(lines(&space), [pages(0, 4)]);
    space.check_invariants();
}
