//! madvise(2): the lines of the checklist.

use super::*;

fn advise(space: &mut AddressSpace, start: u64, end: u64, advice: Advice) -> Result<usize, i32> {
    let mut pieces = Vec::new();
    let len = (end - start) * PAGE_BYTES;
    let done = space.advise(addr(start), len, advice, &mut pieces);
    space.check_invariants();
    done.map(|()| pieces.len()).map_err(AdviseError::errno)
}

fn errno(space: &mut AddressSpace, advice: Advice) -> i32 {
    advise(space, 0, 1, advice).err().unwrap_or(0)
}

fn with(request: MapRequest) -> AddressSpace {
    let mut space = space();
    map_at(&mut space, &request, Place::Fixed(addr(0)), &mut Vec::new()).unwrap();
    space
}

fn with_flags(flags: VmaFlags) -> AddressSpace {
    with(MapRequest { flags, ..anonymous(4, READ_WRITE) })
}

#[test]
fn line_49_arguments_are_checked_even_for_no_bytes() {
    for number in [-1, 5, 7, 26, 99, 100, 101, 104] {
        assert_eq!(Advice::from_number(number).map_err(AdviseError::errno), Err(errno::EINVAL));
    }
    for &advice in Advice::ALL {
        assert_eq!(Advice::from_number(advice as i32), Ok(advice));
        let mut space = space();
        let mut at = |start, len| {
            space.advise(start, len, advice, &mut Vec::new()).map_err(AdviseError::errno)
        };
        assert_eq!(at(addr(0), 0), Ok(()), "nothing is mapped, and nothing is asked for");
        assert_eq!(at(VirtAddr(BASE + 1), 0), Err(errno::EINVAL));
        assert_eq!(at(addr(0), u64::MAX), Err(errno::EINVAL));
        assert_eq!(at(VirtAddr(u64::MAX).page_start(), 2 * PAGE_BYTES), Err(errno::EINVAL));
    }
}

#[test]
fn line_49_a_hole_is_told_when_every_mapped_part_is_done() {
    let mut space = drawn("AA BB");
    let mut pieces = Vec::new();
    let done = space.advise(addr(1), 3 * PAGE_BYTES, Advice::Random, &mut pieces);
    assert_eq!(done, Err(AdviseError::Hole { at: addr(2) }));
    assert!(pieces.iter().map(|piece| piece.range).eq([pages(1, 2), pages(3, 4)]));
    let random: Vec<bool> =
        [0, 1, 3, 4].map(|page| flags(&space, page).contains(VmaFlags::READ_RANDOM)).into();
    assert_eq!(random, [false, true, true, false]);
}

#[test]
fn line_50_locked_pages_are_not_given_up() {
    for (advice, expected) in [
        (Advice::DontNeed, errno::EINVAL),
        (Advice::DontNeedLocked, 0),
        (Advice::Free, errno::EINVAL),
        (Advice::Cold, errno::EINVAL),
        (Advice::PageOut, errno::EINVAL),
        (Advice::Remove, errno::EINVAL),
        (Advice::GuardInstall, errno::EINVAL),
        (Advice::GuardRemove, 0),
        (Advice::WillNeed, 0),
    ] {
        assert_eq!(errno(&mut with_flags(VmaFlags::LOCKED), advice), expected, "{advice:?}");
    }
}

#[test]
fn line_51_to_54_what_is_for_some_areas_only() {
    let (anon, file) = (anonymous(4, READ_WRITE), shared('A', 0, 4));
    let private = MapRequest { sharing: Sharing::Private, ..file };
    let read_only = MapRequest { flags: VmaFlags::NEVER_WRITE, ..shared('a', 0, 4) };
    let none = anonymous(4, Prot::empty());
    for (request, advice, expected) in [
        (anon, Advice::Free, 0),
        (file, Advice::Free, errno::EINVAL),
        (private, Advice::Free, errno::EINVAL),
        (anon, Advice::Remove, errno::EINVAL),
        (private, Advice::Remove, errno::EACCES),
        (read_only, Advice::Remove, errno::EACCES),
        (file, Advice::Remove, 0),
        (none, Advice::PopulateRead, errno::EINVAL),
        (anonymous(4, Prot::WRITE), Advice::PopulateRead, errno::EINVAL),
        (anonymous(4, Prot::WRITE), Advice::PopulateWrite, 0),
        (anonymous(4, Prot::READ), Advice::PopulateWrite, errno::EINVAL),
        (read_only, Advice::PopulateRead, 0),
        (anon, Advice::WipeOnFork, 0),
        (file, Advice::WipeOnFork, errno::EINVAL),
        (private, Advice::WipeOnFork, errno::EINVAL),
        (file, Advice::KeepOnFork, 0),
        (anon, Advice::Collapse, errno::EINVAL),
    ] {
        assert_eq!(errno(&mut with(request), advice), expected, "{advice:?} of {request:?}");
    }
}

