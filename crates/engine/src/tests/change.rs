//! Changes of a backing: what waits for them, and what they wait for.

use std::vec::Vec;

use faultless_addr::*;

use super::driver::carry_out;
use crate::fault::Waiter;
use crate::*;

const SPACE: SpaceId = SpaceId(0);
const ALL: PageRange = PageRange { start: PageIndex(0), end: PageIndex(u64::MAX) };

/// A file of four pages, mapped; the names of what is done are answered.
struct Fixture {
    engine: Engine,
    object: ObjectId,
    base: VirtAddr,
    plan: Plan,
}

fn fixture(rights: Rights, prot: Prot) -> Fixture {
    let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 40));
    let mut engine = Engine::new(Config::new(16, std::vec![bounds]));
    let object = engine.create(ObjectOptions::file(4 * PAGE_BYTES, rights));
    let base = engine.map_object(SPACE, object, PageIndex(0), 8, prot).unwrap().start;
    Fixture { engine, object, base, plan: Plan::new() }
}

fn writable() -> Fixture {
    fixture(Rights::ReadWrite, Prot::READ | Prot::WRITE)
}

impl Fixture {
    fn fault(&mut self, page: u64, access: Access) -> Outcome {
        let at = self.base.plus_pages(page);
        self.engine.fault(SPACE, at, access, Waiter::Caller, &mut self.plan)
    }

    fn touch(&mut self, page: u64, access: Access) {
        while self.fault(page, access) != Outcome::Resolved {
            self.carry_out();
        }
    }

    fn carry_out(&mut self) -> Vec<&'static str> {
        carry_out(&mut self.engine, &mut self.plan)
    }

    fn flush_step(&mut self) -> FlushStep {
        self.engine.flush_step(self.object, &mut ALL.clone(), &mut self.plan)
    }

    fn set_size(&mut self, size: u64) {
        self.engine.set_size(self.object, size, ResizedBy::User, &mut self.plan);
    }

    fn size_seen(&mut self, look: Look, size: u64) -> u64 {
        self.engine.size_seen(self.object, look, size, &mut self.plan);
        self.engine.size(self.object)
    }
}

#[test]
fn no_write_begins_while_its_backing_is_changed() {
    let mut it = writable();
    for page in 1..4 {
        it.touch(page, Access::Write);
    }
    let changed = PageRange::new(PageIndex(2), ALL.end);
    it.engine.begin_change(it.object, changed).unwrap();
    assert_eq!(it.engine.begin_change(it.object, ALL), Err(InChange), "one at a time");
    it.engine.tick(5000, &mut it.plan);
    // Neither by age nor under pressure, nor with a neighbour that may be written.
    assert_eq!(it.engine.write_aged(1, 16, &mut it.plan), 1);
    assert_eq!(it.carry_out(), ["write"]);
    it.engine.reclaim(Scope::All, 16, &mut it.plan);
    assert!(!it.carry_out().contains(&"write"));
    assert_eq!(it.engine.dirty(it.object), 2);
    assert_eq!(it.flush_step(), FlushStep::InChange);
    it.plan.clear();
    it.engine.end_change(it.object, &mut it.plan);
    assert!(it.plan.wakes.frames, "who waits to write goes on");
    assert_eq!(it.flush_step(), FlushStep::More);
    assert_eq!(it.carry_out(), ["write"]);
    assert_eq!(it.engine.dirty(it.object), 0);
}

#[test]
fn a_cut_is_over_when_what_was_on_its_way_has_gone() {
    let mut it = writable();
    it.fault(3, Access::Read);
    let reading = core::mem::take(&mut it.plan);
    it.set_size(PAGE_BYTES);
    // Once nobody waited, and the page was there for a moment after the call.
    assert!(it.engine.gone_step(it.object, ALL, &mut it.plan).is_some());
    it.plan = reading;
    assert_eq!(it.carry_out(), ["read"]);
    assert_eq!(it.engine.gone_step(it.object, ALL, &mut it.plan), None);
    assert_eq!(it.engine.resident(it.object), 0);
}

