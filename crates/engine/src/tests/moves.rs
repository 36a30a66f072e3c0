//! Pages that change their addresses or what is at them: remap, maps over maps, guards,
//! and what a child doesn't have.

use std::vec::Vec;

use faultless_addr::*;

use super::driver::carry_out;
use crate::fault::Waiter;
use crate::space::{Backing, *};
use crate::*;

const SPACE: SpaceId = SpaceId(0);
const BASE: u64 = 1 << 30;

struct Fixture {
    engine: Engine,
    plan: Plan,
}

fn addr(page: u64) -> VirtAddr {
    VirtAddr(BASE).plus_pages(page)
}

fn pages(start: u64, end: u64) -> VirtRange {
    VirtRange::new(addr(start), addr(end))
}

fn fixture() -> Fixture {
    fixture_of(16)
}

fn fixture_of(frames: u32) -> Fixture {
    let config = Config { guard_pages: 0, ..Config::new(frames, std::vec![pages(0, 64)]) };
    Fixture { engine: Engine::new(config), plan: Plan::new() }
}

/// On a machine where each private address is a place of its own.
fn fixture_of_places() -> Fixture {
    let config = Config {
        guard_pages: 0,
        addresses: Addresses::OneIfPrivate,
        ..Config::new(16, std::vec![pages(0, 64)])
    };
    Fixture { engine: Engine::new(config), plan: Plan::new() }
}

impl Fixture {
    fn request(range: VirtRange, backing: Backing, sharing: Sharing) -> MapRequest {
        MapRequest {
            place: Place::Fixed(range.start),
            len: range.len(),
            prot: Prot::READ | Prot::WRITE,
            sharing,
            backing,
            flags: VmaFlags::empty(),
            merge: Merge::Yes,
        }
    }

    fn map(&mut self, range: VirtRange, backing: Backing, sharing: Sharing) {
        let request = Fixture::request(range, backing, sharing);
        self.engine.map_over(SPACE, request, &mut self.plan).unwrap();
        self.clear(SPACE);
    }

    fn clear(&mut self, space: SpaceId) {
        self.carry_out();
        while self.engine.clear_step(space, pages(0, 64), &mut self.plan).is_some() {
            self.carry_out();
        }
    }

    /// Faults until nothing is in the way; answers the frame, or the signal.
    fn touch(&mut self, space: SpaceId, page: u64, access: Access) -> Result<FrameNo, Signal> {
        for _ in 0..10 {
            let plan = &mut self.plan;
            let outcome = self.engine.fault(space, addr(page), access, Waiter::Caller, plan);
            self.carry_out();
            match outcome {
                Outcome::Resolved => return Ok(self.shown(space, page).expect("it is shown")),
                Outcome::Signal(signal) => return Err(signal),
                Outcome::Waiting(_) => {}
                Outcome::NoFrame(scope) => {
                    self.engine.reclaim(scope, 1, &mut self.plan);
                    self.carry_out();
                }
            }
        }
        panic!("page {page} is never served");
    }

    fn shown(&self, space: SpaceId, page: u64) -> Option<FrameNo> {
        let at = (space, addr(page));
        let is_there = |no: FrameNo| self.engine.addresses_of(no).any(|(s, a, _)| (s, a) == at);
        self.engine.frames().map(|(no, _)| no).find(|no| is_there(*no))
    }

    fn carry_out(&mut self) {
        carry_out(&mut self.engine, &mut self.plan);
    }

    fn remap(&mut self, from: VirtRange, to: u64, flags: RemapFlags) -> Remapped {
        let flags = flags | RemapFlags::MAY_MOVE | RemapFlags::FIXED;
        let (old, new) = (from.start, addr(to));
        let (old_len, new_len) = (from.len(), from.len());
        let request = RemapRequest { old, old_len, new_len, flags, new };
        let remapped = self.engine.remap(SPACE, request, &mut self.plan).unwrap();
        self.clear(SPACE);
        remapped
    }
}

