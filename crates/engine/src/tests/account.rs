//! What spaces may have together, and that others keep theirs.

use std::vec::Vec;

use faultless_addr::*;

use super::driver::carry_out;
use crate::fault::Waiter;
use crate::space::{Backing, MapRequest, Merge, Place, Sharing, VmaFlags};
use crate::*;

const LIMITED: SpaceId = SpaceId(0);
const OTHER: SpaceId = SpaceId(1);
const FRAMES: u32 = 64;
const LIMIT: u32 = 16;
const PAGES: u64 = 200;

/// 64 frames, 16 of them for the first of two spaces; both show a file, whose pages are read
/// ahead, and have memory of their own.
struct Fixture {
    engine: Engine,
    file: Vec<VirtAddr>,
    own: Vec<VirtAddr>,
    object: ObjectId,
    plan: Plan,
}

fn fixture() -> Fixture {
    let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 40));
    let mut engine = Engine::new(Config::new(FRAMES, std::vec![bounds, bounds]));
    engine.open_account(LIMITED, LIMIT);
    let swap = engine.create(ObjectOptions::file(PAGES * PAGE_BYTES, Rights::ReadWrite));
    engine.set_swap(swap);
    let object = engine.create(ObjectOptions::file(PAGES * PAGE_BYTES, Rights::ReadWrite));
    let prot = Prot::READ | Prot::WRITE;
    let request = MapRequest {
        place: Place::Anywhere,
        len: PAGES * PAGE_BYTES,
        prot,
        sharing: Sharing::Private,
        backing: Backing::Anonymous,
        flags: VmaFlags::empty(),
        merge: Merge::No,
    };
    let (mut file, mut own) = (Vec::new(), Vec::new());
    for space in [LIMITED, OTHER] {
        let shown = engine.map_object(space, object, PageIndex(0), PAGES, prot).unwrap();
        file.push(shown.start);
        own.push(engine.map(space, request).unwrap().start);
    }
    Fixture { engine, file, own, object, plan: Plan::new() }
}

impl Fixture {
    /// Serves an access; answers for whom pages had to leave.
    fn touch(&mut self, space: SpaceId, at: VirtAddr, access: Access) -> Vec<Scope> {
        let mut scopes = Vec::new();
        for _ in 0..16 {
            match self.engine.fault(space, at, access, Waiter::Caller, &mut self.plan) {
                Outcome::Waiting(_) => self.carry_out(),
                Outcome::NoFrame(scope) => {
                    scopes.push(scope);
                    self.engine.reclaim(scope, 4, &mut self.plan);
                    self.carry_out();
                }
                Outcome::Resolved => return scopes,
                Outcome::Signal(signal) => panic!("{signal:?}"),
            }
        }
        panic!("{at:?} is never served")
    }

    fn used(&self) -> u32 {
        self.engine.account(LIMITED).expect("it is in one").used
    }

    fn carry_out(&mut self) {
        carry_out(&mut self.engine, &mut self.plan);
    }
}

#[test]
fn a_space_at_its_limit_loses_its_own_pages_and_no_others() {
    let mut it = fixture();
    let shown = |it: &Fixture| {
        let at = |n| it.own[1].plus_pages(n);
        (0..20).filter(|n| it.engine.own_frame(OTHER, at(*n)).is_some()).count()
    };
    (0..20).for_each(|n| drop(it.touch(OTHER, it.own[1].plus_pages(n), Access::Write)));
    let mut at_limit = 0;
    for n in 0..PAGES {
        let scopes = it.touch(LIMITED, it.file[0].plus_pages(n), Access::Read);
        at_limit += scopes.iter().filter(|scope| matches!(scope, Scope::Account(_))).count();
        let scopes = it.touch(LIMITED, it.own[0].plus_pages(n), Access::Write);
        at_limit += scopes.iter().filter(|scope| matches!(scope, Scope::Account(_))).count();
        assert!(it.used() <= LIMIT);
    }
    assert!(at_limit > 10, "{at_limit}");
    assert_eq!(shown(&it), 20);
    assert_eq!(it.engine.stats().frames_used, u64::from(20 + it.used()));
    assert_eq!(it.engine.account(LIMITED).unwrap().used_max, LIMIT);
    assert_eq!(it.engine.account(OTHER), None);
}

#[test]
fn who_finds_a_page_there_pays_nothing() {
    let mut it = fixture();
    (0..8).for_each(|n| drop(it.touch(OTHER, it.file[1].plus_pages(n * 7), Access::Read)));
    (0..8).for_each(|n| drop(it.touch(LIMITED, it.file[0].plus_pages(n * 7), Access::Read)));
    assert_eq!(it.used(), 0);
}

#[test]
fn advice_counts_as_well_and_pins_of_nobody_do_not() {
    let mut it = fixture();
    let all = PageRange::new(PageIndex(0), PageIndex(PAGES));
    it.engine.prefetch_of(LIMITED, it.object, all, &mut it.plan);
    it.carry_out();
    assert!((1..=LIMIT).contains(&it.used()), "{}", it.used());
    let before = it.used();
    it.engine.prefetch(it.object, all, &mut it.plan);
    it.carry_out();
    assert_eq!(it.used(), before);
    assert!(it.engine.stats().frames_used > u64::from(LIMIT));
}

#[test]
fn forks_are_in_their_parents_account() {
    let mut it = fixture();
    (0..8).for_each(|n| drop(it.touch(LIMITED, it.own[0].plus_pages(n), Access::Write)));
    let child = it.engine.fork(LIMITED);
    while it.engine.fork_step(LIMITED, &mut it.plan).is_some() {
        it.carry_out();
    }
    for n in 0..8 {
        it.touch(child, it.own[0].plus_pages(n), Access::Write);
        it.touch(LIMITED, it.own[0].plus_pages(n), Access::Write);
    }
    assert_eq!(it.used(), 16);
    let scopes = it.touch(child, it.own[0].plus_pages(100), Access::Write);
    assert!(matches!(scopes[..], [Scope::Account(_), ..]), "{scopes:?}");

    // When both are gone, nobody pays for the pages of the file that they leave behind.
    it.touch(LIMITED, it.file[0].plus_pages(50), Access::Read);
    let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 40));
    for space in [LIMITED, child] {
        it.engine.unmap(space, bounds, &mut it.plan).unwrap();
        it.carry_out();
        while it.engine.clear_step(space, bounds, &mut it.plan).is_some() {
            it.carry_out();
        }
        it.engine.remove_space(space);
        it.engine.check_invariants();
    }
    assert!(it.engine.stats().frames_used > 0);
    let next = it.engine.create_space(bounds);
    assert_eq!(it.engine.account(next), None, "a space that has been used again is new");
    it.engine.open_account(next, LIMIT);
    assert_eq!(it.engine.account(next).unwrap().used, 0);
    it.engine.check_invariants();
}

#[test]
fn a_copy_of_a_page_is_had_with_few_frames_too() {
    let mut it = fixture();
    let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 40));
    let tight = it.engine.create_space(bounds);
    it.engine.open_account(tight, 2);
    let request = MapRequest {
        place: Place::Anywhere,
        len: PAGES * PAGE_BYTES,
        prot: Prot::READ | Prot::WRITE,
        sharing: Sharing::Private,
        backing: Backing::Object { object: it.object, first: PageIndex(0) },
        flags: VmaFlags::empty(),
        merge: Merge::No,
    };
    let at = it.engine.map(tight, request).unwrap().start;
    for n in 0..40 {
        it.touch(tight, at.plus_pages(n), Access::Write);
        assert!(it.engine.account(tight).unwrap().used <= 2);
    }
}
