//! Memory of the real kernel, by its own calls.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::PAGE;

/// `MADV_GUARD_INSTALL` and `MADV_GUARD_REMOVE`, which libc doesn't have.
pub const GUARD_INSTALL: i32 = 102;
pub const GUARD_REMOVE: i32 = 103;

/// The error number of a call.
pub type Errno = i32;

/// A mapping, ended when it is dropped. Nothing is near it, so running off it is noticed.
#[derive(Debug)]
pub struct Area {
    pub start: usize,
    pub pages: usize,
}

/// Where nothing is placed by itself, and room for each to grow.
static NEXT: AtomicUsize = AtomicUsize::new(16 << 40);
const APART: usize = 64 << 20;

fn place() -> usize {
    NEXT.fetch_add(APART, Ordering::Relaxed)
}

pub fn errno() -> Errno {
    // SAFETY: the place of this thread's number.
    unsafe { *libc::__errno_location() }
}

fn checked(result: libc::c_int) -> Result<(), Errno> {
    if result == 0 { Ok(()) } else { Err(errno()) }
}

pub const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

impl Area {
    pub fn anonymous(pages: usize) -> Area {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        Area::map(place(), pages, READ_WRITE, flags, -1, 0).unwrap()
    }

    /// Pages of a file, from page `first` on.
    pub fn of_file(
        file: &File,
        first: usize,
        pages: usize,
        prot: i32,
        flags: i32,
    ) -> Result<Area, Errno> {
        Area::map(place(), pages, prot, flags, file.as_raw_fd(), first * PAGE)
    }

    fn map(
        at: usize,
        pages: usize,
        prot: i32,
        flags: i32,
        fd: i32,
        offset: usize,
    ) -> Result<Area, Errno> {
        let (hint, offset) = (at as *mut libc::c_void, offset as i64);
        // SAFETY: a place where nothing is, or what the caller has there.
        let start = unsafe { libc::mmap(hint, pages * PAGE, prot, flags, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(errno());
        }
        assert_eq!(start as usize, at, "somebody else is where nothing should be");
        Ok(Area { start: at, pages })
    }

    /// Maps another opening of the file over it.
    pub fn replace(&self, file: &File, prot: i32, flags: i32) -> Result<(), Errno> {
        let flags = flags | libc::MAP_FIXED;
        let area = Area::map(self.start, self.pages, prot, flags, file.as_raw_fd(), 0)?;
        std::mem::forget(area);
        Ok(())
    }

    pub fn protect(&self, at: usize, len: usize, prot: i32) -> Result<(), Errno> {
        // SAFETY: twins are touched by routines that bear faults.
        checked(unsafe { libc::mprotect(self.addr(at), len, prot) })
    }

    /// Where byte `at` is; behind the end of it, a page that nobody can have, for what is
    /// there may be another's.
    fn addr(&self, at: usize) -> *mut libc::c_void {
        let start = if at < self.pages * PAGE { self.start + at } else { PAGE };
        std::ptr::with_exposed_provenance_mut(start)
    }

    pub fn advise(&self, at: usize, len: usize, advice: i32) -> Result<(), Errno> {
        // SAFETY: nobody has a slice of a twin.
        checked(unsafe { libc::madvise(self.addr(at), len, advice) })
    }

    pub fn sync(&self, at: usize, len: usize, flags: i32) -> Result<(), Errno> {
        // SAFETY: it changes no memory.
        checked(unsafe { libc::msync(self.addr(at), len, flags) })
    }

    pub fn lock(&self, at: usize, len: usize) -> Result<(), Errno> {
        // SAFETY: it changes no memory.
        checked(unsafe { libc::mlock(self.addr(at), len) })
    }

    /// Maps zeros at some pages of it.
    pub fn place(&self, first: usize, pages: usize, how: i32) -> Result<(), Errno> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | how;
        let area = Area::map(self.start + first * PAGE, pages, READ_WRITE, flags, -1, 0)?;
        std::mem::forget(area);
        Ok(())
    }

    /// Other length, wherever there is room.
    pub fn resize(&mut self, pages: usize) -> Result<(), Errno> {
        let (old, new) = (self.pages * PAGE, pages * PAGE);
        // SAFETY: nobody has a slice of a twin.
        let start = unsafe { libc::mremap(self.start as *mut _, old, new, libc::MREMAP_MAYMOVE) };
        if start == libc::MAP_FAILED {
            return Err(errno());
        }
        (self.start, self.pages) = (start as usize, pages);
        Ok(())
    }

    /// Stores bytes whatever the rights are, and gives `prot` back to the page.
    pub fn amend(&self, page: usize, bytes: &[u8], prot: i32) {
        self.protect(page * PAGE, PAGE, READ_WRITE).unwrap();
        let (done, fault) = super::access::store_many(self.start + page * PAGE, bytes);
        assert_eq!((done, fault), (bytes.len(), None), "the kernel's page can't be stored to");
        self.protect(page * PAGE, PAGE, prot).unwrap();
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: it is this value's own.
        unsafe { libc::munmap(self.start as *mut _, self.pages * PAGE) };
    }
}

/// `fallocate` of a hole.
pub fn punch(file: &File, at: u64, len: u64) -> Result<(), Errno> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: no memory is passed.
    checked(unsafe { libc::fallocate(file.as_raw_fd(), mode, at as i64, len as i64) })
}