#[test]
fn a_moved_page_is_the_same_page_elsewhere() {
    let mut it = fixture();
    it.map(pages(0, 4), Backing::Anonymous, Sharing::Private);
    let frame = it.touch(SPACE, 1, Access::Write).unwrap();
    assert_eq!(it.remap(pages(1, 3), 20, RemapFlags::empty()).start, addr(20));
    assert_eq!(it.shown(SPACE, 1), None, "it has left its old address");
    assert_eq!(it.touch(SPACE, 1, Access::Read), Err(Signal::SegvMapErr));
    assert_eq!(it.touch(SPACE, 20, Access::Read), Ok(frame));
    assert_eq!(it.engine.anonymous_pages(), 1);
}

#[test]
fn where_a_page_was_are_zeros_if_the_area_stays() {
    let mut it = fixture();
    it.map(pages(0, 2), Backing::Anonymous, Sharing::Private);
    let frame = it.touch(SPACE, 0, Access::Write).unwrap();
    it.remap(pages(0, 2), 20, RemapFlags::DONT_UNMAP);
    assert_ne!(it.touch(SPACE, 0, Access::Read).unwrap(), frame);
    assert_eq!(it.touch(SPACE, 20, Access::Read), Ok(frame));
}

#[test]
fn an_object_is_found_where_its_area_has_gone() {
    let mut it = fixture();
    let object = it.engine.create(ObjectOptions::file(8 * PAGE_BYTES, Rights::ReadWrite));
    let backing = Backing::Object { object, first: PageIndex(2) };
    it.map(pages(0, 4), backing, Sharing::Shared);
    let frame = it.touch(SPACE, 1, Access::Write).unwrap();
    it.remap(pages(0, 4), 30, RemapFlags::empty());
    assert_eq!(it.touch(SPACE, 31, Access::Read), Ok(frame));
    it.engine.set_size(object, 0, ResizedBy::User, &mut it.plan);
    it.carry_out();
    assert_eq!(it.shown(SPACE, 31), None, "the object knows where it is shown");
    assert_eq!(it.touch(SPACE, 31, Access::Read), Err(Signal::Bus));
}

#[test]
fn what_is_mapped_over_is_gone() {
    let mut it = fixture();
    it.map(pages(0, 4), Backing::Anonymous, Sharing::Private);
    let before = it.touch(SPACE, 1, Access::Write).unwrap();
    let object = it.engine.create(ObjectOptions::file(8 * PAGE_BYTES, Rights::ReadWrite));
    let backing = Backing::Object { object, first: PageIndex(0) };
    it.map(pages(1, 2), backing, Sharing::Private);
    assert_eq!(it.shown(SPACE, 1), None);
    assert_eq!(it.engine.anonymous_pages(), 0, "{before:?} is free");
    it.touch(SPACE, 1, Access::Read).unwrap();
    assert!(it.engine.is_resident(PageKey { object, page: PageIndex(0) }));
}

#[test]
fn retired_addresses_are_nobodys_until_their_pages_have_left() {
    let mut it = fixture();
    it.map(pages(0, 64), Backing::Anonymous, Sharing::Private);
    it.touch(SPACE, 9, Access::Write).unwrap();
    it.engine.retire(SPACE, pages(8, 12), &mut it.plan).unwrap();
    let anywhere = MapRequest {
        place: Place::Anywhere,
        ..Fixture::request(pages(0, 4), Backing::Anonymous, Sharing::Private)
    };
    let behind = MapRequest { place: Place::FixedNoReplace(addr(8)), ..anywhere };
    assert!(it.shown(SPACE, 9).is_some(), "the page has yet to leave");
    assert_eq!(it.engine.map(SPACE, anywhere), Err(MapError::NoRoom));
    assert_eq!(it.engine.map(SPACE, behind), Err(MapError::Occupied));
    assert_eq!(it.touch(SPACE, 8, Access::Write), Err(Signal::SegvAccErr));
    it.clear(SPACE);
    it.engine.unmap(SPACE, pages(8, 12), &mut it.plan).unwrap();
    assert!(it.plan.is_empty(), "no page is left to take away");
    assert_eq!(it.engine.map(SPACE, anywhere), Ok(pages(8, 12)));
    let zeros = it.touch(SPACE, 9, Access::Read).unwrap();
    assert!(!it.engine.frames().any(|(no, frame)| no == zeros && frame.is_dirty()));
}

