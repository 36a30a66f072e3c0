//! Cases of a fault that were wrong once, and the drawn ones, one test each.

use std::vec::Vec;

use faultless_addr::*;

use super::driver::carry_out;
use crate::fault::Waiter;
use crate::*;

const SPACE: SpaceId = SpaceId(0);

struct Fixture {
    engine: Engine,
    object: ObjectId,
    base: VirtAddr,
    plan: Plan,
}

fn fixture(options: ObjectOptions, prot: Prot) -> Fixture {
    let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 40));
    let mut engine = Engine::new(Config::new(16, std::vec![bounds]));
    let object = engine.create(options);
    let range = engine.map_object(SPACE, object, PageIndex(0), 8, prot).unwrap();
    Fixture { engine, object, base: range.start, plan: Plan::new() }
}

fn file(rights: Rights) -> ObjectOptions {
    ObjectOptions::file(4 * PAGE_BYTES, rights)
}

impl Fixture {
    fn fault(&mut self, page: u64, access: Access) -> Outcome {
        let at = self.base.plus_pages(page);
        self.engine.fault(SPACE, at, access, Waiter::Machine, &mut self.plan)
    }

    /// Carries the plan out; answers the names of what was done.
    fn carry_out(&mut self) -> Vec<&'static str> {
        carry_out(&mut self.engine, &mut self.plan)
    }
}

#[test]
fn case_1a_no_area() {
    let mut it = fixture(file(Rights::ReadOnly), Prot::READ);
    assert_eq!(it.fault(9, Access::Read), Outcome::Signal(Signal::SegvMapErr));
}

#[test]
fn case_1b_the_area_forbids_it() {
    let mut it = fixture(file(Rights::ReadOnly), Prot::READ);
    assert_eq!(it.fault(0, Access::Write), Outcome::Signal(Signal::SegvAccErr));
}

#[test]
fn case_1c_beyond_the_end() {
    let mut it = fixture(file(Rights::ReadOnly), Prot::READ);
    assert_eq!(it.fault(4, Access::Read), Outcome::Signal(Signal::Bus));
}

#[test]
fn case_1c_beyond_the_end_as_zeros_again_and_again() {
    let options = ObjectOptions { on_error: OnError::Zeros, ..file(Rights::ReadOnly) };
    let mut it = fixture(options, Prot::READ);
    assert!(matches!(it.fault(4, Access::Read), Outcome::Waiting(_)));
    assert_eq!(it.carry_out(), ["zeros", "map read-only"]);
    // Once it waited for ever here, because the page was there and nothing settled.
    assert_eq!(it.fault(4, Access::Read), Outcome::Resolved);
    assert_eq!(it.carry_out(), ["wake"]);
}

#[test]
fn zeros_for_what_is_not_there_go_when_it_comes() {
    let options = ObjectOptions { on_error: OnError::Zeros, ..file(Rights::ReadWrite) };
    let mut it = fixture(options, Prot::READ | Prot::WRITE);
    it.fault(6, Access::Read);
    assert_eq!(it.carry_out()[0], "zeros");
    it.engine.set_size(it.object, 8 * PAGE_BYTES, ResizedBy::User, &mut it.plan);
    // Once they stayed: what was stored there was never written, and no pin could be had.
    assert_eq!(it.carry_out(), ["drop"]);
    it.fault(6, Access::Write);
    let done = it.carry_out();
    assert!(done.contains(&"read") && done.contains(&"map writable"), "{done:?}");
    assert_eq!(it.engine.dirty(it.object), 1);
}

#[test]
fn zeros_for_what_is_not_there_are_within_the_objects_limit() {
    let options = ObjectOptions { on_error: OnError::Zeros, limit: 2, ..file(Rights::ReadOnly) };
    let mut it = fixture(options, Prot::READ);
    for page in [4, 5] {
        it.fault(page, Access::Read);
        it.carry_out();
    }
    // Once they took frames for as long as there were any.
    let full = Outcome::NoFrame(Scope::Object(it.object));
    assert_eq!(it.fault(6, Access::Read), full);
    it.engine.reclaim(Scope::Object(it.object), 1, &mut it.plan);
    it.carry_out();
    assert!(matches!(it.fault(6, Access::Read), Outcome::Waiting(_)));
}

