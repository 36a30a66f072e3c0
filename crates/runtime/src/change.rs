//! Changes of a backing: its length, holes in it, and looks at what others have made of it.
//!
//! Each holds writes off, lets those under way end, changes the backing, tells the engine,
//! and returns when no page is left that shows what was before (`faultless_engine::change`).

use std::sync::Arc;
use std::time::Duration;

use faultless_addr::{ByteRange, ObjectId, PageIndex, PageRange};
use faultless_engine::{Engine, InChange, Look, Plan, ResizedBy};
use faultless_machine::Machine;
use faultless_pager::Pager;

use crate::core::Core;
use crate::drive::Worker;
use crate::error::{Error, Operation};
use crate::lock::Guard;
use crate::objects::ObjectHandle;

/// How often the pages at the ends are written, while others go on storing to them.
const ATTEMPTS: usize = 8;

impl<M: Machine> Core<M> {
    /// Sets the length of the backing and of what is mapped of it.
    pub fn resize(&self, handle: ObjectHandle, size: u64) -> Result<(), Error> {
        self.check_birthplace()?;
        let (object, pager) = (handle.object, self.pager(handle.object));
        if size > handle.range.len() {
            let reserved = handle.range.len();
            return Err(Error::Reserved { name: pager.name(), wanted: size, reserved });
        }
        let changed = self.begin_resize(object, size, &pager)?;
        let resized = pager.resize(size);
        let mut worker = self.worker();
        if resized.is_ok() {
            // Who comes after this meets no error from before.
            let mut engine = self.lock_quiet(object);
            engine.set_size(object, size, ResizedBy::User, &mut worker.plan);
            drop(engine);
            self.finish_gone(&mut worker, object, changed);
        }
        self.end_change(worker, object);
        resized.map_err(|source| Error::Io {
            operation: Operation::Resize,
            name: pager.name(),
            offset: size,
            source,
        })
    }

    /// Writes the pages that hold the old and the new end, and begins the change of all that
    /// follows the lesser.
    fn begin_resize(
        &self,
        object: ObjectId,
        size: u64,
        pager: &Arc<dyn Pager>,
    ) -> Result<PageRange, Error> {
        let mut attempts = 0;
        loop {
            let old = self.size(object)?;
            let ends = [old, size].map(|end| PageRange::from_len(PageIndex::containing(end), 1));
            let changed = PageRange::new(ends[0].start.min(ends[1].start), PageRange::all().end);
            self.write_back(object, ends[0])?;
            self.write_back(object, ends[1])?;
            attempts += 1;
            let mut engine = self.engine.lock();
            if old != engine.size(object) {
                continue;
            }
            if old != size
                && let Some(page) = engine.first_pinned(object, changed)
            {
                return Err(Error::Pinned { name: pager.name(), offset: page.offset() });
            }
            let clean = ends.iter().all(|end| !engine.is_dirty_in(object, *end));
            if !clean && attempts < ATTEMPTS {
                continue;
            }
            match engine.begin_change(object, changed) {
                Ok(()) => {
                    drop(engine);
                    self.wait_written(object, changed);
                    return Ok(changed);
                }
                Err(InChange) => drop(self.wait_for_change(engine)),
            }
        }
    }

    /// The bytes of whole pages read as zeros from now on, and take no space.
    pub fn punch(&self, object: ObjectId, bytes: ByteRange) -> Result<(), Error> {
        self.check_birthplace()?;
        let (pager, pages) = (self.pager(object), bytes.pages());
        debug_assert_eq!(pages.len() * faultless_addr::PAGE_BYTES, bytes.len());
        if let Some(page) = self.engine.lock().first_pinned(object, pages) {
            return Err(Error::Pinned { name: pager.name(), offset: page.offset() });
        }
        self.begin_change(object, pages);
        let punched = pager.punch(bytes.start, bytes.len());
        let mut worker = self.worker();
        if punched.is_ok() {
            self.engine.lock().discard(object, pages, &mut worker.plan);
            self.finish_gone(&mut worker, object, pages);
        }
        self.end_change(worker, object);
        punched.map_err(|source| Error::Io {
            operation: Operation::Punch,
            name: pager.name(),
            offset: bytes.start,
            source,
        })
    }