/// Two frames for one store would never be there at the same time: what is read to be
/// copied is what leaves for the copy.
#[test]
fn case_4a_promote_where_there_is_one_frame() {
    let mut it = fixture_of(1);
    let file = it.engine.create(ObjectOptions::file(4 * PAGE_BYTES, Rights::ReadOnly));
    let backing = Backing::Object { object: file, first: PageIndex(0) };
    it.map(pages(0, 4), backing, Sharing::Private);
    it.touch(SPACE, 1, Access::Read).unwrap();
    let frame = it.touch(SPACE, 1, Access::Write).unwrap();
    assert!(it.engine.has_own_page(SPACE, addr(1)) && it.engine.frame(frame).is_dirty());
    assert!(!it.engine.is_resident(PageKey { object: file, page: PageIndex(1) }));
    assert_eq!(it.engine.resident(file), 0);
    it.engine.dont_need(SPACE, pages(0, 4), &mut it.plan);
    it.clear(SPACE);
    assert_eq!((it.engine.stats().frames_used, it.engine.anonymous_pages()), (0, 0));
    it.touch(SPACE, 1, Access::Write).unwrap();
}

#[test]
fn case_1c_a_guard() {
    let mut it = fixture();
    it.map(pages(0, 4), Backing::Anonymous, Sharing::Private);
    it.touch(SPACE, 1, Access::Write).unwrap();
    let mut advise = |advice| {
        let range = (addr(1), PAGE_BYTES);
        it.engine.advise_range(SPACE, range, advice, &mut Vec::new(), &mut it.plan).unwrap();
        it.clear(SPACE);
        it.touch(SPACE, 1, Access::Read)
    };
    assert_eq!(advise(Advice::GuardInstall), Err(Signal::SegvMapErr));
    assert!(advise(Advice::GuardRemove).is_ok());
}

#[test]
fn a_child_has_no_pages_of_what_it_is_not_to_have() {
    let mut it = fixture();
    it.map(pages(0, 3), Backing::Anonymous, Sharing::Private);
    for page in 0..3 {
        it.touch(SPACE, page, Access::Write).unwrap();
    }
    for (page, advice) in [(0, Advice::DontFork), (1, Advice::WipeOnFork)] {
        let range = (addr(page), PAGE_BYTES);
        it.engine.advise_range(SPACE, range, advice, &mut Vec::new(), &mut it.plan).unwrap();
    }
    let child = it.engine.fork(SPACE);
    while it.engine.fork_step(SPACE, &mut it.plan).is_some() {
        it.carry_out();
    }
    assert_eq!(it.touch(child, 0, Access::Read), Err(Signal::SegvMapErr));
    let wiped = it.touch(child, 1, Access::Read).unwrap();
    assert_ne!(Some(wiped), it.shown(SPACE, 1));
    assert_eq!(it.touch(child, 2, Access::Read).ok(), it.shown(SPACE, 2));
}

#[test]
fn a_page_that_is_paged_out_is_read_back_from_swap() {
    let mut it = fixture();
    let swap = it.engine.create(ObjectOptions::file(8 * PAGE_BYTES, Rights::ReadWrite));
    it.engine.set_swap(swap);
    it.map(pages(0, 2), Backing::Anonymous, Sharing::Private);
    it.touch(SPACE, 0, Access::Write).unwrap();
    let range = (addr(0), PAGE_BYTES);
    let plan = &mut it.plan;
    it.engine.advise_range(SPACE, range, Advice::PageOut, &mut Vec::new(), plan).unwrap();
    it.carry_out();
    assert_eq!(it.engine.residency(SPACE, addr(0)), Some(Residency::Swap));
    it.touch(SPACE, 0, Access::Read).unwrap();
    assert_eq!(it.engine.residency(SPACE, addr(0)), Some(Residency::Memory));
}