#[test]
fn case_2a_read_then_mapped() {
    let mut it = fixture(file(Rights::ReadOnly), Prot::READ);
    assert!(matches!(it.fault(1, Access::Read), Outcome::Waiting(_)));
    assert_eq!(it.carry_out(), ["read", "map read-only"]);
    let mut it = fixture(file(Rights::ReadWrite), Prot::READ | Prot::WRITE);
    it.fault(1, Access::Read);
    assert_eq!(it.carry_out(), ["read", "map tracked"]);
    it.fault(2, Access::Write);
    assert!(it.carry_out().contains(&"map writable"));
}

#[test]
fn case_2c_no_backing() {
    let mut it = fixture(ObjectOptions::zeros(4 * PAGE_BYTES), Prot::READ | Prot::WRITE);
    it.fault(0, Access::Read);
    assert_eq!(it.carry_out(), ["zeros", "map tracked"]);
}

#[test]
fn case_3a_who_meets_a_busy_page_joins() {
    let mut it = fixture(file(Rights::ReadOnly), Prot::READ);
    it.fault(1, Access::Read);
    let joined = |it: &Fixture| it.engine.stats().faults_joined;
    assert_eq!(joined(&it), 0, "whoever begins the read joins nobody");
    // On its way: three accesses, of which one comes back before the page does.
    it.fault(1, Access::Read);
    let at = it.base.plus_pages(1);
    for waiter in [Waiter::Caller, Waiter::Again] {
        let outcome = it.engine.fault(SPACE, at, Access::Read, waiter, &mut it.plan);
        assert!(matches!(outcome, Outcome::Waiting(_)));
    }
    assert_eq!(joined(&it), 2);
    it.carry_out();
    // Leaving: whoever comes then joins, and finds the page again.
    it.engine.reclaim(Scope::All, 1, &mut it.plan);
    it.fault(1, Access::Read);
    assert_eq!(joined(&it), 3);
    assert_eq!(it.carry_out(), ["keep", "map read-only"]);
    let stats = it.engine.stats();
    assert_eq!((stats.faults_major, stats.faults_minor, stats.faults_spurious), (1, 0, 0));
}

#[test]
fn case_3a_a_store_at_one_address_while_the_page_is_mapped_at_another() {
    let mut it = fixture(file(Rights::ReadWrite), Prot::READ | Prot::WRITE);
    it.fault(1, Access::Read);
    it.carry_out();
    let first = it.base.plus_pages(1);
    let second = it.engine.map_object(SPACE, it.object, PageIndex(0), 4, Prot::READ).unwrap();
    it.base = second.start;
    it.fault(1, Access::Read);
    let map = core::mem::take(&mut it.plan);
    // Once the frame noted this store for its address, and was at two when it settled: nobody
    // let the thread go.
    it.base = VirtAddr(first.0 - PAGE_BYTES);
    it.fault(1, Access::Write);
    assert!(it.plan.ops.is_empty());
    it.plan = map;
    let mut lets_go = false;
    while !it.plan.is_empty() {
        lets_go |= it.plan.ops.iter().any(|op| match *op {
            Op::Wake { range, .. } => range.contains(first),
            Op::Grant { at, .. } => at == first,
            _ => false,
        });
        let now = core::mem::take(&mut it.plan);
        it.engine.carried_out(&now, &[], &mut it.plan);
    }
    assert!(lets_go);
}

#[test]
fn case_3c_where_an_error_is_being_set_who_waits_is_let_go_when_it_is() {
    let mut it = fixture(file(Rights::ReadOnly), Prot::READ);
    let all = PageRange::new(PageIndex(0), PageIndex(4));
    let second = it.engine.map_object(SPACE, it.object, PageIndex(0), 4, Prot::READ).unwrap();
    it.engine.prefetch(it.object, all, &mut it.plan);
    it.carry_out();
    let at = it.base.plus_pages(1);
    it.engine.will_mark(SPACE, at);
    it.fault(1, Access::Read);
    assert!(it.plan.ops.is_empty());
    // Once the page forgot them when it was shown elsewhere.
    it.base = second.start;
    it.fault(1, Access::Read);
    it.carry_out();
    it.engine.marked(SPACE, at, &mut it.plan);
    let wakes = |op: &Op| matches!(*op, Op::Wake { range, .. } if range.contains(at));
    assert!(it.plan.ops.iter().any(wakes));
}

