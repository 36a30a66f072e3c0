//! Pins and prefetch: pages brought in without a fault.

use faultless_addr::{ByteRange, ObjectId, PAGE_BYTES, PageRange, SpaceId};
use faultless_engine::{Failure, Pin, PinError, PinFor, PinStep, Plan, Scope};
use faultless_machine::Machine;

use crate::core::Core;
use crate::drive::{Given, Reads, Worker};
use crate::error::{Error, Operation};
use crate::serve::Patience;

/// Reads that one thread keeps under way at most.
const DEPTH: usize = 64;

/// Pins that are begun before their reads are.
const GATHERED: usize = 16;

impl<M: Machine> Core<M> {
    /// Brings pages in and holds them at their addresses until `unpin`.
    pub fn pin(&self, object: ObjectId, pages: PageRange, purpose: PinFor) -> Result<Pin, Error> {
        self.begin_pin(Pin::new(object, pages, purpose), &[])
    }

    /// Pins the pages of bytes from offset `start` on, which the caller then stores, all of them
    /// and nothing else; on the account of a space, if one is named. Pages that they fill whole
    /// and that are not in memory are not read.
    pub fn pin_to_fill(
        &self,
        space: Option<SpaceId>,
        object: ObjectId,
        (start, bytes): (u64, &[u8]),
    ) -> Result<Pin, Error> {
        let range = ByteRange::new(start, start + bytes.len() as u64);
        let mut pin = Pin::new(object, range.pages(), PinFor::Write);
        if let Some(space) = space {
            pin = pin.on_account_of(space);
        }
        let first = start.next_multiple_of(PAGE_BYTES);
        let end = range.end - range.end % PAGE_BYTES;
        if end <= first {
            return self.begin_pin(pin, &[]);
        }
        let given = ByteRange::new(first, end);
        let bytes = &bytes[(first - start) as usize..(end - start) as usize];
        self.begin_pin(pin.giving(given.pages()), bytes)
    }

    fn begin_pin(&self, mut pin: Pin, given: &[u8]) -> Result<Pin, Error> {
        self.check_birthplace()?;
        if pin.purpose == PinFor::Read
            && let Some(pin) = self.pin_again(pin.object, pin.pages)
        {
            return Ok(pin);
        }
        if self.engine.lock().pin_at_once(&mut pin) {
            return Ok(pin);
        }
        let mut worker = self.worker();
        worker.given = Given { first: pin.given().start, bytes: given.to_vec() };
        let result = self.hold(&mut worker, &mut pin);
        self.finish(&mut worker);
        worker.given = Given::NOTHING;
        self.make_up(&mut worker);
        self.rest(worker);
        result.map(|()| pin)
    }

    /// Pins a page for reading that is pinned often, without the engine; none if there is
    /// another way to go. The caller needn't be [inside](crate::Inside): nothing is waited for,
    /// and a forked child, whose parent's pins are none, may be made at any moment of it.
    #[inline]
    pub fn pin_again(&self, object: ObjectId, pages: PageRange) -> Option<Pin> {
        if self.is_here() { Pin::by_pass(&self.passes, object, pages) } else { None }
    }

    /// Ends a pin in the same way; gives it back where [`unpin`](Self::unpin) has to go on.
    #[inline]
    pub fn leave(&self, mut pin: Pin) -> Option<Pin> {
        if pin.leave(&self.passes) { None } else { Some(pin) }
    }

    /// Pins many ranges with their reads under way at the same time. All or none.
    pub fn pin_many(
        &self,
        object: ObjectId,
        ranges: impl Iterator<Item = PageRange>,
    ) -> Result<Vec<Pin>, Error> {
        self.check_birthplace()?;
        let mut pins: Vec<_> = ranges.map(|pages| Pin::new(object, pages, PinFor::Read)).collect();
        let mut worker = self.worker();
        let mut result = self.begin_pins(&mut worker, &mut pins);
        for pin in &mut pins {
            if result.is_ok() {
                result = self.hold(&mut worker, pin);
            }
        }
        if result.is_err() {
            for mut pin in pins.drain(..) {
                self.engine.lock().unpin(&mut pin, &mut worker.plan);
            }
        }
        self.finish(&mut worker);
        self.make_up(&mut worker);
        self.rest(worker);
        result.map(|()| pins)
    }

