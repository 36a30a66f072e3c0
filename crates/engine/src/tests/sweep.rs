//! Sweeps: when one begins, in which order it writes, and when it ends.

use std::vec::Vec;

use faultless_addr::*;

use super::driver::{Written, carry_out, carry_out_writing};
use crate::fault::Waiter;
use crate::*;

const FRAMES: u32 = 512;
const PAGES: u64 = 1 << 14;

struct Fixture {
    engine: Engine,
    object: ObjectId,
    base: VirtAddr,
    plan: Plan,
}

fn fixture(writes: Writes) -> Fixture {
    fixture_of(FRAMES, writes)
}

fn fixture_of(frames: u32, writes: Writes) -> Fixture {
    let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 40));
    let engine = Engine::new(Config { run_max: 4, ..Config::new(frames, std::vec![bounds]) });
    let (object, base) = (ObjectId(0), VirtAddr(0));
    let mut it = Fixture { engine, object, base, plan: Plan::new() };
    it.open(writes);
    it
}

impl Fixture {
    /// A file that takes the place of the one before.
    fn open(&mut self, writes: Writes) {
        let file = ObjectOptions::file(PAGES * PAGE_BYTES, Rights::ReadWrite);
        self.object = self.engine.create(ObjectOptions { writes, ..file });
        let prot = Prot::READ | Prot::WRITE;
        let shown = self.engine.map_object(SpaceId(0), self.object, PageIndex(0), PAGES, prot);
        self.base = shown.unwrap().start;
        self.engine.advise(self.object, Pattern::Random);
    }

    fn touch(&mut self, page: u64, access: Access) {
        let at = self.base.plus_pages(page);
        self.engine.fault(SpaceId(0), at, access, Waiter::Machine, &mut self.plan);
        carry_out(&mut self.engine, &mut self.plan);
    }

    /// Stores to so many pages at the file's end, none beside another.
    fn store(&mut self, count: u64) {
        (0..count).rev().for_each(|n| self.touch(PAGES - 1 - 7 * n, Access::Write));
        assert_eq!(u64::from(self.engine.dirty(self.object)), count);
    }

    /// Gets one frame back; answers the pages that were written, in order.
    fn reclaim(&mut self, end: Written) -> Vec<u64> {
        let mut written = Vec::new();
        // Until the second chances are over.
        for _ in 0..16 {
            self.engine.reclaim(Scope::All, 1, &mut self.plan);
            carry_out_writing(&mut self.engine, &mut self.plan, |engine, key, _| {
                assert!(engine.writing <= 64 + 4, "{} at a time", engine.writing);
                written.push(key.page.0);
                end
            });
            if !written.is_empty() {
                break;
            }
        }
        written
    }
}

#[test]
fn a_dirty_page_that_has_to_leave_takes_all_others_along_in_order() {
    let mut it = fixture(Writes::InTime);
    it.store(400);
    let written = it.reclaim(Ok(()));
    assert_eq!((written.len(), it.engine.dirty(it.object)), (400, 0));
    assert!(written[1..].is_sorted(), "{written:?}");
    assert!(it.engine.resident(it.object) >= 399, "only the first leaves");
    assert!(it.reclaim(Ok(())).is_empty(), "what is clean leaves without a write");
}

#[test]
fn few_pages_are_not_swept() {
    let mut it = fixture(Writes::InTime);
    it.store(u64::from(FRAMES / 8) - 1);
    assert_eq!(it.reclaim(Ok(())).len(), 1);
}

#[test]
fn nor_is_what_is_written_only_to_make_room() {
    let mut it = fixture(Writes::UnderPressure);
    it.store(400);
    assert_eq!(it.reclaim(Ok(())).len(), 1);
}

#[test]
fn a_sweep_ends_where_writes_fail() {
    let mut it = fixture(Writes::InTime);
    it.store(400);
    let tried = it.reclaim(Err((Failure::Write, 28)));
    assert!(tried.len() <= 66, "{} pages in vain", tried.len());
    assert_eq!(it.engine.dirty(it.object), 400);
    // Once one can be written, others may be, too; those that failed rest.
    assert_eq!(it.reclaim(Ok(())).len(), 1);
    let written = it.reclaim(Ok(()));
    assert!(written.len() > 300 && written.iter().all(|page| !tried.contains(page)));
}

#[test]
fn a_sweep_goes_on_with_nobody_reclaiming_and_ends_with_its_object() {
    let mut it = fixture(Writes::InTime);
    it.store(400);
    it.engine.reclaim(Scope::All, 1, &mut it.plan);
    while it.engine.sweep.is_none() {
        carry_out(&mut it.engine, &mut it.plan);
        it.engine.reclaim(Scope::All, 1, &mut it.plan);
    }
    assert!((60..=68).contains(&it.engine.writing), "{}", it.engine.writing);
    it.engine.set_size(it.object, 0, ResizedBy::User, &mut it.plan);
    carry_out(&mut it.engine, &mut it.plan);
    assert_eq!((it.engine.resident(it.object), it.engine.writing), (0, 0));
    assert!(it.engine.sweep.is_none());
}

/// One that has come to rest among pages that can't be written now, with no write under way.
#[test]
fn no_sweep_goes_on_in_the_next_object_of_that_number() {
    let mut it = fixture_of(4096, Writes::InTime);
    it.store(1200);
    let pins = (100..1200).rev().map(|n| {
        let page = PageRange::from_len(PageIndex(PAGES - 1 - 7 * n), 1);
        let mut pin = Pin::new(it.object, page, PinFor::Write);
        assert!(it.engine.pin_at_once(&mut pin));
        pin
    });
    let mut pins: Vec<Pin> = pins.collect();
    it.reclaim(Ok(()));
    assert!(it.engine.sweep.is_some() && it.engine.writing == 0);
    pins.iter_mut().for_each(|pin| it.engine.unpin(pin, &mut it.plan));
    let first = it.object;
    it.engine.discard(first, PageRange::all(), &mut it.plan);
    carry_out(&mut it.engine, &mut it.plan);
    it.engine.remove(first);
    it.open(Writes::UnderPressure);
    assert_eq!(it.object, first);
    it.store(1200);
    assert_eq!(it.reclaim(Ok(())).len(), 1);
}
