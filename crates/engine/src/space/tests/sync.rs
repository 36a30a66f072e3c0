//! msync(2), mincore(2) and accesses: the lines of the checklist.

use faultless_addr::Access;

use super::*;

fn sync(space: &AddressSpace, start: u64, end: u64, flags: SyncFlags) -> (i32, Vec<VirtRange>) {
    let mut pieces = Vec::new();
    let done = space.sync(addr(start), (end - start) * PAGE_BYTES, flags, &mut pieces);
    let errno = done.map_err(SyncError::errno).err().unwrap_or(0);
    (errno, pieces.iter().map(|piece| piece.range).collect())
}

#[test]
fn line_45_flags_and_ranges() {
    let space = drawn("AA");
    let (both, none) = (SyncFlags::ASYNC | SyncFlags::SYNC, SyncFlags::empty());
    assert_eq!(sync(&space, 0, 2, both).0, errno::EINVAL);
    assert_eq!(sync(&space, 0, 2, SyncFlags::from_bits_retain(8)).0, errno::EINVAL);
    assert_eq!(sync(&space, 0, 2, none), (0, Vec::new()));
    assert_eq!(sync(&space, 8, 8, SyncFlags::SYNC), (0, Vec::new()));
    let at = |start, len| space.sync(start, len, SyncFlags::SYNC, &mut Vec::new());
    assert_eq!(at(VirtAddr(BASE + 1), 0).map_err(SyncError::errno), Err(errno::EINVAL));
    let past = at(VirtAddr(u64::MAX).page_start(), 2 * PAGE_BYTES);
    assert_eq!(past.map_err(SyncError::errno), Err(errno::ENOMEM));
}

#[test]
fn line_45_a_hole_is_told_when_the_rest_is_done() {
    let mut space = drawn("AA BB");
    private(&mut space, 5, 6);
    let shared = Vec::from([pages(1, 2), pages(3, 5)]);
    assert_eq!(sync(&space, 1, 6, SyncFlags::SYNC), (errno::ENOMEM, shared));
    assert_eq!(sync(&space, 3, 6, SyncFlags::SYNC), (0, Vec::from([pages(3, 5)])));
    assert_eq!(sync(&space, 1, 6, SyncFlags::ASYNC), (errno::ENOMEM, Vec::new()));
    space.lock(addr(4), 1, LockKind::Full).unwrap();
    let now = SyncFlags::SYNC | SyncFlags::INVALIDATE;
    assert_eq!(sync(&space, 3, 6, now), (errno::EBUSY, Vec::from([pages(3, 4)])));
    let later = SyncFlags::ASYNC | SyncFlags::INVALIDATE;
    assert_eq!(sync(&space, 1, 5, later).0, errno::EBUSY);
    assert_eq!(sync(&space, 3, 6, SyncFlags::SYNC).0, 0);
}

#[test]
fn line_47_what_residency_is_asked_of() {
    let space = drawn("AAbb C");
    let ask = |start, len| {
        let mut pieces = Vec::new();
        let done = space.mincore(start, len, &mut pieces).map_err(MincoreError::errno);
        (done.err().unwrap_or(0), pieces.iter().map(|piece| piece.range.pages()).sum::<u64>())
    };
    assert_eq!(ask(VirtAddr(BASE + 1), 0), (errno::EINVAL, 0));
    assert_eq!(ask(addr(1), PAGE_BYTES + 1), (0, 2));
    assert_eq!(ask(addr(1), 5 * PAGE_BYTES), (errno::ENOMEM, 3));
    assert_eq!(ask(addr(4), 0), (0, 0));
    assert_eq!(ask(addr(0), u64::MAX / 2), (errno::ENOMEM, 0));
}

#[test]
fn line_19_and_55_signals() {
    let mut space = drawn("aA");
    let mut code = |page, access| {
        space.access(addr(page), access).map_err(AccessError::segv_code).err().unwrap_or(0)
    };
    assert_eq!(code(2, Access::Read), 1);
    assert_eq!(code(0, Access::Write), 2);
    assert_eq!(code(0, Access::Read), 0);
    assert_eq!(code(1, Access::Execute), 2);
    space.advise(addr(0), 1, Advice::GuardInstall, &mut Vec::new()).unwrap();
    let mut code = |page, access| {
        space.access(addr(page), access).map_err(AccessError::segv_code).err().unwrap_or(0)
    };
    assert_eq!(code(0, Access::Read), 1);
    assert_eq!(code(0, Access::Write), 2);
    let stack = MapRequest { flags: VmaFlags::GROWS_DOWN, ..anonymous(1, READ_WRITE) };
    map_at(&mut space, &stack, Place::Fixed(addr(9)), &mut Vec::new()).unwrap();
    space.unmap(pages(0, 2), &mut Vec::new()).unwrap();
    let grown = space.access(addr(7), Access::Write).map(|area| area.range);
    assert_eq!(grown, Ok(pages(7, 10)));
    space.check_invariants();
}
