//! Pages whose bytes whoever pins them gives: nothing is read, and nobody sees anything else.

use std::vec::Vec;

use faultless_addr::*;

use super::driver::{carry_out, carry_out_writing};
use crate::fault::Waiter;
use crate::*;

const PAGES: u64 = 16;

struct Fixture {
    engine: Engine,
    object: ObjectId,
    base: VirtAddr,
    plan: Plan,
}

fn fixture(granule: u32) -> Fixture {
    let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 40));
    let mut engine = Engine::new(Config::new(16, std::vec![bounds]));
    let file = ObjectOptions::file(PAGES * PAGE_BYTES, Rights::ReadWrite);
    let object = engine.create(ObjectOptions { granule, ..file });
    let prot = Prot::READ | Prot::WRITE;
    let range = engine.map_object(SpaceId(0), object, PageIndex(0), PAGES, prot).unwrap();
    Fixture { engine, object, base: range.start, plan: Plan::new() }
}

fn pages(start: u64, count: u64) -> PageRange {
    PageRange::from_len(PageIndex(start), count)
}

impl Fixture {
    fn pin(&self, all: PageRange, given: PageRange) -> Pin {
        Pin::new(self.object, all, PinFor::Write).giving(given)
    }

    fn step(&mut self, pin: &mut Pin) -> PinStep {
        self.engine.pin_step(pin, &mut self.plan)
    }
}

#[test]
fn only_pages_that_are_given_in_part_are_read() {
    for (granule, given, reads) in [(1, pages(5, 2), 1), (1, pages(4, 3), 0), (4, pages(4, 3), 0)] {
        let mut it = fixture(granule);
        let mut pin = it.pin(pages(4, 3), given);
        let mut done = Vec::new();
        while let PinStep::Wait(_) = it.step(&mut pin) {
            done.extend(carry_out(&mut it.engine, &mut it.plan));
        }
        let count = |what| done.iter().filter(|it| **it == what).count();
        assert_eq!((count("read"), count("given")), (reads, 1), "all given in one: {done:?}");
        assert_eq!(it.step(&mut pin), PinStep::Held);
        assert_eq!(it.engine.dirty(it.object), 3);
        it.engine.unpin(&mut pin, &mut it.plan);
    }
}

#[test]
fn a_pin_that_is_refused_gives_nothing() {
    let mut it = fixture(1);
    let mut pin = it.pin(pages(4, 3), pages(5, 2));
    assert!(matches!(it.step(&mut pin), PinStep::Wait(_)), "the first page is to be read");
    // Somebody wants a page that is to be given.
    let at = it.base.plus_pages(5);
    let waits = it.engine.fault(SpaceId(0), at, Access::Read, Waiter::Machine, &mut it.plan);
    assert!(matches!(waits, Outcome::Waiting(_)), "{waits:?}");
    it.engine.unpin(&mut pin, &mut it.plan);
    let done = carry_out(&mut it.engine, &mut it.plan);
    assert!(!done.contains(&"given"), "{done:?}");
    assert_eq!(it.engine.resident(it.object), 1, "only the page that was read");
    let seen = it.engine.fault(SpaceId(0), at, Access::Read, Waiter::Machine, &mut it.plan);
    let done = carry_out(&mut it.engine, &mut it.plan);
    assert!(matches!(seen, Outcome::Waiting(_)) && done.contains(&"read"), "{seen:?}, {done:?}");
}

#[test]
fn what_was_given_is_written_before_it_leaves() {
    let mut it = fixture(1);
    let mut pin = it.pin(pages(5, 1), pages(5, 1));
    it.step(&mut pin);
    // Refused, in the end: who gave the bytes meant them all the same.
    carry_out(&mut it.engine, &mut it.plan);
    it.engine.unpin(&mut pin, &mut it.plan);
    let mut written = 0;
    for _ in 0..4 {
        it.engine.reclaim(Scope::All, 1, &mut it.plan);
        carry_out_writing(&mut it.engine, &mut it.plan, |_, key, _| {
            assert_eq!(key.page, PageIndex(5));
            written += 1;
            Ok(())
        });
    }
    assert_eq!((written, it.engine.resident(it.object)), (1, 0));
}

#[test]
fn who_touches_a_page_meanwhile_waits_for_what_is_given() {
    let mut it = fixture(1);
    let mut pin = it.pin(pages(5, 1), pages(5, 1));
    it.step(&mut pin);
    let at = it.base.plus_pages(5);
    let outcome = it.engine.fault(SpaceId(0), at, Access::Read, Waiter::Machine, &mut it.plan);
    assert!(matches!(outcome, Outcome::Waiting(_)), "{outcome:?}");
    let done = carry_out(&mut it.engine, &mut it.plan);
    assert_eq!(done.first(), Some(&"given"), "{done:?}");
    assert_eq!(it.step(&mut pin), PinStep::Held);
    it.engine.unpin(&mut pin, &mut it.plan);
}

#[test]
fn a_page_that_is_there_is_kept() {
    let mut it = fixture(1);
    it.engine.fault(SpaceId(0), it.base, Access::Read, Waiter::Machine, &mut it.plan);
    assert!(carry_out(&mut it.engine, &mut it.plan).contains(&"read"));
    let mut pin = it.pin(pages(0, 1), pages(0, 1));
    it.step(&mut pin);
    let done = carry_out(&mut it.engine, &mut it.plan);
    assert!(!done.contains(&"given") && !done.contains(&"read"), "{done:?}");
    it.engine.unpin(&mut pin, &mut it.plan);
}

/// Others move the file's end while a pin reads its last page: what is stored there stays.
#[test]
fn a_page_that_is_no_more_while_it_is_being_pinned_is_had_anew() {
    for (before, after) in [(2 * PAGE_BYTES - 100, 2 * PAGE_BYTES), (4 * PAGE_BYTES, 6000)] {
        for given in [pages(1, 1), pages(1, 0)] {
            let mut it = fixture(1);
            it.engine.set_size(it.object, before, ResizedBy::Others, &mut it.plan);
            let mut pin = it.pin(pages(0, 2), given);
            assert!(matches!(it.step(&mut pin), PinStep::Wait(_)));
            it.engine.set_size(it.object, after, ResizedBy::Others, &mut it.plan);
            while let PinStep::Wait(_) = it.step(&mut pin) {
                carry_out(&mut it.engine, &mut it.plan);
            }
            assert_eq!(it.step(&mut pin), PinStep::Held);
            it.engine.unpin(&mut pin, &mut it.plan);
            carry_out(&mut it.engine, &mut it.plan);
            assert_eq!(it.engine.dirty(it.object), 2, "{before} to {after}, {given:?}");
        }
    }
}

#[test]
fn two_pins_give_neighbours_in_one_plan() {
    let mut it = fixture(1);
    let mut pins = [4, 5].map(|page| it.pin(pages(page, 1), pages(page, 1)));
    for pin in &mut pins {
        assert!(matches!(it.step(pin), PinStep::Wait(_)), "nothing has been carried out");
    }
    let done = carry_out(&mut it.engine, &mut it.plan);
    assert_eq!(done.first(), Some(&"given"), "{done:?}");
    for pin in &mut pins {
        assert_eq!(it.step(pin), PinStep::Held);
        it.engine.unpin(pin, &mut it.plan);
    }
}
