//! Pages that are pinned again by passes: who may still get in, and that whoever wants a page
//! to go gets it.

use std::vec::Vec;

use faultless_addr::*;

use super::driver::carry_out;
use crate::pass::Passes;
use crate::*;

const FRAMES: u32 = 16;
/// Of passes.
const SLOTS: u64 = 8;
const PAGES: u64 = 64;

struct Fixture {
    engine: Engine,
    object: ObjectId,
    space: VirtRange,
    plan: Plan,
}

fn fixture() -> Fixture {
    let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 40));
    let mut engine = Engine::new(Config::new(FRAMES, std::vec![bounds]));
    let size = PAGES * PAGE_BYTES - 100;
    let object = engine.create(ObjectOptions::file(size, Rights::ReadWrite));
    let prot = Prot::READ | Prot::WRITE;
    let space = engine.map_object(SpaceId(0), object, PageIndex(0), PAGES, prot).unwrap();
    Fixture { engine, object, space, plan: Plan::new() }
}

impl Fixture {
    fn pin(&mut self, page: u64, purpose: PinFor) -> Result<Pin, PinError> {
        let mut pin = Pin::new(self.object, PageRange::from_len(PageIndex(page), 1), purpose);
        if self.engine.pin_at_once(&mut pin) {
            return Ok(pin);
        }
        for _ in 0..8 {
            match self.engine.pin_step(&mut pin, &mut self.plan) {
                PinStep::Held => return Ok(pin),
                PinStep::Refused(why) => return Err(why),
                PinStep::Wait(_) => {}
                PinStep::NoFrame(scope) => drop(self.engine.reclaim(scope, 1, &mut self.plan)),
            }
            carry_out(&mut self.engine, &mut self.plan);
        }
        panic!("page {page} is neither pinned nor refused")
    }

    fn unpin(&mut self, mut pin: Pin) {
        self.engine.unpin(&mut pin, &mut self.plan);
        carry_out(&mut self.engine, &mut self.plan);
    }

    /// By the page's pass, if it has one.
    fn enter(&self, page: u64) -> Option<Pin> {
        let pages = PageRange::from_len(PageIndex(page), 1);
        Pin::by_pass(&self.engine.passes(), self.object, pages)
    }

    /// The page has a pass, with nobody in.
    fn open(&mut self, page: u64) {
        for _ in 0..2 {
            let pin = self.pin(page, PinFor::Read).unwrap();
            self.unpin(pin);
        }
        // Once more where another page's was used.
        let pin = self.enter(page).unwrap_or_else(|| self.pin(page, PinFor::Read).unwrap());
        self.unpin(pin);
        let pin = self.enter(page).expect("what is pinned again has a pass");
        self.unpin(pin);
    }

    fn reclaim_until(&mut self, happened: impl Fn(&Fixture) -> bool) {
        for _ in 0..16 {
            if happened(self) {
                return;
            }
            self.engine.reclaim(Scope::All, FRAMES, &mut self.plan);
            carry_out(&mut self.engine, &mut self.plan);
        }
        panic!("pages don't leave");
    }

    fn set_size(&mut self, size: u64) {
        self.engine.set_size(self.object, size, ResizedBy::Others, &mut self.plan);
        carry_out(&mut self.engine, &mut self.plan);
    }

    fn pinned(&self) -> u64 {
        self.engine.stats().pages_pinned
    }

    fn is_resident(&self, page: u64) -> bool {
        self.engine.lookup(self.object, PageIndex(page)).is_some()
    }
}

#[test]
fn pages_that_passes_were_for_leave_like_others() {
    for policy in [PolicyKind::TwoList, PolicyKind::Clock, PolicyKind::Sieve, PolicyKind::S3Fifo] {
        let mut it = fixture();
        it.engine.policy = policy.build(FRAMES);
        // Four times as many as there are frames, each of which gets one.
        (0..PAGES - 1).for_each(|page| it.open(page));
        assert_eq!(it.pinned(), 0);
    }
}

#[test]
fn whoever_is_in_keeps_the_page() {
    let mut it = fixture();
    it.open(1);
    let pins = [it.enter(1).unwrap(), it.enter(1).unwrap()];
    assert_eq!(it.pinned(), 1);
    // Those of its slot have none meanwhile.
    let others = || (2..PAGES - 1).filter(|page| page % SLOTS != 1);
    others().for_each(|page| it.open(page));
    assert!(it.is_resident(1));
    for pin in pins {
        assert!(it.is_resident(1));
        it.unpin(pin);
    }
    it.reclaim_until(|it| !it.is_resident(1));
}

/// Also where faults, not pins, want the room.
#[test]
fn reclaim_takes_pages_that_have_passes() {
    let mut it = fixture();
    let left = it.engine.pages_left_to_hold();
    (0..left).for_each(|page| it.open(page));
    it.reclaim_until(|it| it.engine.stats().frames_used == 0);
}

