//! One file: its object, its memory, its pager.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faultless_addr::{ByteRange, PAGE_BYTES, PageIndex, PageRange, Prot, SpaceId, VirtAddr};
use faultless_engine::{ErrorsSeen, ObjectOptions, Rights};
use faultless_linux::shared::{STORE, SharedMachine};
use faultless_pager::{FilePager, Pager, Rights as FileRights};
use faultless_protocol::FileId;
use faultless_runtime::{Core, Error, NewObject, ObjectHandle};
use faultless_sys::shared::SharedMemory;
use rustix::io::Errno;

use crate::error::errno_of;

pub(crate) type SharedCore = Core<SharedMachine>;

/// Bytes that one step of a write holds in memory.
const STEP: u64 = 64 << 10;

/// A file that some client maps, or has mapped not long ago.
pub(crate) struct Served {
    pub id: FileId,
    pub handle: ObjectHandle,
    pub memory: Arc<SharedMemory>,
    pager: Arc<FilePager>,
    core: Arc<SharedCore>,
    /// Held while its length changes or it is written by calls.
    length: Mutex<()>,
}

/// What says that nobody else has changed a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: i64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl Stamp {
    pub fn of(file: BorrowedFd<'_>) -> Result<Stamp, Errno> {
        let stat = rustix::fs::fstat(file)?;
        Ok(Stamp {
            size: stat.st_size,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        })
    }
}

impl Served {
    /// Makes an object of a file; nothing of it is read. It is to be found up to byte `end`
    /// at least.
    pub fn open(
        core: &Arc<SharedCore>,
        id: FileId,
        file: BorrowedFd<'_>,
        end: u64,
    ) -> Result<Served, Errno> {
        let refused = |error: faultless_pager::OpenError| {
            let error = std::io::Error::from(error);
            Errno::from_io_error(&error).unwrap_or(Errno::ACCESS)
        };
        let pager = Arc::new(FilePager::new(&file, FileRights::ReadOnly).map_err(refused)?);
        let size =
            pager.size().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let memory = Arc::new(SharedMemory::new("faultless", whole_pages(size))?);
        let reserve = whole_pages(size.saturating_mul(2).max(end).clamp(16 << 30, 1 << 62));
        // Where its memory ends so do its pages, wherever clients think that they are.
        pager.be_at_most(reserve);
        let handle = core.open(NewObject {
            pager: pager.clone(),
            options: ObjectOptions::file(size, Rights::ReadOnly),
            space: STORE,
            prot: Prot::READ,
            reserve,
        });
        let handle = handle.map_err(|error| errno_of(&error))?;
        let core = core.clone();
        let served = Served { id, handle, memory, pager, core, length: Mutex::new(()) };
        served.core.machine().add_memory(handle.range, served.memory.clone())?;
        Ok(served)
    }

    /// From now on it may be changed, if `file` lets its holder do so.
    pub fn allow_writes(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        self.pager.grant_write(&file).map_err(|_| Errno::ACCESS)?;
        self.core.allow_writes(self.handle).map_err(|error| errno_of(&error))
    }

    /// Where the broker sees a page.
    pub fn home_of(&self, page: PageIndex) -> VirtAddr {
        self.handle.range.start.plus_pages(page.0)
    }

    /// Its length.
    pub fn size(&self) -> u64 {
        self.core.size(self.handle.object).unwrap_or(0)
    }

    /// Writes what is dirty in a range, and waits until it is in the file.
    pub fn clean(&self, pages: PageRange) -> Result<(), Errno> {
        let (_, dirty) = self.core.resident(self.handle.object).map_err(|e| errno_of(&e))?;
        if dirty == 0 {
            return Ok(());
        }
        let written = self.between_writes(|| self.core.write_back(self.handle.object, pages));
        written.map_err(|error| errno_of(&error))
    }

    /// Tries, and once more between two `write`s where one was at a page: it holds it while it
    /// copies. Who has the length locked meets none.
    fn between_writes(&self, mut attempt: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
        match attempt() {
            Err(Error::Pinned { .. }) => {
                let _length = self.lock_length();
                attempt()
            }
            done => done,
        }
    }

    /// Writes what is dirty in a range and makes it durable; tells errors since `seen`.
    pub fn flush(&self, pages: PageRange, seen: &mut ErrorsSeen) -> Result<(), Errno> {
        let flushed = self.between_writes(|| self.core.flush(self.handle.object, pages, seen));
        flushed.map_err(|error| {
            // A program hears a number only; who runs the broker can read what it means.
            eprintln!("faultless: msync is told an error: {error}");
            errno_of(&error)
        })
    }

    /// Errors that a new user is not to be told.
    pub fn errors_seen(&self) -> ErrorsSeen {
        self.core.errors_seen(self.handle.object).unwrap_or_default()
    }

    /// The file's own bytes, past its object: they may have been changed by others.
    pub fn forget_clean(&self) {
        let _ = self.core.refresh(self.handle.object);
        let _ = self.core.drop_clean(self.handle.object, PageRange::all());
        self.follow_size();
    }

    /// ftruncate.
    pub fn truncate(&self, size: u64) -> Result<(), Errno> {
        let _length = self.lock_length();
        self.set_size(size)
    }

    fn set_size(&self, size: u64) -> Result<(), Errno> {
        // Before it is longer its memory is: no client gets SIGBUS for a page that there is.
        if whole_pages(size) > self.memory.len()? {
            self.memory.resize(whole_pages(size))?;
        }
        let resized = self.core.resize(self.handle, size).map_err(|error| errno_of(&error));
        self.cut_memory();
        resized
    }

