//! The trait that every backing implements.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

/// The page size that offsets are multiples of, in bytes.
pub const PAGE_SIZE: u64 = 4096;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the backing to memory.
    Read,
    /// From memory to the backing.
    Write,
}

/// A request that the driver may hand to the kernel itself, without calling the
/// pager: one vectored read or write on `fd` at the very offset asked about,
/// from or to page-aligned memory.
///
/// The kernel's answer is the driver's to judge: a count that is short in the
/// middle of the backing, or an error `EINVAL`, says to ask the pager after all.
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
    /// fewer than asked for only where the backing ends. What `bufs` hold past
    /// that count is not said: whoever shows it as zeros writes the zeros.
    fn read(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// Writes all of `bufs` at `offset`, never past the end that the backing
    /// has when the bytes are all written within it: a pager doesn't grow its
    /// backing here. Where the backing has become too short, the bytes that
    /// still fit are written and the error is a [`Shrunk`].
    fn write(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()>;

    /// Returns when all that was written is durable.
    fn sync(&self) -> io::Result<()>;

    /// Sets the length of the backing.
    fn resize(&self, size: u64) -> io::Result<()>;

    /// Forgets the bytes `offset..offset + len`: they read as zeros from now on.
    /// The length of the backing stays.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()>;

    /// The pages of a range that it keeps in swap; none if it has nothing to do with swap.
    fn in_swap(&self, offset: u64, len: u64) -> Vec<u64> {
        let _ = (offset, len);
        Vec::new()
    }

    /// Bytes of memory that its own tables take, now.
    fn bookkeeping_bytes(&self) -> usize {
        0
    }

    /// May the driver do this request itself? `None` says: call the pager.
    fn direct(&self, direction: Direction, offset: u64, len: u64) -> Option<Direct<'_>> {
        let _ = (direction, offset, len);
        None
    }
}

/// The error of a write to a backing that somebody made shorter meanwhile.
///
/// It comes inside an [`io::Error`] of the kind `UnexpectedEof`; see
/// [`Shrunk::of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{len} bytes at offset {offset} don't fit: the backing now ends at {size} \
     (somebody made it shorter; {written} bytes were written before its end)"
)]
pub struct Shrunk {
    /// Where the write began.
    pub offset: u64,
    /// How many bytes it had.
    pub len: u64,
    /// Where the backing ends now.
    pub size: u64,
    /// How many bytes lay before that end, and are written.
    pub written: u64,
}

impl Shrunk {
    /// The `Shrunk` inside `error`, if that is what it is.
    pub fn of(error: &io::Error) -> Option<Shrunk> {
        error.get_ref()?.downcast_ref().copied()
    }

    /// How many of `len` bytes at `offset` lie before the end `size`.
    pub(crate) fn fitting(offset: u64, len: u64, size: u64) -> u64 {
        len.min(size.saturating_sub(offset))
    }
}

impl From<Shrunk> for io::Error {
    fn from(shrunk: Shrunk) -> io::Error {
        io::Error::new(io::ErrorKind::UnexpectedEof, shrunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrunk_is_found_again_in_an_io_error() {
        let shrunk = Shrunk { offset: 4096, len: 4096, size: 5000, written: 904 };
        let error = io::Error::from(shrunk);
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(Shrunk::of(&error), Some(shrunk));
        assert!(error.to_string().contains("now ends at 5000"), "{error}");
        assert_eq!(Shrunk::of(&io::Error::from_raw_os_error(5)), None);
    }

    #[test]
    fn fitting_counts_the_bytes_before_the_end() {
        assert_eq!(Shrunk::fitting(0, 10, 10), 10);
        assert_eq!(Shrunk::fitting(0, 10, 4), 4);
        assert_eq!(Shrunk::fitting(8, 10, 4), 0);
    }
}