#[test]
fn a_look_from_before_a_change_does_not_count() {
    let mut it = writable();
    let before = it.engine.begin_look(it.object);
    it.engine.begin_change(it.object, ALL).unwrap();
    let during = it.engine.begin_look(it.object);
    assert_eq!(it.size_seen(during, PAGE_BYTES), 4 * PAGE_BYTES);
    it.set_size(8 * PAGE_BYTES);
    it.engine.end_change(it.object, &mut it.plan);
    // Once each of them cut the object, and what had been stored since was lost.
    assert_eq!(it.size_seen(before, 4 * PAGE_BYTES), 8 * PAGE_BYTES);
    assert_eq!(it.size_seen(during, 4 * PAGE_BYTES), 8 * PAGE_BYTES);
    let after = it.engine.begin_look(it.object);
    assert_eq!(it.size_seen(after, 2 * PAGE_BYTES), 2 * PAGE_BYTES);
}

#[test]
fn of_two_looks_that_end_in_the_wrong_order_the_later_one_counts() {
    let mut it = writable();
    let (first, second) = (it.engine.begin_look(it.object), it.engine.begin_look(it.object));
    assert_eq!(it.size_seen(second, 6 * PAGE_BYTES), 6 * PAGE_BYTES);
    assert_eq!(it.size_seen(first, PAGE_BYTES), 6 * PAGE_BYTES);
}

#[test]
fn a_page_that_is_cut_while_it_is_dirty_goes_when_it_has_been_written() {
    let mut it = writable();
    it.touch(2, Access::Write);
    let look = it.engine.begin_look(it.object);
    assert_eq!(it.size_seen(look, 2 * PAGE_BYTES + 100), 2 * PAGE_BYTES + 100);
    assert_eq!(it.carry_out(), [""; 0], "what has been stored is not lost");
    assert_eq!(it.flush_step(), FlushStep::More);
    // Once it stayed, and what it had behind the end was in the file when that had grown.
    assert_eq!(it.carry_out(), ["write", "drop"]);
}

#[test]
fn who_may_write_from_now_on_begins_with_pages_that_nobody_has_stored_to() {
    let mut it = fixture(Rights::ReadOnly, Prot::READ);
    it.touch(1, Access::Read);
    // A machine may let stores pass before it has protected what it moved in.
    it.engine.allow_writes(it.object, &mut it.plan);
    assert_eq!(it.carry_out(), ["drop"]);
    it.touch(1, Access::Read);
    it.engine.check_invariants();
}

#[test]
fn who_may_write_already_keeps_what_has_been_stored() {
    let mut it = writable();
    it.touch(2, Access::Write);
    // Every mapping that may store says so.
    it.engine.allow_writes(it.object, &mut it.plan);
    assert_eq!(it.carry_out(), [""; 0]);
    assert_eq!(it.engine.dirty(it.object), 1);
}

#[test]
fn areas_that_always_join_are_one_where_their_pages_came_apart() {
    for (joining, areas) in [(Joining::AsOnLinux, 2), (Joining::Always, 1)] {
        let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 31));
        let mut engine = Engine::new(Config { joining, ..Config::new(16, std::vec![bounds]) });
        let range = VirtRange::from_len(bounds.start, 6 * PAGE_BYTES).unwrap();
        let mut plan = Plan::new();
        let request = space::MapRequest {
            place: space::Place::Fixed(range.start),
            len: range.len(),
            prot: Prot::READ | Prot::WRITE,
            sharing: space::Sharing::Private,
            backing: space::Backing::Anonymous,
            flags: space::VmaFlags::empty(),
            merge: space::Merge::Yes,
        };
        engine.map_over(SPACE, request, &mut plan).unwrap();
        let pages = |from: u64, to: u64| {
            VirtRange::new(range.start.plus_pages(from), range.start.plus_pages(to))
        };
        let store = |engine: &mut Engine, page| {
            let at = range.start.plus_pages(page);
            engine.fault(SPACE, at, Access::Write, Waiter::Caller, &mut Plan::new());
        };
        // Three parts; the outer ones are stored to while what is between differs.
        engine.protect(SPACE, pages(2, 4), Prot::empty(), &mut plan).unwrap();
        engine.protect(SPACE, pages(3, 4), Prot::READ, &mut plan).unwrap();
        store(&mut engine, 0);
        store(&mut engine, 5);
        engine.protect(SPACE, pages(2, 4), Prot::READ | Prot::WRITE, &mut plan).unwrap();
        assert_eq!(engine.space(SPACE).iter().count(), areas, "{joining:?}");
    }
}