    /// The memory ends where the object does; no frame is beyond that any more.
    fn cut_memory(&self) {
        let size = self.size();
        if self.memory.len().is_ok_and(|len| len != whole_pages(size)) {
            self.core.clear_beyond(self.handle, size);
            let _ = self.memory.resize(whole_pages(size));
        }
    }

    /// Others have changed the file's length, as the keeper has seen: so changes the memory's.
    pub fn follow_size(&self) {
        let _length = self.lock_length();
        self.cut_memory();
    }

    /// write: the bytes go to the pages in memory; where they end beyond the file, it grows.
    /// Answers which bytes of the file they are now: of what can't be written whole the first
    /// ones, or none at the limit.
    pub fn write_at(&self, client: SpaceId, to: To, bytes: &[u8]) -> Result<Range<u64>, Errno> {
        let _length = self.lock_length();
        let before = self.size();
        let range = to.range(before, bytes.len())?;
        if range.is_empty() {
            return Ok(range);
        }
        if range.end > before {
            self.set_size(range.end)?;
        }
        let bytes = &bytes[..(range.end - range.start) as usize];
        let mut done = 0;
        while done < bytes.len() {
            let offset = range.start + done as u64;
            // Up to where a step ends: steps are whole pages but for the first and the last.
            let room = (STEP - offset % PAGE_BYTES) as usize;
            let part = &bytes[done..bytes.len().min(done + room)];
            if let Err(errno) = self.write_part(client, offset, part) {
                // As long as it would be if nothing had been tried beyond.
                if range.end > before.max(offset) {
                    let _ = self.set_size(before.max(offset));
                }
                return if done == 0 { Err(errno) } else { Ok(range.start..offset) };
            }
            done += part.len();
        }
        Ok(range)
    }

    fn write_part(&self, client: SpaceId, offset: u64, part: &[u8]) -> Result<(), Errno> {
        // Others may have made the file longer, which its memory isn't yet.
        let end = whole_pages(offset + part.len() as u64);
        if end > self.memory.len()? {
            self.memory.resize(end)?;
        }
        let pin = self.core.pin_to_fill(Some(client), self.handle.object, (offset, part));
        let pin = pin.map_err(|error| errno_of(&error))?;
        let written = write_all(self.memory.writer(), offset, part);
        self.core.unpin(pin);
        written
    }

    /// As [`write_at`](Self::write_at), by a descriptor that can't read, which no pager can
    /// use: the bytes go to the file, and the pages are forgotten.
    pub fn write_past(
        &self,
        file: BorrowedFd<'_>,
        to: To,
        bytes: &[u8],
    ) -> Result<Range<u64>, Errno> {
        let _length = self.lock_length();
        let range = to.range(self.size(), bytes.len())?;
        if range.is_empty() {
            return Ok(range);
        }
        let pages = ByteRange::new(range.start.min(self.size()), range.end).pages();
        self.clean(pages)?;
        write_all(file, range.start, &bytes[..(range.end - range.start) as usize])?;
        self.core.forget_pages(self.handle.object, pages);
        let _ = self.core.refresh(self.handle.object);
        self.cut_memory();
        Ok(range)
    }

    /// Bytes of the file read as zeros from now on: whole pages are taken out of it, and zeros
    /// written to the parts of others.
    pub fn punch(&self, client: SpaceId, offset: u64, len: u64) -> Result<(), Errno> {
        let _length = self.lock_length();
        let end = offset.saturating_add(len).min(self.size());
        if offset >= end {
            return Ok(());
        }
        let first = offset.next_multiple_of(PAGE_BYTES).min(end);
        let last = (end - end % PAGE_BYTES).max(first);
        for part in [offset..first, last..end] {
            if !part.is_empty() {
                let zeros = [0; PAGE_BYTES as usize];
                let zeros = &zeros[..(part.end - part.start) as usize];
                self.write_part(client, part.start, zeros)?;
            }
        }
        if first == last {
            return Ok(());
        }
        let punched = self.core.punch(self.handle.object, ByteRange::new(first, last));
        punched.map_err(|error| errno_of(&error))
    }

    /// Nobody else changes its length, or writes it by calls, meanwhile.
    pub fn lock_length(&self) -> MutexGuard<'_, ()> {
        self.length.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What says later that nobody else has changed it.
    pub fn stamp(&self, file: BorrowedFd<'_>) -> Option<Stamp> {
        Stamp::of(file.as_fd()).ok()
    }

    /// Writes what is dirty and gives memory and addresses back.
    pub fn close(&self) {
        if let Err(error) = self.core.close(self.handle) {
            faultless_runtime::say(format_args!("changes are lost: {error}"));
        }
        self.core.machine().remove_memory(self.handle.range);
    }
}

fn whole_pages(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE_BYTES)
}

/// Where a write goes.
#[derive(Clone, Copy, Debug)]
pub struct To {
    /// The first byte; the end of the file if not said.
    pub at: Option<u64>,
    /// How long the writer may make the file.
    pub limit: u64,
}

impl To {
    /// The bytes of a file that a write of `len` reaches: fewer if it meets the limit, none
    /// behind it.
    fn range(self, size: u64, len: usize) -> Result<Range<u64>, Errno> {
        let start = self.at.unwrap_or(size);
        let end = start.checked_add(len as u64).ok_or(Errno::FBIG)?;
        Ok(start..end.min(self.limit.max(start)))
    }
}

fn write_all(to: BorrowedFd<'_>, mut offset: u64, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(to, bytes, offset) {
            Ok(count) => {
                bytes = &bytes[count..];
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