#[test]
fn case_1d_not_while_the_page_is_on_its_way_to_the_address() {
    let mut it = fixture(file(Rights::ReadOnly), Prot::READ);
    it.engine.prefetch(it.object, PageRange::new(PageIndex(3), PageIndex(4)), &mut it.plan);
    let read = core::mem::take(&mut it.plan);
    it.engine.carried_out(&read, &[], &mut it.plan);
    it.engine.read_ended(
        PageIndex(3),
        &[it.engine.lookup(it.object, PageIndex(3)).unwrap()],
        ReadEnd::GOOD,
        &mut it.plan,
    );
    let map = core::mem::take(&mut it.plan);
    assert!(matches!(map.ops[..], [Op::Map { .. }]));
    it.engine.set_size(it.object, PAGE_BYTES, ResizedBy::Others, &mut it.plan);
    // An error that the driver makes there now would meet the page.
    assert!(matches!(it.fault(3, Access::Read), Outcome::Waiting(_)));
    it.engine.carried_out(&map, &[], &mut it.plan);
    it.carry_out();
    assert_eq!(it.fault(3, Access::Read), Outcome::Signal(Signal::Bus));
}

#[test]
fn case_3c_a_kept_page_comes_back_without_a_read() {
    let mut it = fixture(file(Rights::ReadOnly), Prot::READ);
    it.fault(1, Access::Read);
    it.carry_out();
    // The only page: reclaim gives it its second chance before it would go.
    let mut plan = core::mem::take(&mut it.plan);
    it.engine.reclaim(Scope::All, 1, &mut plan);
    assert_eq!((plan.keep.len(), plan.drop.len()), (1, 0));
    it.plan = plan;
    assert_eq!(it.carry_out(), ["keep"]);
    it.fault(1, Access::Read);
    assert_eq!(it.carry_out(), ["map read-only"]);
    assert_eq!(it.engine.stats().faults_minor, 1);
}

#[test]
fn case_3e_the_first_store_makes_it_dirty() {
    let mut it = fixture(file(Rights::ReadWrite), Prot::READ | Prot::WRITE);
    it.fault(1, Access::Read);
    it.carry_out();
    assert_eq!(it.engine.dirty(it.object), 0);
    it.fault(1, Access::Write);
    assert_eq!(it.engine.dirty(it.object), 1, "dirty before the store can happen");
    assert_eq!(it.carry_out(), ["grant"]);
}

#[test]
fn case_3f_somebody_was_quicker() {
    let mut it = fixture(file(Rights::ReadOnly), Prot::READ);
    it.fault(1, Access::Read);
    it.carry_out();
    assert_eq!(it.fault(1, Access::Read), Outcome::Resolved);
    assert_eq!(it.carry_out(), ["wake"]);
}

#[test]
fn a_held_thread_is_let_go_when_its_page_is_discarded() {
    let mut it = fixture(file(Rights::ReadOnly), Prot::READ);
    it.fault(3, Access::Read);
    // Cut by others while the page is on its way: once the thread stayed for ever.
    let mut plan = core::mem::take(&mut it.plan);
    it.engine.set_size(it.object, PAGE_BYTES, ResizedBy::Others, &mut plan);
    it.plan = plan;
    assert_eq!(it.carry_out(), ["read", "wake"]);
    assert_eq!(it.fault(3, Access::Read), Outcome::Signal(Signal::Bus));
}

