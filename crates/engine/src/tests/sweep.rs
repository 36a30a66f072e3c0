//! Sweeps: when one begins, in which order it writes, how stores stop, and when it ends.

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
    let engine = Engine::new(Config {
        run_max: 4,
        stops: Stops::Ranges,
        ..Config::new(frames, std::vec![bounds])
    });
    let (object, base) = (ObjectId(0), VirtAddr(0));
    let mut it = Fixture { engine, object, base, plan: Plan::new() };
    it.open(writes);
    it
}

impl Fixture {
    /// A file that takes the place of the one before.
    fn open(&mut self, writes: Writes) {
        let file = ObjectOptions::file(PAGES * PAGE_BYTES, Rights::ReadWrite);
        self.open_as(ObjectOptions { writes, ..file });
    }

    fn open_as(&mut self, options: ObjectOptions) {
        self.object = self.engine.create(options);
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

    /// The ranges of pages in which the plan stops stores, and how many of its writes begin
    /// in each.
    fn stopped(&self) -> Vec<(core::ops::Range<u64>, usize)> {
        let page = |at: VirtAddr| (at.0 - self.base.0) / PAGE_BYTES;
        let ranges = self.plan.ops.iter().enumerate().filter_map(|(n, op)| match *op {
            Op::StopRange { range, .. } => Some((n, range)),
            _ => None,
        });
        let writes = |(n, range): (usize, VirtRange)| {
            let is_in = |op: &&Op| matches!(**op, Op::Write { mapped: Some((_, at)), stopped: true, .. } if range.contains(at));
            let before = self.plan.ops[..n].iter().filter(is_in).count();
            assert_eq!(before, 0, "a write begins before its stores have stopped");
            let pages = page(range.start)..page(range.end);
            (pages, self.plan.ops[n..].iter().filter(is_in).count())
        };
        ranges.map(writes).collect()
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
    // No clean one is there that could go.
    assert_eq!(it.reclaim(Ok(())).len(), 1);
}

#[test]
fn of_two_files_that_are_half_of_the_memory_each_is_swept() {
    let mut it = fixture(Writes::InTime);
    it.store(u64::from(FRAMES / 4));
    let first = it.object;
    it.open(Writes::InTime);
    it.store(u64::from(FRAMES / 4));
    assert_eq!(it.reclaim(Ok(())).len(), FRAMES as usize / 4, "that of the first page to go");
    assert_eq!([it.engine.dirty(first), it.engine.dirty(it.object)], [0, FRAMES / 4]);
}

#[test]
fn few_dirty_pages_stay_while_clean_ones_can_go() {
    let few = u64::from(FRAMES / 2) - 1;
    let mut it = fixture(Writes::InTime);
    it.store(few);
    (0..100).for_each(|page| it.touch(page, Access::Read));
    for left in (0..100).rev() {
        // One by one, past second chances.
        while u64::from(it.engine.resident(it.object)) > few + left {
            it.engine.reclaim(Scope::All, 1, &mut it.plan);
            let done = carry_out(&mut it.engine, &mut it.plan);
            assert!(!done.contains(&"write"), "{left} clean pages are left");
        }
        assert_eq!(u64::from(it.engine.dirty(it.object)), few);
    }
    // Nothing else can go: a sweep begins after all.
    assert_eq!(it.reclaim(Ok(())).len() as u64, few);
}

#[test]
fn half_of_the_memory_is_swept_though_clean_pages_could_go() {
    let half = u64::from(FRAMES / 2);
    let mut it = fixture(Writes::InTime);
    it.store(half);
    (0..100).for_each(|page| it.touch(page, Access::Read));
    assert_eq!(it.reclaim(Ok(())).len() as u64, half);
    assert_eq!(u64::from(it.engine.resident(it.object)), half + 99);
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
    it.engine.begin_sweep(it.object, &mut it.plan);
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

/// Pages of which each is so far from the next that they are written one by one.
const APART: u64 = 7;

#[test]
fn stores_to_all_that_is_swept_together_stop_by_one_operation() {
    let mut it = fixture(Writes::InTime);
    it.store(400);
    it.engine.begin_sweep(it.object, &mut it.plan);
    let first = PAGES - 1 - APART * 399;
    let (range, writes) = it.stopped().pop().expect("stores stop");
    assert_eq!((range.start, range.end - range.start), (first, APART * (writes as u64 - 1) + 1));
    assert_eq!(writes, 64);
    // The next do so when half of them have been written.
    let now = core::mem::take(&mut it.plan);
    let mut ops = now.ops.iter().copied();
    let Some(Op::StopRange { space, range: stopped }) = ops.next() else { panic!("first of all") };
    it.engine.range_stopped(space, stopped);
    for op in ops.take(32) {
        assert!(it.plan.is_empty());
        let Op::Write { run, .. } = op else { panic!("{op:?}") };
        let frames = now.frames(run.frames);
        it.engine.write_ended(run.object, run.first, frames, Ok(()), &mut it.plan);
    }
    let (next, more) = it.stopped().pop().expect("stores stop");
    assert_eq!((next.start, more), (range.end + APART - 1, 32));
}

#[test]
fn stores_stop_in_stretches_that_leave_out_long_gaps() {
    let mut it = fixture(Writes::InTime);
    let stretches = (0..10).map(|n| 20 + 1100 * n);
    let pages = stretches.clone().flat_map(|first| (0..8).map(move |n| first + APART * n));
    pages.for_each(|page| it.touch(page, Access::Write));
    it.engine.begin_sweep(it.object, &mut it.plan);
    let swept: Vec<_> = it.stopped().into_iter().map(|(range, _)| range).collect();
    let eight: Vec<_> = stretches.take(8).map(|first| first..first + APART * 7 + 1).collect();
    assert_eq!(swept, eight);
}

#[test]
fn a_page_whose_stores_go_on_parts_a_stretch() {
    let mut it = fixture(Writes::InTime);
    it.store(400);
    let page = PAGES - 1 - APART * 380;
    let mut pin = Pin::new(it.object, PageRange::from_len(PageIndex(page), 1), PinFor::Write);
    assert!(it.engine.pin_at_once(&mut pin));
    it.engine.begin_sweep(it.object, &mut it.plan);
    let swept: Vec<_> = it.stopped().into_iter().map(|(range, _)| range).collect();
    assert_eq!(swept.len(), 2, "{swept:?}");
    assert!(swept.iter().all(|range| !range.contains(&page)), "{swept:?}");
    it.engine.unpin(&mut pin, &mut it.plan);
}

#[test]
fn no_page_begins_to_take_stores_where_they_are_being_stopped() {
    let mut it = fixture(Writes::InTime);
    it.store(400);
    let clean = PAGES - 1 - APART * 380 + 1;
    it.touch(clean, Access::Read);
    it.engine.begin_sweep(it.object, &mut it.plan);
    let at = it.base.plus_pages(clean);
    let swept = core::mem::take(&mut it.plan);
    // By a fault, by a pin, and by a page that comes.
    let fault = it.engine.fault(SpaceId(0), at, Access::Write, Waiter::Caller, &mut it.plan);
    let Outcome::Waiting(by) = fault else { panic!("{fault:?}") };
    assert!(it.plan.is_empty() && it.engine.frames[by].is_dirty());
    let mut pin = Pin::new(it.object, PageRange::from_len(PageIndex(clean), 1), PinFor::Write);
    assert_eq!(it.engine.pin_step(&mut pin, &mut it.plan), PinStep::Wait(by));
    it.engine.unpin(&mut pin, &mut it.plan);
    let other = it.base.plus_pages(clean + 1);
    it.engine.fault(SpaceId(0), other, Access::Write, Waiter::Machine, &mut it.plan);
    let done = carry_out(&mut it.engine, &mut it.plan);
    assert_eq!(done, ["read", "map tracked"]);
    // And then it does.
    it.plan = swept;
    carry_out(&mut it.engine, &mut it.plan);
    it.engine.fault(SpaceId(0), at, Access::Write, Waiter::Machine, &mut it.plan);
    assert_eq!(carry_out(&mut it.engine, &mut it.plan), ["grant"]);
}

#[test]
fn nor_one_that_waits_for_the_end_of_its_write() {
    let mut it = fixture(Writes::InTime);
    it.store(400);
    let page = PageIndex(PAGES - 1 - APART * 380);
    let mut range = PageRange::from_len(page, 1);
    it.engine.flush_step(it.object, &mut range, &mut it.plan);
    let flush = core::mem::take(&mut it.plan);
    let at = it.base.plus_pages(page.0);
    it.engine.fault(SpaceId(0), at, Access::Write, Waiter::Machine, &mut it.plan);
    assert!(it.plan.is_empty());
    it.engine.begin_sweep(it.object, &mut it.plan);
    assert_eq!(it.stopped().len(), 1, "what is being written already parts nothing");
    let mut swept = core::mem::take(&mut it.plan);
    it.plan = flush;
    assert_eq!(carry_out(&mut it.engine, &mut it.plan), ["write", "wake"]);
    carry_out(&mut it.engine, &mut swept);
    it.touch(page.0, Access::Write);
    assert!(it.engine.is_dirty_in(it.object, PageRange::from_len(page, 1)));
}

/// Of a page in whose place zeros are shown stores are let through and forgotten.
#[test]
fn where_pages_may_take_stores_without_being_dirty_they_stop_one_by_one() {
    let mut it = fixture(Writes::InTime);
    let file = ObjectOptions::file(PAGES * PAGE_BYTES, Rights::ReadWrite);
    it.open_as(ObjectOptions { on_error: OnError::Zeros, ..file });
    it.store(400);
    it.engine.begin_sweep(it.object, &mut it.plan);
    assert!(it.engine.writing >= 60 && it.stopped().is_empty());
}

#[test]
fn a_flush_stops_stores_of_its_runs_together() {
    let mut it = fixture(Writes::InTime);
    it.store(100);
    let (first, mut range) = (PAGES - 1 - APART * 99, PageRange::all());
    let stretch = |from: u64, to: u64| first + APART * from..first + APART * (to - 1) + 1;
    for (from, to) in [(0, 64), (64, 100)] {
        let step = it.engine.flush_step(it.object, &mut range, &mut it.plan);
        assert_eq!(step, FlushStep::More);
        assert_eq!(it.stopped(), [(stretch(from, to), (to - from) as usize)]);
        carry_out(&mut it.engine, &mut it.plan);
    }
    let step = it.engine.flush_step(it.object, &mut range, &mut it.plan);
    assert_eq!((step, it.engine.dirty(it.object)), (FlushStep::Done, 0));
}