#[test]
fn a_page_that_is_just_being_shown_leaves_when_it_has_been() {
    let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 40));
    let mut engine = Engine::new(Config::new(4, std::vec![bounds]));
    let object = engine.create(ObjectOptions::file(PAGE_BYTES, Rights::ReadOnly));
    let range = engine.map_object(SPACE, object, PageIndex(0), 1, Prot::READ).unwrap();
    let mut plan = Plan::new();
    engine.fault(SPACE, range.start, Access::Read, Waiter::Caller, &mut plan);
    let [Op::Read { run, .. }] = plan.ops[..] else { panic!("{:?}", plan.ops) };
    let frames = plan.frames(run.frames).to_vec();
    plan.clear();
    engine.read_ended(run.first, &frames, ReadEnd::GOOD, &mut plan);
    let [Op::Map { space, at, write, .. }] = plan.ops[..] else { panic!("{:?}", plan.ops) };
    plan.clear();
    // The thread may have been let go already, and calls.
    let mut rest = PageRange::all();
    assert_eq!(engine.drop_clean(object, &mut rest, &mut plan), Some(frames[0]));
    assert!(plan.is_empty());
    engine.mapped(space, at, &frames, write, &mut plan);
    assert_eq!(engine.drop_clean(object, &mut rest, &mut plan), None);
    assert_eq!(plan.drop.len(), 1, "it leaves");
}

#[test]
fn a_pin_that_waits_for_pages_which_a_cut_takes_is_told() {
    let mut it = fixture(Rights::ReadOnly, Prot::READ);
    let mut pin = Pin::new(it.object, PageRange::from_len(PageIndex(0), 4), PinFor::Read);
    let PinStep::Wait(no) = it.engine.pin_step(&mut pin, &mut it.plan) else { panic!("{pin:?}") };
    let reading = core::mem::take(&mut it.plan);
    // Another read has come up short: the cut is known before this one ends, in vain.
    let look = it.engine.begin_look(it.object);
    assert_eq!(it.size_seen(look, 0), 0);
    it.plan.clear();
    for op in &reading.ops {
        let Op::Read { run, .. } = *op else { panic!("{op:?}") };
        let end = ReadEnd { good: 0, failure: Failure::Shrunk, errno: 5 };
        it.engine.read_ended(run.first, reading.frames(run.frames), end, &mut it.plan);
    }
    assert!(it.plan.wakes.settled >> Wakes::group(no) & 1 == 1, "it looks again");
    let step = it.engine.pin_step(&mut pin, &mut it.plan);
    assert_eq!(step, PinStep::Refused(PinError::BeyondEnd(PageIndex(0))));
    it.carry_out();
    assert_eq!(it.engine.stats().frames_used, 0);
}

#[test]
fn who_waits_for_a_pinned_page_looks_again_when_others_have_cut_it_off() {
    let mut it = writable();
    let mut pin = Pin::new(it.object, PageRange::from_len(PageIndex(2), 1), PinFor::Write);
    while it.engine.pin_step(&mut pin, &mut it.plan) != PinStep::Held {
        it.carry_out();
    }
    let waits_for = it.engine.discard_step(it.object, ALL, &mut it.plan);
    let no = waits_for.expect("a pin holds it");
    let is_woken = |plan: &Plan| plan.wakes.settled >> Wakes::group(no) & 1 == 1;
    assert!(!is_woken(&it.plan));
    let look = it.engine.begin_look(it.object);
    assert_eq!(it.size_seen(look, PAGE_BYTES), PAGE_BYTES);
    // Once it was forgotten here that somebody waits.
    assert!(is_woken(&it.plan));
    it.carry_out();
    assert_eq!(it.engine.discard_step(it.object, ALL, &mut it.plan), Some(no), "it waits again");
    it.engine.unpin(&mut pin, &mut it.plan);
    let leaving = core::mem::take(&mut it.plan);
    for leaver in &leaving.drop {
        it.engine.unmapped(leaver, Leave::Drop, &mut it.plan);
    }
    assert!(is_woken(&leaving) || is_woken(&it.plan));
    assert_eq!(it.engine.stats().frames_used, 0);
}