#[test]
fn line_53_populating_ends_at_a_hole() {
    let mut space = drawn("AA BB");
    let mut pieces = Vec::new();
    let done = space.advise(addr(0), 5 * PAGE_BYTES, Advice::PopulateRead, &mut pieces);
    assert_eq!(done, Err(AdviseError::Hole { at: addr(2) }));
    assert!(pieces.iter().map(|piece| piece.range).eq([pages(0, 2)]));
}

#[test]
fn line_34_and_54_marks_split_areas_and_taking_them_back_merges() {
    for (set, clear, flag) in [
        (Advice::DontFork, Advice::DoFork, VmaFlags::DONT_FORK),
        (Advice::WipeOnFork, Advice::KeepOnFork, VmaFlags::WIPE_ON_FORK),
        (Advice::DontDump, Advice::DoDump, VmaFlags::DONT_DUMP),
        (Advice::Random, Advice::Normal, VmaFlags::READ_RANDOM),
        (Advice::Sequential, Advice::Normal, VmaFlags::READ_SEQUENTIAL),
        (Advice::Mergeable, Advice::Unmergeable, VmaFlags::MERGEABLE),
    ] {
        let mut space = with_flags(VmaFlags::empty());
        assert_eq!(advise(&mut space, 1, 2, set), Ok(1));
        assert_eq!((flags(&space, 1), space.len()), (flag, 3), "{set:?}");
        assert_eq!(advise(&mut space, 0, 4, clear), Ok(3));
        assert_eq!((flags(&space, 1), space.len()), (VmaFlags::empty(), 1), "{clear:?}");
    }
}

#[test]
fn one_pattern_of_reads_replaces_the_other() {
    let mut space = with_flags(VmaFlags::READ_RANDOM);
    advise(&mut space, 0, 4, Advice::Sequential).unwrap();
    assert_eq!(flags(&space, 0), VmaFlags::READ_SEQUENTIAL);
    advise(&mut space, 0, 4, Advice::HugePage).unwrap();
    advise(&mut space, 0, 4, Advice::NoHugePage).unwrap();
    assert_eq!(flags(&space, 0), VmaFlags::READ_SEQUENTIAL | VmaFlags::NO_HUGE_PAGES);
}

#[test]
fn line_55_guards_do_not_split_areas() {
    let mut space = drawn("AAAA");
    assert_eq!(advise(&mut space, 1, 3, Advice::GuardInstall), Ok(1));
    assert_eq!(space.len(), 1);
    assert!(space.guards().contains(addr(2)) && !space.guards().contains(addr(3)));
    assert_eq!(advise(&mut space, 0, 2, Advice::GuardRemove), Ok(1));
    assert!(space.guards().iter().eq([pages(2, 3)]));
    assert_eq!(advise(&mut space, 0, 4, Advice::DontNeed), Ok(1));
    assert!(space.guards().contains(addr(2)), "it outlives the pages");
    space.unmap(pages(2, 3), &mut Vec::new()).unwrap();
    assert!(space.guards().is_empty());
    space.check_invariants();
}

#[test]
fn line_55_a_map_over_guards_has_none() {
    let mut space = drawn("AAAA");
    advise(&mut space, 1, 3, Advice::GuardInstall).unwrap();
    place(&mut space, 'B', 0, 2);
    assert!(space.guards().iter().eq([pages(2, 3)]));
}

#[test]
fn what_a_device_refuses() {
    for (advice, expected) in [
        (Advice::DontNeed, errno::EINVAL),
        (Advice::DontNeedLocked, errno::EINVAL),
        (Advice::Cold, errno::EINVAL),
        (Advice::DoFork, errno::EINVAL),
        (Advice::DoDump, errno::EINVAL),
        (Advice::GuardInstall, errno::EINVAL),
        (Advice::DontFork, 0),
        (Advice::Random, 0),
    ] {
        assert_eq!(errno(&mut with_flags(VmaFlags::DEVICE), advice), expected, "{advice:?}");
    }
}

#[test]
fn an_area_that_may_not_be_split_is_eagain() {
    let mut space = AddressSpace::with_config(config(0, 2));
    private(&mut space, 0, 4);
    assert_eq!(advise(&mut space, 1, 2, Advice::Random), Err(errno::EAGAIN));
    assert_eq!(advise(&mut space, 0, 2, Advice::Random), Ok(1));
}