#[test]
fn who_faults_again_before_a_map_is_reported_is_let_go() {
    let mut it = fixture();
    let object = it.engine.create(ObjectOptions::file(8 * PAGE_BYTES, Rights::ReadWrite));
    let backing = Backing::Object { object, first: PageIndex(0) };
    it.map(pages(0, 4), backing, Sharing::Private);
    let store = |it: &mut Fixture| {
        let plan = &mut it.plan;
        it.engine.fault(SPACE, addr(1), Access::Write, Waiter::Machine, plan)
    };
    // The page is read, and about to be shown to whoever loads.
    let load = it.engine.fault(SPACE, addr(1), Access::Read, Waiter::Machine, &mut it.plan);
    let Outcome::Waiting(no) = load else { panic!("{load:?}") };
    it.plan = Plan::new();
    it.engine.read_ended(PageIndex(1), &[no], ReadEnd::GOOD, &mut it.plan);
    let [Op::Map { space, at, write, .. }] = it.plan.ops[..] else { panic!("{:?}", it.plan.ops) };
    // The machine has shown it; a store is held, and comes to be known before the map is.
    it.plan = Plan::new();
    assert_eq!(store(&mut it), Outcome::Waiting(no));
    assert!(it.plan.is_empty());
    it.engine.mapped(space, at, &[no], write, &mut it.plan);
    let wake = Op::Wake { space: SPACE, range: pages(1, 2) };
    assert!(it.plan.ops.contains(&wake), "the store waits for ever: {:?}", it.plan.ops);
}

#[test]
fn who_faults_elsewhere_while_a_page_is_being_mapped_is_let_go_there() {
    let mut it = fixture();
    let object = it.engine.create(ObjectOptions::file(8 * PAGE_BYTES, Rights::ReadWrite));
    let backing = Backing::Object { object, first: PageIndex(0) };
    it.map(pages(0, 4), backing, Sharing::Shared);
    it.map(pages(20, 24), backing, Sharing::Private);
    let load = it.engine.fault(SPACE, addr(1), Access::Read, Waiter::Machine, &mut it.plan);
    let Outcome::Waiting(no) = load else { panic!("{load:?}") };
    it.plan = Plan::new();
    it.engine.read_ended(PageIndex(1), &[no], ReadEnd::GOOD, &mut it.plan);
    let [Op::Map { space, at, write, .. }] = it.plan.ops[..] else { panic!("{:?}", it.plan.ops) };
    assert_eq!(at, addr(1));
    // A store to the private map's page, whose bytes are those of the same frame.
    it.plan = Plan::new();
    let plan = &mut it.plan;
    let store = it.engine.fault(SPACE, addr(21), Access::Write, Waiter::Machine, plan);
    assert_eq!(store, Outcome::Waiting(no));
    it.engine.mapped(space, at, &[no], write, &mut it.plan);
    let wakes = |op: &Op| matches!(op, Op::Wake { range, .. } if range.contains(addr(21)));
    assert!(it.plan.ops.iter().any(wakes), "the store waits for ever: {:?}", it.plan.ops);
}

