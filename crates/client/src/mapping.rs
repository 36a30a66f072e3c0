//! [`Mapping`]: a shared mapping of a file as a value, for programs in Rust.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use faultless_sys::Errno;
use rustix::fs::OFlags;

use crate::enter::enter;
use crate::files::{self, Durable, Place};
use crate::kernel::Mmap;
use crate::source::Source;
use crate::{advice, map};

/// A file's bytes at addresses of this process; given back when it is dropped. Stores are
/// allowed where the file was opened for them.
#[derive(Debug)]
pub struct Mapping<F: AsFd> {
    start: usize,
    len: usize,
    file: F,
}

/// Advice that changes no byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// `MADV_NORMAL`.
    Normal,
    /// `MADV_RANDOM`.
    Random,
    /// `MADV_SEQUENTIAL`.
    Sequential,
    /// `MADV_WILLNEED`.
    WillNeed,
}

impl<F: AsFd> Mapping<F> {
    /// Maps `len` bytes, more than none, from the file's beginning.
    pub fn new(file: F, len: usize) -> Result<Mapping<F>, Errno> {
        let fd = file.as_fd();
        let writes = rustix::fs::fcntl_getfl(fd)? & OFlags::RWMODE == OFlags::RDWR;
        let prot = if writes { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        let flags = libc::MAP_SHARED;
        let map = Mmap { addr: 0, len, prot, flags, fd: fd.as_raw_fd(), offset: 0 };
        // SAFETY: 1. the kernel chooses addresses that are nobody's.
        let start = unsafe { map::mmap(map)? };
        Ok(Mapping { start, len, file })
    }

    /// The first byte.
    pub fn start(&self) -> *mut u8 {
        self.start as *mut u8
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The file.
    pub fn file(&self) -> &F {
        &self.file
    }

    /// Does a broker serve it? Else it is a mapping of the kernel's own.
    pub fn is_served(&self) -> bool {
        let range = self.start..self.start + self.len;
        enter().is_some_and(|inside| inside.regions.within(range).next().is_some())
    }

    /// msync(2) with `MS_SYNC`, of the pages that hold the range.
    pub fn sync(&self, offset: usize, len: usize) -> Result<(), Errno> {
        // SAFETY: 1. writes pages back, and changes no byte of them.
        self.over(offset, len, |start, len| unsafe { advice::msync(start, len, libc::MS_SYNC) })
    }

    /// madvise(2).
    pub fn advise(&self, offset: usize, len: usize, hint: Hint) -> Result<(), Errno> {
        let advice = match hint {
            Hint::Normal => libc::MADV_NORMAL,
            Hint::Random => libc::MADV_RANDOM,
            Hint::Sequential => libc::MADV_SEQUENTIAL,
            Hint::WillNeed => libc::MADV_WILLNEED,
        };
        // SAFETY: 1. advice that changes no byte.
        self.over(offset, len, |start, len| unsafe { advice::madvise(start, len, advice) })
    }

    fn over(
        &self,
        offset: usize,
        len: usize,
        call: impl FnOnce(usize, usize) -> Result<usize, Errno>,
    ) -> Result<(), Errno> {
        let end = offset.checked_add(len).filter(|end| *end <= self.len).ok_or(Errno::INVAL)?;
        let first = self.start + offset / faultless_addr::PAGE_SIZE * faultless_addr::PAGE_SIZE;
        call(first, self.start + end - first).map(drop)
    }

    /// pread(2) of what mappings have, also where nobody has written it back.
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize, Errno> {
        if let Ok(at) = i64::try_from(offset) {
            files::publish(self.fd(), Place::At(at), into.len());
        }
        rustix::io::pread(&self.file, into, offset)
    }

    /// pwrite(2), seen by all mappings.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        let at = i64::try_from(offset).map_err(|_| Errno::INVAL)?;
        let source = Source::Memory { start: bytes.as_ptr().addr(), len: bytes.len() };
        match files::write(self.fd(), source, Place::At(at), Durable::AsOpened) {
            Some(answer) => answer,
            None => rustix::io::pwrite(&self.file, bytes, offset),
        }
    }

    fn fd(&self) -> i32 {
        let file: BorrowedFd<'_> = self.file.as_fd();
        file.as_raw_fd()
    }
}

impl<F: AsFd> Drop for Mapping<F> {
    fn drop(&mut self) {
        // SAFETY: 1. the range is ours, and who had pointers into it promised not to use
        // them any more.
        let _ = unsafe { map::munmap(self.start, self.len) };
    }
}
