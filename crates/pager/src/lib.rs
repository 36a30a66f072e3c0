//! Pagers: each reads and writes the pages of one backing.
//!
//! A pager knows offsets and bytes. It knows nothing of addresses, frames or
//! policies, holds no cache, and may take as long as it needs: nobody holds a
//! lock while calling it.

#![forbid(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the backing to memory.
    Read,
    /// From memory to the backing.
    Write,
}

/// A request that the driver may hand to the kernel itself, without calling the
/// pager: one vectored read or write on `fd` at the very offset asked about.
#[derive(Clone, Copy, Debug)]
pub struct Direct<'a> {
    /// The descriptor to use.
    pub fd: BorrowedFd<'a>,
}

/// Reads and writes one backing.
///
/// Offsets that the driver asks for are multiples of the page size; lengths are
/// too, except for the last write before the end of the backing.
pub trait Pager: Send + Sync {
    /// What a person calls this backing: a path, a URL.
    fn name(&self) -> String;

    /// Its length in bytes, asked anew at every call.
    fn size(&self) -> io::Result<u64>;

    /// Fills `bufs` from `offset` on and returns how many bytes there were:
    /// fewer than asked for only where the backing ends.
    fn read(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// Writes all of `bufs` at `offset`, never past the end that the backing
    /// has when the bytes are all written within it: a pager doesn't grow its
    /// backing here.
    fn write(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()>;

    /// Returns when all that was written is durable.
    fn sync(&self) -> io::Result<()>;

    /// Sets the length of the backing.
    fn resize(&self, size: u64) -> io::Result<()>;

    /// Forgets the bytes `offset..offset + len`: they read as zeros from now on.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()>;

    /// May the driver do this request itself? `None` says: call the pager.
    fn direct(&self, direction: Direction, offset: u64, len: u64) -> Option<Direct<'_>> {
        let _ = (direction, offset, len);
        None
    }
}