    /// Starts the reads of pins, some at a time, and goes on without waiting for them.
    fn begin_pins(&self, worker: &mut Worker, pins: &mut [Pin]) -> Result<(), Error> {
        let (mut patience, mut begun) = (Patience::default(), 0);
        while begun < pins.len() {
            let mut engine = self.engine.lock();
            let some = pins[begun..].iter_mut().take(GATHERED);
            let mut steps = some.map(|pin| engine.pin_step(pin, &mut worker.plan));
            let is_begun = |step: &PinStep| matches!(step, PinStep::Held | PinStep::Wait(_));
            let stopped = steps.by_ref().inspect(|_| begun += 1).find(|step| !is_begun(step));
            drop(steps);
            drop(engine);
            self.carry_out(worker, Reads::Queue);
            while worker.io.in_flight() >= DEPTH {
                worker.io.wait();
                self.reap(worker, usize::MAX);
                self.carry_out(worker, Reads::Queue);
            }
            let Some(stopped) = stopped else { continue };
            begun -= 1;
            match stopped {
                PinStep::Held | PinStep::Wait(_) => unreachable!("it would be begun"),
                PinStep::Refused(error) => return Err(self.pin_error(&pins[begun], error)),
                PinStep::NoFrame(scope) => {
                    self.finish(worker);
                    self.make_room(worker, scope, &mut patience)?;
                }
            }
        }
        Ok(())
    }

    /// Goes on with a pin until it holds or is refused.
    fn hold(&self, worker: &mut Worker, pin: &mut Pin) -> Result<(), Error> {
        let mut patience = Patience::default();
        let reads = if pin.pages.len() == 1 { Reads::FirstHere } else { Reads::Queue };
        loop {
            let mut engine = self.engine.lock();
            let step = engine.pin_step(pin, &mut worker.plan);
            if let PinStep::Wait(no) = step
                && worker.is_idle()
            {
                drop(self.wait_settled(engine, no));
                continue;
            }
            drop(engine);
            self.carry_out(worker, reads);
            match step {
                PinStep::Held => {
                    self.finish_some(worker);
                    return Ok(());
                }
                PinStep::Wait(_) => self.finish_some(worker),
                PinStep::NoFrame(scope) => {
                    self.finish(worker);
                    if let Err(error) = self.make_room(worker, scope, &mut patience) {
                        self.engine.lock().unpin(pin, &mut worker.plan);
                        self.finish(worker);
                        return Err(error);
                    }
                }
                PinStep::Refused(error) => {
                    self.finish(worker);
                    return Err(self.pin_error(pin, error));
                }
            }
        }
    }

    /// Waits for at least one of the worker's reads, if there is any.
    fn finish_some(&self, worker: &mut Worker) {
        if worker.io.in_flight() > 0 {
            worker.io.wait();
            self.reap(worker, usize::MAX);
            self.carry_out(worker, Reads::Queue);
        }
        if worker.io.in_flight() == 0 {
            self.finish(worker);
        }
    }

    /// Ends a pin.
    pub fn unpin(&self, mut pin: Pin) {
        if !self.is_here() {
            return;
        }
        let mut plan = Plan::new();
        self.engine.lock().unpin(&mut pin, &mut plan);
        if plan.is_empty() {
            return; // Nobody has waited for its end, mostly.
        }
        let mut worker = self.worker();
        worker.plan = plan;
        self.finish(&mut worker);
        self.rest(worker);
    }

    fn pin_error(&self, pin: &Pin, error: PinError) -> Error {
        let name = self.pager(pin.object).name();
        match error {
            PinError::BeyondEnd(_) => Error::BeyondEnd {
                name,
                size: self.engine.lock().size(pin.object),
                start: pin.pages.start.offset(),
                end: pin.pages.end.offset(),
            },
            PinError::Conflict(page) => Error::Pinned { name, offset: page.offset() },
            PinError::ReadOnly => Error::ReadOnly { name },
            PinError::Denied(page) => Error::Denied { name, offset: page.offset() },
            PinError::NoRoom { left } => Error::NoRoom { wanted: pin.pages.len(), left },
            PinError::Failed(page) => {
                let kept = self.engine.lock().last_error(pin.object);
                let errno = kept.map_or(libc::EIO, |kept| kept.errno);
                if kept.is_some_and(|kept| kept.failure == Failure::Shrunk) {
                    let size = self.engine.lock().size(pin.object);
                    return Error::Shrunk { name, size, offset: page.offset() };
                }
                Error::Io {
                    operation: Operation::Read,
                    name,
                    offset: page.offset(),
                    source: std::io::Error::from_raw_os_error(errno),
                }
            }
        }
    }

    /// Begins to read pages that will be needed, as far as the budget goes; waits for
    /// none of them. Returns how many pages of the ranges were left out.
    pub fn prefetch(
        &self,
        object: ObjectId,
        ranges: impl Iterator<Item = PageRange>,
    ) -> Result<u64, Error> {
        self.prefetch_for(None, object, ranges)
    }

