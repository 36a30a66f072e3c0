//! A file's pages in a [`Vm`](crate::Vm), shared by every map of the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use faultless_addr::{ByteRange, ObjectId, PageRange};
use faultless_engine::Pin;
use faultless_pager::{FileId, FilePager};
use faultless_runtime::ObjectHandle;
use faultless_sys::fork::Birthplace;

use crate::error::Error;
use crate::vm::{Entered, Inner};

/// An object with its home range of addresses. Dropped with its last map or pin: it
/// then writes what is dirty and gives everything back.
pub(crate) struct Mapping {
    pub vm: Arc<Inner>,
    pub handle: ObjectHandle,
    pub name: String,
    file: Option<(FileId, Arc<FilePager>)>,
    writable: AtomicBool,
    /// Bytes of budget and swap that are set aside for its pages.
    paid: u64,
    /// The process that may use it: it is shared memory.
    birthplace: Birthplace,
}

impl Mapping {
    pub fn new(
        vm: Arc<Inner>,
        handle: ObjectHandle,
        name: String,
        file: Option<(FileId, Arc<FilePager>)>,
        writable: bool,
    ) -> Mapping {
        let (writable, birthplace) = (AtomicBool::new(writable), Birthplace::here());
        Mapping { vm, handle, name, file, writable, paid: 0, birthplace }
    }

    /// It has so many bytes of the `Vm`'s [`Room`](crate::memory::Room), which it gives back.
    pub fn paid(mut self, bytes: u64) -> Mapping {
        self.paid = bytes;
        self
    }

    /// The way to the pages, for the process that mapped them.
    pub fn core(&self) -> Result<Entered<'_>, Error> {
        match self.birthplace.is_here() {
            true => Ok(self.vm.core()),
            false => Err(faultless_runtime::Error::Forked.into()),
        }
    }

    /// Pins a page for reading that is pinned often.
    #[inline]
    pub fn pin_again(&self, pages: PageRange) -> Option<Pin> {
        match self.birthplace.is_here() {
            true => self.vm.pin_again(self.object(), pages),
            false => None,
        }
    }

    /// Ends a pin. A forked child has none of its parent's.
    #[inline]
    pub fn unpin(&self, pin: Pin) {
        if self.birthplace.is_here()
            && let Some(pin) = self.vm.leave(pin)
        {
            self.vm.core().unpin(pin);
        }
    }

    pub fn object(&self) -> ObjectId {
        self.handle.object
    }

    /// Where byte `offset` of the file is.
    pub fn addr(&self, offset: u64) -> *mut u8 {
        (self.handle.range.start.0 + offset) as *mut u8
    }

    pub fn size(&self) -> Result<u64, Error> {
        Ok(self.core()?.size(self.object())?)
    }

    /// Makes the pages writable, if `file` lets us write.
    pub fn make_writable(&self, file: &impl std::os::fd::AsFd) -> Result<(), Error> {
        if let Some((_, pager)) = &self.file {
            pager.grant_write(file)?;
        }
        if !self.writable.swap(true, Ordering::AcqRel) {
            self.core()?.allow_writes(self.handle)?;
        }
        Ok(())
    }

    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Acquire)
    }

    /// Bytes `start..start + len`, checked against the file's length.
    pub fn bytes(&self, start: u64, len: u64) -> Result<ByteRange, Error> {
        let size = self.size()?;
        match ByteRange::from_len(start, len).filter(|bytes| bytes.end <= size) {
            Some(bytes) => Ok(bytes),
            None => Err(faultless_runtime::Error::BeyondEnd {
                name: self.name.clone(),
                size,
                start,
                end: start.saturating_add(len),
            }
            .into()),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let core = self.vm.core();
        if core.check_birthplace().is_err() {
            return; // A fork's copy: the pages belong to the parent.
        }
        // In a child that has taken over nothing is dirty, and nothing is written.
        if let Err(error) = core.close(self.handle) {
            eprintln!(
                "faultless: {}: unmapped with changes that could not be written: {error} \
                 (call `flush` to hear of it in time)",
                self.name
            );
        }
        self.vm.room.give(self.paid);
        if let Some((file, _)) = &self.file
            && self.birthplace.is_here()
        {
            self.vm.catalog.forget(*file);
        }
    }
}
