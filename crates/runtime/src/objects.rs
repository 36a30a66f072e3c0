//! Objects: opening and closing what is mapped, and what is asked about it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use faultless_addr::{
    ByteRange, ObjectId, PAGE_BYTES, PageIndex, PageRange, Prot, SpaceId, VirtRange,
};
use faultless_engine::{Engine, ErrorsSeen, Failure, KeptError, ObjectOptions, Pattern};
use faultless_machine::Machine;
use faultless_pager::{Direction, Pager};

use crate::core::Core;
use crate::error::{Error, Operation};
use crate::lock::Guard;

/// What is to be mapped, and how.
pub struct NewObject {
    /// Reads and writes it.
    pub pager: Arc<dyn Pager>,
    /// How it is treated.
    pub options: ObjectOptions,
    /// Where its addresses are.
    pub space: SpaceId,
    /// What may be done there.
    pub prot: Prot,
    /// Bytes of addresses, at least its size.
    pub reserve: u64,
}

/// An object and its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectHandle {
    /// The object.
    pub object: ObjectId,
    /// The space.
    pub space: SpaceId,
    /// Its addresses there; its first byte is at the first.
    pub range: VirtRange,
}

impl<M: Machine> Core<M> {
    /// Gives a backing its addresses. Nothing of it is read.
    pub fn open(&self, new: NewObject) -> Result<ObjectHandle, Error> {
        self.check_birthplace()?;
        let pages = ByteRange::new(0, new.reserve.max(new.options.size).max(1)).pages().len();
        let mut engine = self.engine.lock();
        let object = engine.create(new.options);
        let placed = engine.map_object(new.space, object, PageIndex(0), pages, new.prot);
        let range = match placed {
            Ok(range) => range,
            Err(why) => {
                engine.remove(object);
                return Err(Error::NoAddresses { pages, why: format!("{why:?}") });
            }
        };
        drop(engine);
        self.wait_until_quiet(new.space, range);
        self.add_pager(object, new.pager);
        Ok(ObjectHandle { object, space: new.space, range })
    }

    /// The pager of a new object.
    pub(crate) fn add_pager(&self, object: ObjectId, pager: Arc<dyn Pager>) {
        let blocks = pager.direct(Direction::Read, 0, PAGE_BYTES).is_none();
        let mut pagers = self.pagers.lock();
        if pagers.len() <= object.index() {
            pagers.resize_with(object.index() + 1, || None);
        }
        pagers[object.index()] = Some(pager);
        drop(pagers);
        if blocks && !self.pagers_block.swap(true, Ordering::AcqRel) {
            self.ring_handlers();
        }
    }

    /// From now on the object may be written through its addresses.
    pub fn allow_writes(&self, handle: ObjectHandle) -> Result<(), Error> {
        self.check_birthplace()?;
        let (object, mut worker) = (handle.object, self.worker());
        let mut engine = self.engine.lock();
        engine.allow_writes(object, &mut worker.plan);
        engine.allow_area_writes(handle.space, handle.range);
        drop(engine);
        self.finish_gone(&mut worker, object, PageRange::all());
        self.rest(worker);
        Ok(())
    }

    /// The object's length as last seen.
    pub fn size(&self, object: ObjectId) -> Result<u64, Error> {
        self.check_birthplace()?;
        Ok(self.engine.lock().size(object))
    }

    /// Frames that the object holds, and how many of them are dirty.
    pub fn resident(&self, object: ObjectId) -> Result<(u32, u32), Error> {
        self.check_birthplace()?;
        let engine = self.engine.lock();
        Ok((engine.resident(object), engine.dirty(object)))
    }

    /// What a new mapping of the object is not to be told.
    pub fn errors_seen(&self, object: ObjectId) -> Result<ErrorsSeen, Error> {
        self.check_birthplace()?;
        Ok(self.engine.lock().errors_seen(object))
    }

    /// The order in which the object will be accessed.
    pub fn advise(&self, object: ObjectId, pattern: Pattern) -> Result<(), Error> {
        self.check_birthplace()?;
        self.engine.lock().advise(object, pattern);
        Ok(())
    }

    /// Takes clean pages out of memory.
    pub fn drop_clean(&self, object: ObjectId, pages: PageRange) -> Result<(), Error> {
        self.check_birthplace()?;
        let mut worker = self.worker();
        let mut rest = pages;
        self.finish_steps(&mut worker, |engine, plan| engine.drop_clean(object, &mut rest, plan));
        self.rest(worker);
        Ok(())
    }

    /// An error that the holder of `seen` has not been told.
    pub fn check(&self, object: ObjectId, seen: &mut ErrorsSeen) -> Result<(), Error> {
        self.check_birthplace()?;
        let engine = self.engine.lock();
        let error = engine.check_errors(object, seen);
        let size = engine.size(object);
        drop(engine);
        error.map_or(Ok(()), |error| Err(self.kept_error(object, size, error)))
    }

    fn kept_error(&self, object: ObjectId, size: u64, error: KeptError) -> Error {
        let (name, offset) = (self.pager(object).name(), error.page.offset());
        let operation = match error.failure {
            Failure::Shrunk => return Error::Shrunk { name, size, offset },
            Failure::Read => Operation::Read,
            Failure::Write => Operation::Write,
            Failure::Sync => Operation::Sync,
        };
        let source = io::Error::from_raw_os_error(error.errno);
        Error::Io { operation, name, offset, source }
    }

    /// Writes what is dirty and gives the object's memory and addresses back.
    ///
    /// An error says that pages could not be written: they are lost, unless the
    /// caller doesn't close after all.
    pub fn close(&self, handle: ObjectHandle) -> Result<(), Error> {
        let written = match self.is_scratch(handle.object) {
            true => Ok(()),
            false => self.write_back(handle.object, PageRange::all()),
        };
        self.abandon(handle);
        written
    }

    /// Gives the object's memory and addresses back; what is dirty is lost.
    fn abandon(&self, handle: ObjectHandle) {
        let mut worker = self.worker();
        self.finish_steps(&mut worker, |engine, plan| engine.close_step(handle.object, plan));
        self.rest(worker);
        let mut engine = self.clear_marks(handle);
        engine.remove(handle.object);
        let pager = self.pagers.lock()[handle.object.index()].take();
        let flush = self.forget_flush(handle.object);
        drop(engine);
        // The end of a pager may take its time: no lock is held.
        drop((pager, flush));
    }

    /// Marks of errors go before the addresses serve another mapping. Answers with the
    /// lock held under which there is none.
    fn clear_marks(&self, handle: ObjectHandle) -> Guard<'_, Engine> {
        loop {
            let mut engine = self.lock_quiet(handle.object);
            engine.forget_marks(handle.object);
            drop(engine);
            let healed = self.machine.heal(handle.space, handle.range);
            debug_assert!(healed.is_ok(), "{healed:?}");
            engine = self.engine.lock();
            if !engine.has_marks(handle.object) {
                return engine;
            }
        }
    }

    /// The engine, when no error that an access met is on its way to the object's addresses:
    /// what heals errors finds all that there are.
    pub(crate) fn lock_quiet(&self, object: ObjectId) -> Guard<'_, Engine> {
        let mut engine = self.engine.lock();
        while engine.are_marks_changing(object) {
            engine = self.wait_frames(engine, Duration::from_millis(1));
        }
        engine
    }

    pub(crate) fn change(&self, decide: impl FnOnce(&mut Engine, &mut faultless_engine::Plan)) {
        let mut worker = self.worker();
        decide(&mut self.engine.lock(), &mut worker.plan);
        self.finish(&mut worker);
        self.rest(worker);
    }
}
