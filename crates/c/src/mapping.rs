//! One mapping, whatever it is of, and what can be done with a part of it.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use faultless::{Advice, MapCopy, MapRaw, Memory, Pattern, Protection};

use crate::error::{Failed, Result};

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// See the [module's description](self).
#[derive(Debug)]
pub struct Mapping {
    /// The first byte, which can be in a page.
    start: AtomicUsize,
    /// As long as was asked for.
    len: AtomicUsize,
    kind: Kind,
}

/// What is mapped.
#[derive(Debug)]
pub enum Kind {
    /// A file, or memory that is shared: stores are everybody's.
    Shared(MapRaw),
    /// A file, stores to which are one's own.
    Copy(Mutex<MapCopy>),
    /// Zeros.
    Memory(Mutex<Memory>),
}

impl Mapping {
    pub fn new(kind: Kind, len: usize) -> Mapping {
        let start = match &kind {
            Kind::Shared(map) => map.as_ptr(),
            Kind::Copy(copy) => lock(copy).as_ptr(),
            Kind::Memory(memory) => lock(memory).as_ptr(),
        };
        Mapping { start: AtomicUsize::new(start as usize), len: AtomicUsize::new(len), kind }
    }

    pub fn start(&self) -> usize {
        self.start.load(Ordering::Acquire)
    }

    /// All its pages.
    pub fn pages(&self) -> Range<usize> {
        let start = self.start();
        start - start % PAGE..(start + self.len.load(Ordering::Acquire)).next_multiple_of(PAGE)
    }

    /// A shared map, for what others don't have.
    pub fn shared(&self) -> Result<&MapRaw> {
        match &self.kind {
            Kind::Shared(map) => Ok(map),
            _ => Err(Failed::new(
                libc::EOPNOTSUPP,
                "private memory has neither pins nor a file behind it: use faultless_mlock, or \
                 map it MAP_SHARED",
            )),
        }
    }

    /// Bytes from its first one on, as far as it has any.
    pub fn bytes(&self, range: &Range<usize>) -> Range<usize> {
        let start = self.start();
        let begin = range.start.saturating_sub(start);
        let end = range.end.saturating_sub(start);
        let len = match &self.kind {
            Kind::Shared(map) => {
                if end > map.len() {
                    // Somebody may have made the file longer; where not, the rest has no bytes.
                    let _ = map.refresh().and_then(|size| {
                        let behind = size.saturating_sub(map.file_offset());
                        map.grow(behind.min(end as u64))
                    });
                }
                map.len()
            }
            Kind::Copy(copy) => lock(copy).len(),
            Kind::Memory(memory) => lock(memory).len(),
        };
        begin.min(len)..end.min(len)
    }

    pub fn protect(&self, range: &Range<usize>, rights: Protection) -> Result<()> {
        let bytes = self.bytes(range);
        match &self.kind {
            Kind::Shared(map) => map.protect(bytes, rights)?,
            // SAFETY: 1. nobody has a slice of the bytes: C has pointers.
            Kind::Copy(copy) => unsafe { lock(copy).protect(bytes, rights)? },
            // SAFETY: as above.
            Kind::Memory(memory) => unsafe { lock(memory).protect(bytes, rights)? },
        }
        Ok(())
    }

    pub fn sync(&self, range: &Range<usize>, wait: bool) -> Result<()> {
        if let Kind::Shared(map) = &self.kind {
            let bytes = self.bytes(range);
            match wait {
                true => map.flush_range(bytes.start as u64, bytes.len() as u64)?,
                false => map.flush_async()?,
            }
        }
        Ok(())
    }

    /// The order in which it will be accessed.
    pub fn expect(&self, pattern: Pattern) -> Result<()> {
        match &self.kind {
            Kind::Shared(map) => Ok(map.advise(pattern)?),
            _ => Ok(()),
        }
    }

    pub fn will_need(&self, range: &Range<usize>) -> Result<()> {
        let bytes = self.bytes(range);
        match &self.kind {
            Kind::Shared(map) => {
                map.prefetch([(bytes.start as u64, bytes.len() as u64)])?;
            }
            Kind::Copy(copy) => lock(copy).advise(bytes, Advice::WillNeed)?,
            Kind::Memory(memory) => lock(memory).advise(bytes, Advice::WillNeed)?,
        }
        Ok(())
    }