#[test]
fn what_grew_behind_a_page_that_is_being_read_is_read() {
    let mut it = fixture(file(Rights::ReadOnly), Prot::READ);
    let end = 3 * PAGE_BYTES + 100;
    it.engine.set_size(it.object, end, ResizedBy::Others, &mut it.plan);
    it.carry_out();
    it.fault(3, Access::Read);
    assert_eq!(sizes_read_by(&it.plan), [end]);
    // The read that is under way puts zeros behind the end that it was told of.
    it.engine.set_size(it.object, end + 100, ResizedBy::Others, &mut it.plan);
    it.carry_out();
    assert_eq!(it.engine.lookup(it.object, PageIndex(3)), None);
    it.fault(3, Access::Read);
    assert_eq!(sizes_read_by(&it.plan), [end + 100]);
}

/// The lengths that the plan's reads are told.
fn sizes_read_by(plan: &Plan) -> Vec<u64> {
    let size = |op: &Op| match *op {
        Op::Read { source: Source::Pager { size }, .. } => Some(size),
        _ => None,
    };
    plan.ops.iter().filter_map(size).collect()
}

/// The addresses that the plan heals; the rest of it is left as it is.
fn heals(plan: &Plan) -> Vec<VirtRange> {
    let heal = |op: &Op| match *op {
        Op::Heal { range, .. } => Some(range),
        _ => None,
    };
    plan.ops.iter().filter_map(heal).collect()
}

#[test]
fn a_page_is_not_mapped_while_the_mark_at_its_address_is_healed() {
    let mut it = fixture(file(Rights::ReadOnly), Prot::READ);
    let at = it.base.plus_pages(1);
    it.engine.will_mark(SPACE, at);
    it.engine.marked(SPACE, at, &mut it.plan);
    it.plan.clear();
    it.engine.tick(2000, &mut it.plan);
    assert_eq!(heals(&it.plan), [VirtRange::page(at)]);
    // Once the page was mapped here, and the heal that came after dropped its bytes.
    it.plan.clear();
    it.fault(1, Access::Read);
    assert_eq!(it.carry_out(), ["read", "wake"]);
    it.fault(1, Access::Read);
    assert!(it.plan.is_empty(), "the page is there, its address is not ready");
    it.engine.healed(SPACE, VirtRange::page(at), &mut it.plan);
    assert_eq!(it.carry_out(), ["wake"]);
    it.fault(1, Access::Read);
    assert_eq!(it.carry_out(), ["map read-only"]);
}

#[test]
fn a_page_is_not_mapped_before_a_mark_on_its_way_is_there() {
    let mut it = fixture(file(Rights::ReadOnly), Prot::READ);
    let at = it.base.plus_pages(1);
    it.engine.will_mark(SPACE, at);
    it.fault(1, Access::Read);
    assert_eq!(it.carry_out(), ["read", "wake"]);
    it.fault(1, Access::Read);
    assert!(it.plan.is_empty(), "the page is there, its address is not ready");
    // Once the mark stayed, over a page or beside the engine's knowledge.
    it.engine.marked(SPACE, at, &mut it.plan);
    assert_eq!(it.carry_out(), ["wake"]);
    it.fault(1, Access::Read);
    assert_eq!(heals(&it.plan), [VirtRange::page(at)]);
    assert!(matches!(it.plan.ops[..], [Op::Heal { .. }, Op::Map { .. }]), "in this order");
}

#[test]
fn a_mark_that_comes_after_its_area_has_gone_goes_too() {
    let mut it = fixture(file(Rights::ReadOnly), Prot::READ);
    let at = it.base.plus_pages(5);
    // Behind the end. The thread has its signal, and goes on, before the driver reports.
    assert_eq!(it.fault(5, Access::Read), Outcome::Signal(Signal::Bus));
    it.engine.will_mark(SPACE, at);
    it.engine.retire(SPACE, VirtRange::page(at), &mut it.plan).unwrap();
    assert!(it.engine.are_marks_changing_in(SPACE, VirtRange::page(at)));
    assert_eq!(it.engine.marked_at(SPACE, at), Marked::Changing);
    it.engine.marked(SPACE, at, &mut it.plan);
    // Once it stayed, and was SIGBUS for whoever was given the address next.
    assert_eq!(heals(&it.plan), [VirtRange::page(at)]);
    it.plan.clear();
    it.engine.healed(SPACE, VirtRange::page(at), &mut it.plan);
    assert_eq!(it.engine.marked_at(SPACE, at), Marked::No);
    assert!(!it.engine.are_marks_changing_in(SPACE, VirtRange::page(at)));
}

