//! Vectored transfers that may stop half-way: what is left, and in which pieces.

use std::io::{IoSlice, IoSliceMut};
use std::ops::Deref;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use smallvec::SmallVec;

use crate::pager::PAGE_SIZE;

/// The kernel's `IOV_MAX`: a call with more pieces is refused whole.
const PIECES_MAX: usize = 1024;

/// The number of bytes in `bufs`.
pub(crate) fn total(bufs: &[impl Deref<Target = [u8]>]) -> u64 {
    bufs.iter().map(|buf| buf.len() as u64).sum()
}

/// The bytes of `bufs` after the first `skip`, as far as one call takes them.
/// Borrows anew, so that the caller's slices stay as they are.
pub(crate) fn rest_mut<'a>(
    bufs: &'a mut [IoSliceMut<'_>],
    skip: u64,
) -> SmallVec<[IoSliceMut<'a>; 4]> {
    let mut skip = skip;
    let mut rest = SmallVec::with_capacity(bufs.len().min(PIECES_MAX));
    for buf in bufs {
        if skip >= buf.len() as u64 {
            skip -= buf.len() as u64;
            continue;
        }
        if rest.len() == PIECES_MAX {
            break;
        }
        // Less than a length in memory, so it fits a usize.
        rest.push(IoSliceMut::new(&mut buf[skip as usize..]));
        skip = 0;
    }
    rest
}

/// preadv(2) from `at` into the bytes of `bufs` after the first `skip`, as far as one call goes.
pub(crate) fn read_rest(
    fd: BorrowedFd<'_>,
    bufs: &mut [IoSliceMut<'_>],
    skip: u64,
    at: u64,
) -> Result<usize, Errno> {
    // Nearly always the first call is the last.
    if skip == 0 && bufs.len() <= PIECES_MAX {
        return rustix::io::preadv(fd, bufs, at);
    }
    rustix::io::preadv(fd, &mut rest_mut(bufs, skip), at)
}

/// At most the first `len` bytes of `bufs`.
pub(crate) fn first_mut<'a>(bufs: &'a mut [IoSliceMut<'_>], len: u64) -> Vec<IoSliceMut<'a>> {
    let mut left = len;
    let cut = bufs.iter_mut().map(|buf| {
        let take = (buf.len() as u64).min(left);
        left -= take;
        IoSliceMut::new(&mut buf[..take as usize])
    });
    cut.filter(|buf| !buf.is_empty()).collect()
}

/// The bytes of `bufs` from `skip` on, at most `take` of them, as far as one
/// call takes them.
pub(crate) fn rest<'a>(bufs: &'a [IoSlice<'_>], skip: u64, take: u64) -> Vec<IoSlice<'a>> {
    let (mut skip, mut take) = (skip, take);
    let mut rest = Vec::with_capacity(bufs.len().min(PIECES_MAX));
    for buf in bufs {
        if skip >= buf.len() as u64 {
            skip -= buf.len() as u64;
            continue;
        }
        if take == 0 || rest.len() == PIECES_MAX {
            break;
        }
        let piece = &buf[skip as usize..];
        let piece = &piece[..piece.len().min(usize::try_from(take).unwrap_or(usize::MAX))];
        take -= piece.len() as u64;
        rest.push(IoSlice::new(piece));
        skip = 0;
    }
    rest
}

/// Is this piece of memory whole pages, as `O_DIRECT` wants it?
pub(crate) fn is_whole_pages(piece: &[u8]) -> bool {
    is_page_multiple(piece.as_ptr().addr() as u64) && is_page_multiple(piece.len() as u64)
}

/// Is this offset or length a multiple of the page size?
pub(crate) fn is_page_multiple(n: u64) -> bool {
    n.is_multiple_of(PAGE_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lens(pieces: &[impl Deref<Target = [u8]>]) -> Vec<usize> {
        pieces.iter().map(|piece| piece.len()).collect()
    }

    #[test]
    fn rest_skips_whole_and_partial_pieces() {
        let bytes = [7u8; 30];
        let bufs = [IoSlice::new(&bytes[..10]), IoSlice::new(&[]), IoSlice::new(&bytes[10..])];
        assert_eq!(lens(&rest(&bufs, 0, u64::MAX)), [10, 20]);
        assert_eq!(lens(&rest(&bufs, 4, u64::MAX)), [6, 20]);
        assert_eq!(lens(&rest(&bufs, 10, 5)), [5]);
        assert_eq!(lens(&rest(&bufs, 0, 12)), [10, 2]);
        assert_eq!(lens(&rest(&bufs, 30, 5)), [0; 0]);
    }

    #[test]
    fn rest_mut_leaves_the_callers_slices_alone() {
        let (mut a, mut b) = ([1u8; 8], [2u8; 8]);
        let mut bufs = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
        assert_eq!(lens(&rest_mut(&mut bufs, 3)), [5, 8]);
        assert_eq!(lens(&rest_mut(&mut bufs, 8)), [8]);
        assert_eq!(lens(&bufs), [8, 8]);
        assert_eq!(total(&bufs), 16);
    }

    #[test]
    fn one_call_gets_no_more_pieces_than_the_kernel_takes() {
        let byte = [0u8];
        let bufs = vec![IoSlice::new(&byte); PIECES_MAX + 5];
        assert_eq!(rest(&bufs, 0, u64::MAX).len(), PIECES_MAX);
        assert_eq!(rest(&bufs, PIECES_MAX as u64, u64::MAX).len(), 5);
    }
}