/// Where an anonymous page can be at one address only, child and parent have a frame each once
/// both have looked at it, and the page that they had together is one's own then.
#[test]
fn a_range_is_forked_and_a_page_of_both_is_at_one_address() {
    let mut it = fixture_of_places();
    it.map(pages(0, 4), Backing::Anonymous, Sharing::Private);
    for page in 0..4 {
        it.touch(SPACE, page, Access::Write).unwrap();
    }
    let child = it.engine.create_space(pages(0, 64));
    let request = Fixture::request(pages(0, 4), Backing::Anonymous, Sharing::Private);
    it.engine.map(child, request).unwrap();
    it.touch(child, 1, Access::Write).unwrap();
    it.engine.fork_range(SPACE, child, pages(0, 3));
    while it.engine.fork_range_step(SPACE, pages(0, 3), &mut it.plan).is_some() {
        it.carry_out();
    }
    let parents = (0..4).map(|page| it.shown(SPACE, page).unwrap()).collect::<Vec<_>>();
    let childs = [0, 1, 2].map(|page| it.touch(child, page, Access::Read).unwrap());
    assert!(childs.iter().all(|no| !parents.contains(no)), "{childs:?} {parents:?}");
    // Nothing of the parent's is taken away by that, and its stores go to what is its own.
    for page in 0..4 {
        let no = parents[page as usize];
        assert_eq!(it.shown(SPACE, page), Some(no));
        assert_eq!(it.touch(SPACE, page, Access::Write).unwrap(), no);
    }
    assert_eq!(it.engine.private_pages(child), 3, "the fourth is beyond the range");
}

/// A page of an object is at any number of addresses in shared areas, or at one in a private
/// area, whose place nobody else has.
#[test]
fn an_objects_page_is_in_one_private_area_or_in_shared_ones() {
    let mut it = fixture_of_places();
    let object = it.engine.create(ObjectOptions::file(4 * PAGE_BYTES, Rights::ReadWrite));
    let backing = Backing::Object { object, first: PageIndex(0) };
    it.map(pages(10, 14), backing, Sharing::Shared);
    it.map(pages(20, 24), backing, Sharing::Shared);
    it.map(pages(0, 4), backing, Sharing::Private);
    let copies = |it: &Fixture| it.engine.stats().faults_copy;
    // Who is alone looks at the object's own page.
    let private = it.touch(SPACE, 1, Access::Read).unwrap();
    assert_eq!(copies(&it), 0);
    // It leaves for those who share it, and they have it together.
    assert_eq!(it.touch(SPACE, 11, Access::Write).unwrap(), private);
    assert_eq!(it.shown(SPACE, 1), None);
    assert_eq!(it.touch(SPACE, 21, Access::Read).unwrap(), private);
    assert_eq!(it.shown(SPACE, 11), Some(private));
    it.engine.check_invariants();
    // The private reader sees what they have stored, and has it from them; but not for ever.
    let mut taken = 0;
    let copy = loop {
        match it.touch(SPACE, 1, Access::Read).unwrap() {
            no if no == private => taken += 1,
            copy => break copy,
        }
        assert_eq!((it.shown(SPACE, 11), it.shown(SPACE, 21)), (None, None));
        it.touch(SPACE, 11, Access::Write).unwrap();
        it.touch(SPACE, 21, Access::Read).unwrap();
        it.engine.check_invariants();
    };
    assert_eq!((taken, copies(&it)), (4, 1));
    assert_eq!((it.shown(SPACE, 11), it.shown(SPACE, 21)), (Some(private), Some(private)));
    assert_eq!(it.touch(SPACE, 1, Access::Write).unwrap(), copy);
    // Who is pinned stays.
    let mut pin = Pin::new(object, PageRange::from_len(PageIndex(2), 1), PinFor::Read);
    while it.engine.pin_step(&mut pin, &mut it.plan) != PinStep::Held {
        it.carry_out();
    }
    it.touch(SPACE, 2, Access::Read).unwrap();
    assert_eq!(copies(&it), 2);
    it.engine.unpin(&mut pin, &mut it.plan);
    it.carry_out();
    it.engine.check_invariants();
}

