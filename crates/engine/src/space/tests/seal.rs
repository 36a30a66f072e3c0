//! mseal(2): line 36 of the checklist.

use super::*;

fn sealed() -> AddressSpace {
    let mut space = drawn("AABBCC");
    space.seal(addr(2), 2 * PAGE_BYTES, 0).unwrap();
    space.check_invariants();
    space
}

#[test]
fn line_36_arguments() {
    let mut space = drawn("AA B");
    let mut seal = |start, len, flags| space.seal(start, len, flags).map_err(SealError::errno);
    assert_eq!(seal(addr(0), 1, 1), Err(errno::EINVAL));
    assert_eq!(seal(VirtAddr(BASE + 1), 1, 0), Err(errno::EINVAL));
    assert_eq!(seal(addr(0), u64::MAX, 0), Err(errno::EINVAL));
    assert_eq!(seal(addr(8), 0, 0), Ok(()));
    assert_eq!(seal(addr(1), 3 * PAGE_BYTES, 0), Err(errno::ENOMEM));
    assert!(space.iter().all(|area| !area.is_sealed()), "a hole, and nothing is sealed");
}

#[test]
fn line_36_nothing_at_all_is_removed() {
    let mut space = sealed();
    let mut gone = Vec::new();
    let unmapped = space.unmap(pages(0, 6), &mut gone).map_err(UnmapError::errno);
    assert_eq!(unmapped, Err(errno::EPERM));
    let mapped = map_at(&mut space, &shared('D', 0, 2), Place::Fixed(addr(1)), &mut gone);
    assert_eq!(mapped.map_err(MapError::errno), Err(errno::EPERM));
    assert_eq!((gone.len(), draw(&space).as_str()), (0, "AABBCC"));
}

#[test]
fn line_36_rights_stay_also_those_it_has() {
    let mut space = sealed();
    for prot in [Prot::READ, READ_WRITE] {
        let done = space.protect(pages(0, 6), prot);
        assert_eq!(done, Err(ProtectError::Sealed { at: addr(2) }));
        assert_eq!(done.map_err(ProtectError::errno), Err(errno::EPERM));
    }
    space.protect(pages(0, 6), Prot::READ).unwrap_err();
    assert_eq!(draw(&space), "aaBBCC");
}

#[test]
fn line_36_discards_are_for_what_can_be_written() {
    for (prot, advice, expected) in [
        (Prot::READ, Advice::DontNeed, errno::EPERM),
        (Prot::READ, Advice::GuardInstall, errno::EPERM),
        (Prot::READ, Advice::DontFork, errno::EPERM),
        (Prot::READ, Advice::Random, 0),
        (Prot::READ, Advice::Cold, 0),
        (READ_WRITE, Advice::DontNeed, 0),
    ] {
        let mut space = space();
        let one = anonymous(1, prot);
        map_at(&mut space, &one, Place::Fixed(addr(0)), &mut Vec::new()).unwrap();
        space.seal(addr(0), 1, 0).unwrap();
        let done = space.advise(addr(0), 1, advice, &mut Vec::new());
        assert_eq!(done.map_err(AdviseError::errno).err().unwrap_or(0), expected, "{advice:?}");
    }
    let mut file = drawn("aa");
    file.seal(addr(0), 1, 0).unwrap();
    file.advise(addr(0), 1, Advice::DontNeed, &mut Vec::new()).expect("the file has it still");
}

#[test]
fn line_36_locks_are_no_change() {
    let mut space = sealed();
    space.lock(addr(0), 6 * PAGE_BYTES, LockKind::Full).unwrap();
    assert_eq!(space.locked_pages(), 6);
}
