//! mlock(2) and its like: the lines of the checklist.

use super::*;

fn lock(space: &mut AddressSpace, start: u64, end: u64) -> Result<VirtRange, i32> {
    let len = (end - start) * PAGE_BYTES;
    let done = space.lock(addr(start), len, LockKind::Full);
    space.check_invariants();
    done.map_err(LockError::errno)
}

fn limited(bytes: u64) -> Limits {
    Limits { locked_bytes_max: bytes, ..Limits::NONE }
}

#[test]
fn line_57_a_hole_ends_a_lock_and_what_is_before_stays_locked() {
    let mut space = drawn("AA BB");
    assert_eq!(lock(&mut space, 1, 4), Err(errno::ENOMEM));
    assert!(flags(&space, 1).contains(VmaFlags::LOCKED));
    assert!(!flags(&space, 3).contains(VmaFlags::LOCKED));
    assert_eq!(space.locked_pages(), 1);
    assert_eq!(space.unlock(addr(0), 4 * PAGE_BYTES), Err(LockError::Hole { at: addr(2) }));
    assert_eq!((space.locked_pages(), space.len()), (0, 2));
}

#[test]
fn line_57_bytes_mean_their_pages() {
    let mut space = drawn("AAAA");
    let inside = VirtAddr(BASE + PAGE_BYTES + 5);
    assert_eq!(space.lock(inside, 0, LockKind::Full), Ok(pages(1, 2)), "as Linux rounds");
    assert_eq!(space.lock(addr(2), 0, LockKind::Full), Ok(pages(2, 2)));
    assert_eq!(space.lock(inside, PAGE_BYTES, LockKind::Full), Ok(pages(1, 3)));
    assert_eq!(space.lock(addr(0), u64::MAX, LockKind::Full), Ok(pages(0, 0)), "it wraps");
    let past = space.lock(VirtAddr(u64::MAX - 8191), u64::MAX / 2, LockKind::Full);
    assert_eq!(past.map_err(LockError::errno), Err(errno::EINVAL));
    assert_eq!(space.locked_pages(), 2);
}

#[test]
fn line_57_what_is_brought_in() {
    let mut space = drawn("AAbb");
    space.protect(pages(1, 2), Prot::empty()).unwrap();
    space.lock(addr(3), 1, LockKind::OnFault).unwrap();
    let range = lock(&mut space, 0, 3).unwrap();
    let accesses = space.to_populate(range).map(|piece| (piece.range, piece.populate_access()));
    use faultless_addr::Access::Read;
    let expected = [(pages(0, 1), Some(Read)), (pages(1, 2), None), (pages(2, 3), Some(Read))];
    assert!(accesses.eq(expected), "without rights, the lock ends in ENOMEM");
    assert_eq!(space.to_populate(pages(3, 4)).count(), 0, "on fault, and not now");
}

#[test]
fn line_58_limits() {
    let mut space = drawn("AAAAAA");
    space.set_limits(limited(3 * PAGE_BYTES));
    assert_eq!(lock(&mut space, 0, 4), Err(errno::ENOMEM));
    assert_eq!(space.locked_pages(), 0);
    lock(&mut space, 0, 2).unwrap();
    lock(&mut space, 0, 3).expect("what is locked already is counted once");
    assert_eq!(lock(&mut space, 5, 6), Err(errno::ENOMEM));
    space.set_limits(limited(0));
    assert_eq!(lock(&mut space, 0, 1), Err(errno::EPERM));
    assert_eq!(space.lock_all(LockAll::FUTURE).map_err(LockError::errno), Err(errno::EPERM));
    space.unlock(addr(0), 6 * PAGE_BYTES).expect("no right is needed");
    space.set_limits(Limits { lock_right: LockRight::Unlimited, ..limited(0) });
    lock(&mut space, 0, 6).unwrap();
}

#[test]
fn line_58_flags() {
    assert_eq!(LockKind::from_flags(0), Ok(LockKind::Full));
    assert_eq!(LockKind::from_flags(1), Ok(LockKind::OnFault));
    assert_eq!(LockKind::from_flags(2).map_err(LockError::errno), Err(errno::EINVAL));
    for bad in [0, 4, 8, 9] {
        let all = LockAll::from_bits_retain(bad);
        assert_eq!(space().lock_all(all).map_err(LockError::errno), Err(errno::EINVAL));
    }
}

#[test]
fn line_58_locks_of_areas_to_come() {
    let mut space = drawn("AA");
    space.set_limits(limited(4 * PAGE_BYTES));
    assert!(space.lock_all(LockAll::FUTURE).unwrap().is_empty());
    assert_eq!(space.locked_pages(), 0);
    place(&mut space, 'B', 4, 7);
    assert_eq!(flags(&space, 4), VmaFlags::LOCKED);
    let more = map_at(&mut space, &shared('B', 8, 2), Place::Anywhere, &mut Vec::new());
    assert_eq!(more.map_err(MapError::errno), Err(errno::EAGAIN));
    assert!(space.lock_all(LockAll::CURRENT).map_err(LockError::errno) == Err(errno::ENOMEM));
    space.unlock_all();
    assert_eq!((space.locked_pages(), space.future_locks()), (0, VmaFlags::empty()));
    let both = LockAll::FUTURE | LockAll::ON_FAULT;
    space.lock_all(both).unwrap();
    place(&mut space, 'C', 10, 11);
    assert_eq!(flags(&space, 10), VmaFlags::LOCKS);
}

#[test]
fn line_58_everything_is_locked() {
    let mut space = drawn("AA BBCC");
    assert_eq!(space.lock_all(LockAll::CURRENT), Ok(pages(0, PAGES)));
    space.check_invariants();
    assert_eq!((space.locked_pages(), space.future_locks()), (6, VmaFlags::empty()));
    let on_fault = LockAll::CURRENT | LockAll::ON_FAULT;
    space.lock_all(on_fault).unwrap();
    assert!(space.iter().all(|area| area.flags == VmaFlags::LOCKS));
    space.unlock_all();
    space.check_invariants();
    assert_eq!(space.locked_pages(), 0);
}

#[test]
fn line_34_locks_split_areas_and_unlocking_merges() {
    let mut space = drawn("AAAA");
    lock(&mut space, 1, 2).unwrap();
    assert_eq!(space.len(), 3);
    lock(&mut space, 0, 4).unwrap();
    assert_eq!((space.len(), space.locked_pages()), (1, 4));
    space.unlock(addr(1), 1).unwrap();
    assert_eq!((space.len(), space.locked_pages()), (3, 3));
}

#[test]
fn a_devices_pages_stay_without_a_lock() {
    let mut space = space();
    let device = MapRequest { flags: VmaFlags::DEVICE, ..shared('A', 0, 2) };
    map_at(&mut space, &device, Place::Fixed(addr(0)), &mut Vec::new()).unwrap();
    lock(&mut space, 0, 2).unwrap();
    assert_eq!((space.locked_pages(), flags(&space, 0)), (0, VmaFlags::DEVICE));
}

#[test]
fn an_area_that_may_not_be_split_is_enomem() {
    let mut space = AddressSpace::with_config(config(0, 2));
    private(&mut space, 0, 4);
    assert_eq!(lock(&mut space, 1, 2), Err(errno::ENOMEM));
}
