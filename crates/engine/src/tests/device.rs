//! Frames that a driver lends.

use faultless_addr::*;

use crate::object::ObjectOptions;
use crate::*;

const FIRST: PageIndex = PageIndex(0);
const SECOND: PageIndex = PageIndex(1);

/// Four frames in the budget, and behind them two of a device of two pages.
fn engine() -> (Engine, ObjectId, VirtRange) {
    let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 40));
    let config = Config { device_frames: 2, ..Config::new(4, std::vec![bounds]) };
    let mut engine = Engine::new(config);
    let device = engine.create(ObjectOptions::device(2 * PAGE_BYTES));
    let prot = Prot::READ | Prot::WRITE;
    let range = engine.map_object(SpaceId(0), device, FIRST, 3, prot).unwrap();
    (engine, device, range)
}

#[test]
fn a_frame_is_lent_once_and_as_one_page() {
    let (mut engine, device, _) = engine();
    let lent = |engine: &mut Engine, page, frame| engine.lend(device, page, FrameNo(frame));
    assert_eq!(lent(&mut engine, FIRST, 3), Err(LendError::NotDevice(FrameNo(3))));
    assert_eq!(lent(&mut engine, FIRST, 6), Err(LendError::NotDevice(FrameNo(6))));
    assert_eq!(lent(&mut engine, PageIndex(2), 4), Err(LendError::Beyond(PageIndex(2))));
    assert_eq!(lent(&mut engine, FIRST, 4), Ok(()));
    assert_eq!(lent(&mut engine, FIRST, 4), Ok(()), "again");
    assert_eq!(lent(&mut engine, FIRST, 5), Err(LendError::Taken(FIRST)));
    assert_eq!(lent(&mut engine, SECOND, 4), Err(LendError::Lent(FrameNo(4))));
    assert_eq!(engine.not_lent(device, PageRange::from_len(FIRST, 2)), Some(SECOND));
    engine.check_invariants();
}

#[test]
fn case_2e_what_is_not_lent_is_a_signal_and_so_is_what_is_beyond() {
    let (mut engine, device, range) = engine();
    engine.lend(device, FIRST, FrameNo(4)).unwrap();
    let mut plan = Plan::new();
    for page in [1, 2] {
        let at = range.start.plus_pages(page);
        let outcome = engine.fault(SpaceId(0), at, Access::Read, Waiter::Caller, &mut plan);
        assert_eq!(outcome, Outcome::Signal(Signal::Bus), "page {page}");
    }
    assert!(plan.is_empty());
}

#[test]
fn it_is_shown_writable_at_once_and_nobody_counts_it() {
    let (mut engine, device, range) = engine();
    engine.lend(device, FIRST, FrameNo(4)).unwrap();
    let mut plan = Plan::new();
    engine.show_device(SpaceId(0), range, &mut plan);
    let [Op::Map { space, at, frames, write }] = plan.ops[..] else { panic!("{:?}", plan.ops) };
    let shown = plan.frames(frames).to_vec();
    assert_eq!((at, &shown[..], write), (range.start, &[FrameNo(4)][..], WriteAccess::Allowed));
    let mut next = Plan::new();
    engine.mapped(space, at, &shown, write, &mut next);
    engine.reclaim(Scope::All, 4, &mut next);
    let mut all = PageRange::all();
    assert_eq!(engine.flush_step(device, &mut all, &mut next), FlushStep::Done);
    assert!(next.is_empty(), "nothing is reclaimed or written");
    let stats = engine.stats();
    assert_eq!((stats.frames_used, stats.pages_dirty), (0, 0));
    engine.check_invariants();
}
