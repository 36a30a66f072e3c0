//! fork(2): line 60 of the checklist, as far as areas go.

use super::*;

#[test]
fn line_60_what_a_child_has() {
    let mut space = drawn("AABBCCDD");
    private(&mut space, 8, 12);
    let mut advise = |start, end, advice| {
        let len = (end - start) * PAGE_BYTES;
        space.advise(addr(start), len, advice, &mut Vec::new()).unwrap();
    };
    advise(2, 4, Advice::DontFork);
    advise(8, 10, Advice::WipeOnFork);
    for page in [0, 3, 9, 11] {
        advise(page, page + 1, Advice::GuardInstall);
    }
    space.lock(addr(4), PAGE_BYTES, LockKind::Full).unwrap();
    space.lock_all(LockAll::FUTURE).unwrap();
    space.seal(addr(6), 1, 0).unwrap();
    let child = space.fork();
    child.check_invariants();
    space.check_invariants();
    assert_eq!(draw(&child), "AA  CCD|DZZ|ZZ");
    assert!(space.not_inherited().eq([pages(2, 4)]));
    assert_eq!((child.locked_pages(), child.future_locks()), (0, VmaFlags::empty()));
    assert_eq!(child.find(addr(4)).unwrap().range, pages(4, 6), "without the lock it is one");
    assert!(flags(&child, 6).contains(VmaFlags::SEALED));
    assert!(flags(&child, 8).contains(VmaFlags::WIPE_ON_FORK));
    assert!(!child.find(addr(8)).unwrap().is_copied_at_fork());
    assert!(child.find(addr(10)).unwrap().is_copied_at_fork());
    assert!(child.guards().iter().eq([pages(0, 1), pages(11, 12)]), "{:?}", child.guards());
    assert_eq!(child.limits(), space.limits());
}

#[test]
fn line_60_inherited_pages_keep_areas_apart() {
    let mut space = space();
    private(&mut space, 0, 2);
    space.touched(addr(0));
    let mut child = space.fork();
    private(&mut child, 2, 4);
    private(&mut space, 2, 4);
    assert_eq!((space.len(), child.len()), (1, 2));
}

#[test]
fn line_60_a_childs_stack_and_gaps_are_its_parents() {
    let mut space = space();
    let stack = MapRequest { flags: VmaFlags::GROWS_DOWN, ..anonymous(2, READ_WRITE) };
    map_at(&mut space, &stack, Place::Fixed(addr(20)), &mut Vec::new()).unwrap();
    let mut child = space.fork();
    assert!(child.gaps().eq(space.gaps()));
    assert_eq!(child.grow_down(addr(19)), Ok(pages(19, 20)));
    child.check_invariants();
}

#[test]
fn own_pages_of_neighbours_are_one_set_when_only_rights_differ() {
    let mut space = space();
    private(&mut space, 0, 4);
    space.protect(pages(2, 4), Prot::READ).unwrap();
    space.touched(addr(0));
    space.touched(addr(2));
    space.protect(pages(2, 4), READ_WRITE).unwrap();
    assert_eq!(space.len(), 1);

    let mut apart = AddressSpace::with_config(config(0, 100));
    private(&mut apart, 0, 2);
    private(&mut apart, 4, 6);
    apart.touched(addr(0));
    apart.touched(addr(4));
    private(&mut apart, 2, 4);
    assert_eq!(apart.len(), 2, "it is one with the area below, and above are other own pages");
    apart.check_invariants();
}
