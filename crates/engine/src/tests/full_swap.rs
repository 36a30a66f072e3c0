//! A swap area without room: what can leave all the same does, whoever else can't.

use std::vec::Vec;

use faultless_addr::*;

use super::driver::carry_out_writing;
use crate::fault::Waiter;
use crate::space::{Backing, MapRequest, Merge, Place, Sharing, VmaFlags};
use crate::*;

const SPACE: SpaceId = SpaceId(0);
const FRAMES: u64 = 32;
const ENOSPC: i32 = 28;

/// Anonymous memory of as many pages as there are frames.
struct Fixture {
    engine: Engine,
    base: VirtAddr,
    plan: Plan,
    /// The only page that there is room for.
    fits: Option<VirtAddr>,
}

fn fixture(policy: PolicyKind) -> Fixture {
    let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 40));
    let config = Config { policy, run_max: 4, ..Config::new(FRAMES as u32, std::vec![bounds]) };
    let mut engine = Engine::new(config);
    let swap = engine.create(ObjectOptions::file(2 * FRAMES * PAGE_BYTES, Rights::ReadWrite));
    engine.set_swap(swap);
    let request = MapRequest {
        place: Place::Anywhere,
        len: FRAMES * PAGE_BYTES,
        prot: Prot::READ | Prot::WRITE,
        sharing: Sharing::Private,
        backing: Backing::Anonymous,
        flags: VmaFlags::empty(),
        merge: Merge::No,
    };
    let base = engine.map(SPACE, request).unwrap().start;
    Fixture { engine, base, plan: Plan::new(), fits: None }
}

impl Fixture {
    fn store(&mut self, page: u64) {
        let at = self.base.plus_pages(page);
        for _ in 0..4 {
            let waiter = Waiter::Caller;
            let outcome = self.engine.fault(SPACE, at, Access::Write, waiter, &mut self.plan);
            self.carry_out();
            if outcome == Outcome::Resolved {
                return;
            }
        }
        panic!("page {page} is never served")
    }

    fn reclaim(&mut self) {
        self.engine.reclaim(Scope::All, 1, &mut self.plan);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        let fits = self.fits;
        carry_out_writing(&mut self.engine, &mut self.plan, |engine, _, no| {
            match fits.is_some_and(|at| engine.own_frame(SPACE, at) == Some(no)) {
                true => Ok(()),
                false => Err((Failure::Write, ENOSPC)),
            }
        });
    }
}

/// Whichever page it is that can leave, its turn comes: those that can't are not asked again
/// and again before it.
#[test]
fn the_one_page_that_there_is_room_for_leaves() {
    use PolicyKind::*;
    for policy in [TwoList, Clock, Sieve, S3Fifo] {
        for page in 0..FRAMES {
            let mut it = fixture(policy);
            (0..FRAMES).for_each(|page| it.store(page));
            it.reclaim();
            // Most have been used twice, and are in less of a hurry to go.
            (0..FRAMES * 3 / 4).for_each(|page| it.store(page));
            it.fits = Some(it.base.plus_pages(page));
            let tries = (0..8 * FRAMES).take_while(|_| {
                it.reclaim();
                it.engine.stats().frames_used == FRAMES
            });
            assert!((tries.count() as u64) < 8 * FRAMES, "{policy}: page {page} doesn't leave");
        }
    }
}

/// Slots that pages have given up still take room in the area, until that is given back.
/// Meanwhile nobody gets them.
#[test]
fn room_that_nobody_uses_is_given_back() {
    let mut it = fixture(PolicyKind::TwoList);
    assert_eq!((it.engine.stale_swap_slots(), it.engine.begin_punch(8)), (0, None));
    let mut slots = Vec::new();
    for page in 0..8 {
        it.store(page);
        it.fits = Some(it.base.plus_pages(page));
        while it.engine.stats().frames_used > 0 {
            it.reclaim();
        }
    }
    slots.extend(it.engine.held_slots());
    assert_eq!((it.engine.swap_slots().0, it.engine.stale_swap_slots()), (8, 0));
    let gone = VirtRange::new(it.base, it.base.plus_pages(6));
    it.engine.unmap(SPACE, gone, &mut it.plan).unwrap();
    while it.engine.clear_step(SPACE, gone, &mut it.plan).is_some() {
        it.carry_out();
    }
    it.carry_out();
    assert_eq!((it.engine.swap_slots().0, it.engine.stale_swap_slots()), (2, 6));
    let (object, run) = it.engine.begin_punch(4).unwrap();
    assert_eq!(Some(object), it.engine.swap_object());
    assert_eq!((run.start, run.len), (slots[0], 4));
    it.engine.end_punch(run);
    let (_, rest) = it.engine.begin_punch(4).unwrap();
    assert_eq!((rest.start, rest.len), (slots[4], 2));
    it.engine.end_punch(rest);
    it.engine.check_invariants();
    assert_eq!((it.engine.stale_swap_slots(), it.engine.begin_punch(4)), (0, None));
}