/// A store to a private page that a pin holds goes to a copy once the pin has ended, also if that
/// ends before it has held.
#[test]
fn a_store_waits_for_a_pin_that_comes_to_nothing() {
    let mut it = fixture_of_places();
    let object = it.engine.create(ObjectOptions::file(4 * PAGE_BYTES, Rights::ReadWrite));
    let backing = Backing::Object { object, first: PageIndex(0) };
    it.map(pages(10, 14), backing, Sharing::Shared);
    it.map(pages(0, 4), backing, Sharing::Private);
    it.touch(SPACE, 2, Access::Read).unwrap();
    let mut pin = Pin::new(object, PageRange::new(PageIndex(1), PageIndex(3)), PinFor::Read);
    it.plan = Plan::new();
    assert!(matches!(it.engine.pin_step(&mut pin, &mut it.plan), PinStep::Wait(_)));
    // The page behind leaves, and is looked at again; the first is still being read.
    let leavers = core::mem::take(&mut it.plan.keep);
    assert!(matches!(it.plan.ops[..], [Op::Read { .. }]), "{:?}", it.plan.ops);
    let mut plan = Plan::new();
    leavers.iter().for_each(|leaver| it.engine.unmapped(leaver, Leave::Keep, &mut plan));
    let reading = core::mem::replace(&mut it.plan, plan);
    it.carry_out();
    it.touch(SPACE, 2, Access::Read).unwrap();
    let mut plan = Plan::new();
    let store = it.engine.fault(SPACE, addr(2), Access::Write, Waiter::Machine, &mut plan);
    assert!(matches!(store, Outcome::Waiting(_)) && plan.is_empty(), "{store:?}");
    it.engine.unpin(&mut pin, &mut it.plan);
    let wakes = |op: &Op| matches!(op, Op::Wake { range, .. } if range.contains(addr(2)));
    assert!(it.plan.ops.iter().any(wakes), "the store waits for ever: {:?}", it.plan.ops);
    it.plan = reading;
    it.carry_out();
    it.touch(SPACE, 2, Access::Write).unwrap();
    it.engine.check_invariants();
}

#[test]
fn what_one_space_has_leaves_all_and_not_while_it_is_pinned() {
    let mut it = fixture_of_places();
    let object = it.engine.create(ObjectOptions::file(4 * PAGE_BYTES, Rights::ReadWrite));
    it.engine.advise(object, Pattern::Random);
    let backing = Backing::Object { object, first: PageIndex(0) };
    it.map(pages(10, 14), backing, Sharing::Shared);
    let other = it.engine.create_space(pages(0, 64));
    let request = Fixture::request(pages(20, 24), backing, Sharing::Shared);
    it.engine.map(other, request).unwrap();
    for page in 0..3 {
        it.touch(SPACE, 10 + page, Access::Write).unwrap();
        it.touch(other, 20 + page, Access::Read).unwrap();
    }
    it.touch(SPACE, 13, Access::Write).unwrap();
    let mut pin = Pin::new(object, PageRange::from_len(PageIndex(1), 1), PinFor::Read);
    assert_eq!(it.engine.pin_step(&mut pin, &mut it.plan), PinStep::Held);
    let vacated = |it: &mut Fixture| {
        let wait = it.engine.vacate_step(other, pages(0, 64), &mut it.plan);
        it.carry_out();
        wait
    };
    assert!(vacated(&mut it).is_some());
    let shown = |it: &Fixture| [10, 11, 12, 13].map(|page| it.shown(SPACE, page).is_some());
    assert_eq!(shown(&it), [false, true, false, true]);
    it.engine.unpin(&mut pin, &mut it.plan);
    while vacated(&mut it).is_some() {}
    assert_eq!(shown(&it), [false, false, false, true]);
    // What is about to be shown there is waited for.
    it.engine.fault(other, addr(23), Access::Read, Waiter::Machine, &mut it.plan);
    let map = core::mem::take(&mut it.plan);
    assert!(it.engine.vacate_step(other, pages(0, 64), &mut it.plan).is_some());
    assert!(it.plan.keep.is_empty(), "{:?}", it.plan.keep);
    it.plan = map;
    it.carry_out();
    while vacated(&mut it).is_some() {}
    assert_eq!(shown(&it), [false; 4]);
    it.engine.check_invariants();
}
