//! Flushes: writing back what is dirty, for somebody who waits, or by and by.
//!
//! ```text
//!   flush        the caller writes, waits, syncs, and is told of errors
//!   flush_async  the caller leaves a line in `flushes`; the keeper writes.
//!                Errors stay with the object until a flush or a check
//! ```
//!
//! An object has one line at most: what is asked again is added to it. A line is no claim
//! on the object. It is looked at under the engine's lock only, and goes when the object
//! is closed, whose own last flush leaves nothing for it to do.

use std::sync::Arc;

use faultless_addr::{ObjectId, PageRange};
use faultless_engine::{ErrorsSeen, FlushStep, Writes};
use faultless_machine::Machine;
use faultless_pager::Pager;

use crate::core::Core;
use crate::drive::{Reads, Worker, errno_of};
use crate::error::Error;

/// Writes of a flush that are under way at once.
const DEPTH: usize = 32;

/// Pages that the keeper is to write.
pub(crate) struct Flush {
    object: ObjectId,
    /// Says which object of this number is meant.
    pager: Arc<dyn Pager>,
    pages: PageRange,
}

impl<M: Machine> Core<M> {
    /// Writes what is dirty in a range, makes it durable, and reports every error
    /// since `seen`.
    pub fn flush(
        &self,
        object: ObjectId,
        pages: PageRange,
        seen: &mut ErrorsSeen,
    ) -> Result<(), Error> {
        self.check_birthplace()?;
        if self.is_scratch(object) {
            return self.check(object, seen);
        }
        let written = self.write_back(object, pages);
        if let Err(error) = self.pager(object).sync() {
            self.engine.lock().sync_failed(object, pages.start, errno_of(&error));
        }
        self.check(object, seen)?;
        written
    }

    /// Has what is dirty in a range written, and doesn't wait for it. Pages that a pin
    /// may store to are left out.
    pub fn flush_async(&self, object: ObjectId, pages: PageRange) -> Result<(), Error> {
        self.check_birthplace()?;
        if self.is_scratch(object) {
            return Ok(());
        }
        let pager = self.pager(object);
        {
            // Under the engine's lock, so that the object isn't closed meanwhile.
            let _engine = self.engine.lock();
            let mut flushes = self.flushes.lock();
            match flushes.iter_mut().find(|flush| flush.object == object) {
                Some(flush) => flush.pages = hull(flush.pages, pages),
                None => flushes.push_back(Flush { object, pager, pages }),
            }
        }
        self.keeper_bell.signal();
        Ok(())
    }

    /// Is there nothing that its pages are to be safe in?
    pub(crate) fn is_scratch(&self, object: ObjectId) -> bool {
        self.engine.lock().writes(object) == Writes::UnderPressure
    }

    /// The object is being closed, under the engine's lock.
    pub(crate) fn forget_flush(&self, object: ObjectId) -> Option<Flush> {
        let mut flushes = self.flushes.lock();
        let n = flushes.iter().position(|flush| flush.object == object)?;
        flushes.remove(n)
    }

    /// Does what `flush_async` has left to the keeper.
    pub(crate) fn carry_on_flushes(&self) {
        loop {
            let Some(mut flush) = self.flushes.lock().pop_front() else { return };
            let mut worker = self.worker();
            while self.carry_on_flush(&mut worker, &mut flush) {}
            self.finish(&mut worker);
            self.rest(worker);
        }
    }

    /// One step; false where there is nothing left to begin.
    fn carry_on_flush(&self, worker: &mut Worker, flush: &mut Flush) -> bool {
        let mut engine = self.engine.lock();
        if !self.is_still(flush.object, &flush.pager) {
            return false;
        }
        let step = engine.flush_step(flush.object, &mut flush.pages, &mut worker.plan);
        match step {
            FlushStep::Wait(no) if worker.is_idle() => drop(self.wait_settled(engine, no)),
            FlushStep::Wait(_) => {
                drop(engine);
                self.finish(worker);
            }
            FlushStep::More => {
                drop(engine);
                self.carry_out(worker, Reads::Queue);
                self.keep_depth(worker);
            }
            FlushStep::InChange => {
                drop(engine);
                self.finish(worker);
                drop(self.wait_for_change(self.engine.lock()));
            }
            FlushStep::Pinned(page) => flush.pages.start = page.next(),
            FlushStep::Done => {}
        }
        step != FlushStep::Done
    }

    /// Writes every page of a range that is dirty now, and waits for it.
    pub fn write_back(&self, object: ObjectId, pages: PageRange) -> Result<(), Error> {
        let mut worker = self.worker();
        let mut rest = pages;
        let result = loop {
            let mut engine = self.engine.lock();
            let step = engine.flush_step(object, &mut rest, &mut worker.plan);
            if let FlushStep::Wait(no) = step
                && worker.is_idle()
            {
                drop(self.wait_settled(engine, no));
                continue;
            }
            drop(engine);
            self.carry_out(&mut worker, Reads::Queue);
            match step {
                FlushStep::More => self.keep_depth(&mut worker),
                FlushStep::Wait(_) => self.finish(&mut worker),
                FlushStep::InChange => {
                    self.finish(&mut worker);
                    drop(self.wait_for_change(self.engine.lock()));
                }
                FlushStep::Done => break Ok(()),
                FlushStep::Pinned(page) => {
                    let name = self.pager(object).name();
                    break Err(Error::Pinned { name, offset: page.offset() });
                }
            }
        };
        self.finish(&mut worker);
        self.rest(worker);
        self.wait_written(object, pages);
        result
    }

    /// Waits for the writes of a range that are under way, whoever began them.
    pub(crate) fn wait_written(&self, object: ObjectId, pages: PageRange) {
        loop {
            let mut engine = self.engine.lock();
            let Some(no) = engine.writing_in(object, pages) else { return };
            drop(self.wait_settled(engine, no));
        }
    }

    fn keep_depth(&self, worker: &mut Worker) {
        while worker.io.in_flight() >= DEPTH {
            worker.io.wait();
            self.reap(worker, usize::MAX);
            self.carry_out(worker, Reads::Queue);
        }
    }
}

/// The least range that holds both.
fn hull(a: PageRange, b: PageRange) -> PageRange {
    PageRange::new(a.start.min(b.start), a.end.max(b.end))
}