    /// As [`prefetch`](Self::prefetch), on the account of a space.
    pub fn prefetch_of(
        &self,
        space: SpaceId,
        object: ObjectId,
        pages: PageRange,
    ) -> Result<u64, Error> {
        self.prefetch_for(Some(space), object, core::iter::once(pages))
    }

    fn prefetch_for(
        &self,
        space: Option<SpaceId>,
        object: ObjectId,
        ranges: impl Iterator<Item = PageRange>,
    ) -> Result<u64, Error> {
        self.check_birthplace()?;
        let mut worker = self.worker();
        // Beyond half the budget, what is brought in pushes out what was before.
        let mut room = u64::from(self.engine.lock().pins_max() / 2);
        let mut left_out = 0;
        for range in ranges {
            let asked = PageRange::from_len(range.start, range.len().min(room));
            left_out += range.len() - asked.len();
            room -= asked.len();
            left_out += self.prefetch_range(&mut worker, space, object, asked);
        }
        self.finish(&mut worker);
        self.rest(worker);
        Ok(left_out)
    }

    fn prefetch_range(
        &self,
        worker: &mut Worker,
        space: Option<SpaceId>,
        object: ObjectId,
        range: PageRange,
    ) -> u64 {
        let mut rest = range;
        for _attempt in 0..8 {
            let mut engine = self.engine.lock();
            rest = match space {
                Some(space) => engine.prefetch_of(space, object, rest, &mut worker.plan),
                None => engine.prefetch(object, rest, &mut worker.plan),
            };
            let short = engine.shortage().min(64);
            if short > 0 {
                engine.reclaim(Scope::All, short, &mut worker.plan);
            }
            drop(engine);
            self.carry_out(worker, Reads::HandOff);
            if rest.is_empty() {
                return 0;
            }
            self.finish(worker);
        }
        rest.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use faultless_addr::PageIndex;
    use faultless_engine::PageKey;
    use faultless_engine::pass::{Passes, Word};
    use shuttle::sync::Mutex;
    use shuttle::sync::atomic::AtomicU64;

    use super::*;

    const PAGE: PageKey = PageKey { object: ObjectId(1), page: PageIndex(7) };

    #[derive(Default)]
    struct InTurns(AtomicU64);

    impl Word for InTurns {
        fn load(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }

        fn change(&self, old: u64, new: u64) -> bool {
            self.0.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        }

        fn store(&self, value: u64) {
            self.0.store(value, Ordering::SeqCst);
        }
    }

    /// One page. Others may look whether it is there only while they are in its pass.
    struct World {
        passes: Passes<InTurns>,
        /// What the engine's lock guards.
        engine: Mutex<()>,
        there: AtomicBool,
    }

    impl World {
        fn use_page(&self) {
            if !self.passes.take(PAGE) {
                return;
            }
            assert!(self.there.load(Ordering::SeqCst), "it has left");
            shuttle::thread::yield_now();
            assert!(self.there.load(Ordering::SeqCst), "it leaves while it is used");
            if self.passes.give_back(PAGE) {
                let _engine = self.engine.lock().unwrap();
                if self.passes.end(PAGE) {
                    self.leaves();
                }
            }
        }

        fn recall(&self) {
            let _engine = self.engine.lock().unwrap();
            if self.passes.recall(PAGE) {
                self.leaves();
            }
        }

        /// The last pin of it has ended.
        fn leaves(&self) {
            assert!(self.there.swap(false, Ordering::SeqCst), "it leaves twice");
        }

        fn comes(&self) {
            let _engine = self.engine.lock().unwrap();
            if !self.there.swap(true, Ordering::SeqCst) {
                assert_eq!(self.passes.open(PAGE), Some(None));
                assert!(!self.passes.give_back(PAGE));
            }
        }
    }

    fn two_users_and_the_engine() {
        let (passes, engine) = (Passes::new(1), Mutex::new(()));
        let world = Arc::new(World { passes, engine, there: AtomicBool::new(false) });
        world.comes();
        let users = [0, 1].map(|_| {
            let world = world.clone();
            shuttle::thread::spawn(move || (0..2).for_each(|_| world.use_page()))
        });
        world.recall();
        world.comes();
        world.recall();
        users.into_iter().for_each(|user| user.join().unwrap());
        assert_eq!(world.passes.is_idle(PAGE), world.there.load(Ordering::SeqCst));
        world.recall();
        assert!(!world.there.load(Ordering::SeqCst), "nobody has seen to its end");
    }

    #[test]
    fn a_page_leaves_once_and_with_nobody_in_its_pass() {
        shuttle::check_random(two_users_and_the_engine, 10_000);
        shuttle::check_pct(two_users_and_the_engine, 10_000, 3);
    }
}