#[test]
fn what_is_mapped_is_never_healed() {
    let mut it = fixture(file(Rights::ReadOnly), Prot::READ);
    let mut pin = Pin::new(it.object, PageRange::from_len(PageIndex(3), 1), PinFor::Read);
    while it.engine.pin_step(&mut pin, &mut it.plan) != PinStep::Held {
        it.carry_out();
    }
    // Cut off, but the pin holds the page. A store to it is refused by a mark.
    it.engine.set_size(it.object, PAGE_BYTES, ResizedBy::Others, &mut it.plan);
    it.carry_out();
    it.engine.will_mark(SPACE, it.base.plus_pages(3));
    it.engine.marked(SPACE, it.base.plus_pages(3), &mut it.plan);
    it.plan.clear();
    it.engine.tick(2000, &mut it.plan);
    assert_eq!(heals(&it.plan), [], "the pinned bytes would go");
    it.engine.unpin(&mut pin, &mut it.plan);
    assert_eq!(it.carry_out(), ["drop"]);
}

#[test]
fn a_store_that_waits_does_not_outlive_the_right_to_it() {
    let mut it = fixture(file(Rights::ReadWrite), Prot::READ | Prot::WRITE);
    it.fault(1, Access::Write);
    // The page is on its way, wanted for writing. Once it arrived writable all the same.
    let range = VirtRange::page(it.base.plus_pages(1));
    it.engine.protect(SPACE, range, Prot::READ, &mut it.plan).unwrap();
    assert_eq!(it.carry_out(), ["read", "wake"]);
    assert_eq!(it.fault(1, Access::Write), Outcome::Signal(Signal::SegvAccErr));
}

#[test]
fn rights_are_not_gone_while_a_write_has_not_stopped_stores() {
    let mut it = fixture(file(Rights::ReadWrite), Prot::READ | Prot::WRITE);
    it.fault(1, Access::Write);
    it.carry_out();
    let (object, mut rest) = (it.object, PageRange::all());
    let mut write = Plan::new();
    assert_eq!(it.engine.flush_step(object, &mut rest, &mut write), FlushStep::More);
    // Told to write, the driver hasn't come to it: stores still pass.
    let range = VirtRange::page(it.base.plus_pages(1));
    it.engine.protect(SPACE, range, Prot::READ, &mut it.plan).unwrap();
    let wait = it.engine.clear_step(SPACE, range, &mut it.plan);
    assert!(wait.is_some(), "once the verb ended here");
    let frames = write.ops.iter().filter_map(|op| match *op {
        Op::Write { run, .. } => Some(write.frames(run.frames).to_vec()),
        _ => None,
    });
    let frames: Vec<_> = frames.flatten().collect();
    it.engine.write_ended(object, PageIndex(1), &frames, Ok(()), &mut it.plan);
    it.carry_out();
    while it.engine.clear_step(SPACE, range, &mut it.plan).is_some() {
        it.carry_out();
    }
}

#[test]
fn a_bit_that_is_to_be_cleared_is_no_reference_any_more() {
    let mut it = fixture(file(Rights::ReadOnly), Prot::READ);
    it.engine.config.references = References::Bits;
    for page in 0..4 {
        it.fault(page, Access::Read);
        it.carry_out();
    }
    // All bits are set, and clearing them is a plan. Once the policy saw them set until that
    // was carried out: it went round and round, and nobody left.
    assert_eq!(it.engine.reclaim_seeing(Scope::All, 1, &|_, _| true, &mut it.plan), 1);
    let done = it.carry_out();
    assert_eq!(done.iter().filter(|done| **done == "drop").count(), 1, "{done:?}");
    let cleared = done.iter().filter(|done| **done == "clear accessed").count();
    assert!(cleared < 4, "a third is looked at: {done:?}");
}