#[test]
fn a_pin_for_writing_is_the_only_one() {
    let mut it = fixture();
    it.open(1);
    let reader = it.enter(1).unwrap();
    assert_eq!(it.pin(1, PinFor::Write).unwrap_err(), PinError::Conflict(PageIndex(1)));
    assert!(it.enter(1).is_none(), "it has been recalled");
    it.unpin(reader);
    let writer = it.pin(1, PinFor::Write).unwrap();
    assert!(it.enter(1).is_none());
    assert_eq!(it.pin(1, PinFor::Read).unwrap_err(), PinError::Conflict(PageIndex(1)));
    it.unpin(writer);
    it.open(1);
}

#[test]
fn who_is_in_when_a_page_is_cut_off_keeps_it_and_nobody_else_gets_in() {
    let mut it = fixture();
    [1, 9].into_iter().for_each(|page| it.open(page));
    let mut reader = it.enter(9).unwrap();
    it.set_size(PAGE_BYTES);
    assert_eq!((it.is_resident(1), it.is_resident(9)), (false, true));
    assert!(it.enter(9).is_none());
    assert_eq!(it.pin(9, PinFor::Read).unwrap_err(), PinError::BeyondEnd(PageIndex(9)));
    // The last one leaves, and before the engine is told, others ask.
    assert!(!reader.leave(&it.engine.passes()));
    assert_eq!(it.engine.first_pinned(it.object, PageRange::all()), Some(PageIndex(9)));
    it.engine.recall_idle();
    assert!(it.is_resident(9));
    it.unpin(reader);
    assert_eq!((it.is_resident(9), it.pinned()), (false, 0));
}

#[test]
fn a_page_that_ends_inside_has_no_pass() {
    let mut it = fixture();
    for _ in 0..3 {
        assert!(it.enter(PAGES - 1).is_none());
        let pin = it.pin(PAGES - 1, PinFor::Read).unwrap();
        it.unpin(pin);
    }
    it.open(4);
    it.set_size(4 * PAGE_BYTES + 10);
    assert!(it.enter(4).is_none(), "its bytes beyond the end are no more");
}

#[test]
fn verbs_find_no_pin_where_nobody_is_in() {
    let mut it = fixture();
    it.open(3);
    assert_eq!(it.engine.first_pinned(it.object, PageRange::all()), None);
    it.open(3);
    let pin = it.enter(3).unwrap();
    assert_eq!(it.engine.first_pinned(it.object, PageRange::all()), Some(PageIndex(3)));
    it.unpin(pin);
    // As many as pins may hold: for others there is room all the same.
    let left = it.engine.pages_left_to_hold();
    (0..left).for_each(|page| it.open(page));
    let pins: Vec<Pin> = (20..20 + left).map(|page| it.pin(page, PinFor::Read).unwrap()).collect();
    assert_eq!(it.pinned(), left);
    pins.into_iter().for_each(|pin| it.unpin(pin));
    assert!(!it.space.is_empty());
}

/// The last who left a pass is slow to say so: by then it is others', and may be recalled.
#[test]
fn an_end_that_is_told_late_ends_nothing_else() {
    for recalled in [false, true] {
        let mut it = fixture();
        it.open(1);
        let mut slow = it.enter(1).unwrap();
        assert!(it.pin(1, PinFor::Write).is_err());
        assert!(!slow.leave(&it.engine.passes()));
        assert_eq!(it.engine.first_pinned(it.object, PageRange::all()), None);
        it.open(1);
        let reader = it.enter(1).unwrap();
        if recalled {
            assert!(it.pin(1, PinFor::Write).is_err());
        }
        it.unpin(slow);
        assert_eq!(it.pinned(), 1);
        assert_eq!(it.enter(1).is_some(), !recalled);
        it.unpin(reader);
        it.engine.check_invariants();
    }
}

#[test]
fn two_pages_of_one_slot() {
    let passes: Passes = Passes::new(7);
    let page = |page| PageKey { object: ObjectId(1), page: PageIndex(page) };
    assert_eq!(passes.open(page(1)), Some(None));
    assert_eq!(passes.open(page(5)), None, "somebody is in");
    assert!(!passes.give_back(page(1)));
    assert!(passes.take(page(1)) && !passes.take(page(5)));
    assert!(!passes.give_back(page(1)));
    assert_eq!(passes.open(page(5)), None, "it has been used: the first who comes goes");
    assert_eq!(passes.open(page(5)), Some(Some(page(1))), "it has not, since");
    assert!(passes.take(page(5)) && !passes.take(page(1)));
    assert!(!passes.recall(page(1)) && !passes.recall(page(5)), "somebody is in");
    assert!(!passes.give_back(page(5)) && passes.give_back(page(5)));
    assert!(passes.end(page(5)) && !passes.end(page(5)));
    let far = PageKey { object: ObjectId(1), page: PageIndex(1 << 40) };
    assert_eq!((passes.open(far), passes.take(far)), (None, false));
}