    /// Looks whether somebody else has changed the backing's length. When it returns, no write
    /// that was begun before is under way: none of them will make the backing longer again.
    pub fn refresh(&self, object: ObjectId) -> Result<u64, Error> {
        self.check_birthplace()?;
        let pager = self.pager(object);
        let mut attempts = 0;
        let size = loop {
            attempts += 1;
            self.begin_change(object, PageRange::all());
            let mut worker = self.worker();
            let seen = pager.size();
            let mut engine = self.lock_quiet(object);
            let later = seen.as_ref().is_ok_and(|size| engine.is_told_later(object, *size));
            if let Ok(size) = seen
                && !later
            {
                let size = size.min(engine.reach(object));
                engine.set_size(object, size, ResizedBy::Others, &mut worker.plan);
                engine.heal_object(object, &mut worker.plan);
            }
            drop(engine);
            self.finish_gone(&mut worker, object, PageRange::all());
            self.end_change(worker, object);
            let size = seen.map_err(|source| Error::Io {
                operation: Operation::Size,
                name: pager.name(),
                offset: 0,
                source,
            })?;
            self.write_tail(object)?;
            if !later || attempts == ATTEMPTS {
                break size;
            }
        };
        Ok(size)
    }

    /// Writes the page that holds the end. If it was cut, it goes, with what is behind the end.
    fn write_tail(&self, object: ObjectId) -> Result<(), Error> {
        let tail = PageRange::from_len(PageIndex::containing(self.size(object)?), 1);
        self.write_back(object, tail)?;
        let mut worker = self.worker();
        self.finish_gone(&mut worker, object, tail);
        self.rest(worker);
        Ok(())
    }

    /// From here to `end_change`, no write of these pages is under way.
    fn begin_change(&self, object: ObjectId, pages: PageRange) {
        let mut engine = self.engine.lock();
        while engine.begin_change(object, pages) == Err(InChange) {
            engine = self.wait_for_change(engine);
        }
        drop(engine);
        self.wait_written(object, pages);
    }

    /// Sleeps until a change may be over: the caller looks again.
    pub(crate) fn wait_for_change<'a>(&self, engine: Guard<'a, Engine>) -> Guard<'a, Engine> {
        self.wait_frames(engine, Duration::from_millis(1))
    }

    fn end_change(&self, mut worker: Box<Worker>, object: ObjectId) {
        self.engine.lock().end_change(object, &mut worker.plan);
        self.finish(&mut worker);
        self.rest(worker);
    }

    /// Carries the worker's plan out, and waits until the pages that are no more have gone,
    /// whoever was about to show them.
    pub(crate) fn finish_gone(&self, worker: &mut Worker, object: ObjectId, pages: PageRange) {
        self.finish(worker);
        self.finish_steps(worker, |engine, plan| engine.gone_step(object, pages, plan));
    }

    /// Asks the backing of an object that is in use for its size.
    pub(crate) fn look(&self, object: ObjectId, pager: &Arc<dyn Pager>) -> Option<(Look, u64)> {
        let mut engine = self.engine.lock();
        if !self.is_still(object, pager) {
            return None;
        }
        let look = engine.begin_look(object);
        drop(engine);
        Some((look, pager.size().ok()?))
    }

    /// A backing's size was asked: it may have become shorter.
    pub(crate) fn size_seen(
        &self,
        object: ObjectId,
        pager: &Arc<dyn Pager>,
        (look, size): (Look, u64),
        plan: &mut Plan,
    ) {
        let mut engine = self.engine.lock();
        if self.is_still(object, pager) {
            engine.size_seen(object, look, size, plan);
        }
    }

    /// Asked under the engine's lock: is the object still the one of this pager? It may
    /// have been closed, and its number used again.
    pub(crate) fn is_still(&self, object: ObjectId, pager: &Arc<dyn Pager>) -> bool {
        let pagers = self.pagers.lock();
        let now = pagers.get(object.index()).and_then(|now| now.as_ref());
        now.is_some_and(|now| Arc::ptr_eq(now, pager))
    }
}