    /// What is one's own is forgotten; of what is shared, what needs not be written leaves
    /// memory.
    pub fn dont_need(&self, range: &Range<usize>) -> Result<()> {
        let bytes = self.bytes(range);
        match &self.kind {
            Kind::Shared(map) => map.release(bytes.start as u64, bytes.len() as u64)?,
            Kind::Copy(copy) => lock(copy).discard(bytes)?,
            Kind::Memory(memory) => lock(memory).discard(bytes)?,
        }
        Ok(())
    }

    /// It leaves memory, and nothing is lost.
    pub fn page_out(&self, range: &Range<usize>) -> Result<()> {
        let bytes = self.bytes(range);
        match &self.kind {
            Kind::Shared(map) => {
                if map.check_writable().is_ok() {
                    self.sync(range, true)?;
                }
                map.release(bytes.start as u64, bytes.len() as u64)?;
            }
            Kind::Copy(copy) => lock(copy).advise(bytes, Advice::PageOut)?,
            Kind::Memory(memory) => lock(memory).advise(bytes, Advice::PageOut)?,
        }
        Ok(())
    }

    pub fn free(&self, range: &Range<usize>) -> Result<()> {
        let bytes = self.bytes(range);
        match &self.kind {
            Kind::Memory(memory) => Ok(lock(memory).advise(bytes, Advice::Free)?),
            _ => Err(Failed::new(libc::EINVAL, "MADV_FREE is for private anonymous memory")),
        }
    }

    /// One byte for each page.
    pub fn residency(&self, range: &Range<usize>, into: &mut [u8]) -> Result<()> {
        let bytes = self.bytes(range);
        let pages = match &self.kind {
            Kind::Shared(map) => map.residency(bytes)?,
            Kind::Copy(copy) => lock(copy).residency(bytes)?,
            Kind::Memory(memory) => lock(memory).residency(bytes)?,
        };
        into.fill(0);
        into.iter_mut().zip(pages).for_each(|(into, resident)| *into = resident.into());
        Ok(())
    }

    pub fn lock(&self, range: &Range<usize>) -> Result<()> {
        let bytes = self.bytes(range);
        match &self.kind {
            Kind::Shared(_) => self.shared_is_not_locked(),
            Kind::Copy(copy) => Ok(lock(copy).lock(bytes)?),
            Kind::Memory(memory) => Ok(lock(memory).lock(bytes)?),
        }
    }

    pub fn unlock(&self, range: &Range<usize>) -> Result<()> {
        let bytes = self.bytes(range);
        match &self.kind {
            Kind::Shared(_) => Ok(()),
            Kind::Copy(copy) => Ok(lock(copy).unlock(bytes)?),
            Kind::Memory(memory) => Ok(lock(memory).unlock(bytes)?),
        }
    }

    fn shared_is_not_locked(&self) -> Result<()> {
        let why = "shared maps are held by pins: use faultless_pin";
        Err(Failed::new(libc::EOPNOTSUPP, why))
    }

    /// A part is unmapped and the rest is not.
    pub fn give_up(&self, range: &Range<usize>) -> Result<()> {
        let (start, pages) = (self.start(), self.pages());
        let is_tail = range.end == pages.end && range.start > pages.start;
        match &self.kind {
            Kind::Memory(memory) if is_tail => {
                lock(memory).resize(range.start - start)?;
                self.len.store(range.start - start, Ordering::Release);
                Ok(())
            }
            // Its pages are the file's, and leave as others do.
            Kind::Shared(_) => Ok(()),
            Kind::Copy(_) | Kind::Memory(_) => {
                self.unlock(range)?;
                self.dont_need(range)?;
                self.protect(range, Protection::NONE)
            }
        }
    }

    /// Makes it `len` bytes long; says where it is then.
    pub fn resize(&self, len: usize, may_move: bool) -> Result<usize> {
        let start = match &self.kind {
            Kind::Shared(map) if len as u64 <= map.reserved() => self.start(),
            Kind::Memory(memory) if may_move => lock(memory).resize(len)? as usize,
            Kind::Memory(_) => {
                return Err(Failed::new(libc::ENOMEM, "it may have to move: MREMAP_MAYMOVE"));
            }
            Kind::Shared(_) | Kind::Copy(_) => {
                let why = "no addresses are reserved behind it: map it again, as long";
                return Err(Failed::new(libc::ENOMEM, why));
            }
        };
        self.start.store(start, Ordering::Release);
        self.len.store(len, Ordering::Release);
        Ok(start)
    }
}

fn lock<T>(private: &Mutex<T>) -> MutexGuard<'_, T> {
    private.lock().unwrap_or_else(PoisonError::into_inner)
}
