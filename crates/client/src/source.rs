//! [`Source`]: where the bytes of a write come from, and how they come into the staging
//! memory. The kernel copies them, so that a bad address is EFAULT, as it is with write(2).

#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;

use faultless_sys::Errno;
use faultless_sys::call::call;

use crate::descriptor::borrow;
use crate::kernel::Answer;

/// Vectors that are looked at together.
const VECTORS: usize = 16;

/// Bytes to be written.
#[derive(Debug)]
pub enum Source {
    /// In memory.
    Memory {
        /// The first.
        start: usize,
        /// How many.
        len: usize,
    },
    /// In memory, as an array of `iovec` says.
    Vectors {
        /// The array.
        start: usize,
        /// Its length.
        count: usize,
        /// Bytes of the first vector that are done with.
        done: usize,
    },
    /// In a file.
    File {
        /// The file.
        fd: i32,
        /// The first byte; the file's position if not said.
        offset: Option<i64>,
        /// How many.
        len: usize,
    },
}

impl Source {
    /// Puts up to `most` bytes into the staging memory, from its first byte on; answers how
    /// many. 0 at the end.
    pub(crate) fn stage(&self, staging: BorrowedFd<'_>, most: usize) -> Answer {
        match *self {
            Source::Memory { start, len } => {
                let vector = libc::iovec { iov_base: start as *mut _, iov_len: len.min(most) };
                write(staging, &[vector])
            }
            Source::Vectors { mut start, mut count, mut done } => {
                let mut vectors = [EMPTY; VECTORS];
                while count > 0 {
                    let read = read_vectors(start, &mut vectors[..count.min(VECTORS)])?;
                    let used = cut(&mut vectors[..read], done, most);
                    if vectors[..used].iter().any(|vector| vector.iov_len > 0) {
                        return write(staging, &vectors[..used]);
                    }
                    // All empty, so `done` is 0, or all of the first.
                    (start, count, done) = (start + size_of_val(&vectors), count - read, 0);
                }
                Ok(0)
            }
            Source::File { fd, offset, len } => {
                let from = match offset {
                    Some(offset) => offset,
                    None => position(fd)? as i64,
                };
                copy(staging, fd, from, len.min(most))
            }
        }
    }

    /// Nothing is left of it, for sure.
    pub(crate) fn is_used_up(&self) -> bool {
        match *self {
            Source::Memory { len, .. } | Source::File { len, .. } => len == 0,
            Source::Vectors { count, .. } => count == 0,
        }
    }

    /// `bytes` of it are written.
    pub(crate) fn advance(&mut self, bytes: usize) -> Result<(), Errno> {
        match self {
            Source::Memory { start, len } => {
                *start += bytes;
                *len -= bytes;
            }
            Source::Vectors { start, count, done } => {
                let mut left = bytes + *done;
                while *count > 0 {
                    let mut first = [EMPTY];
                    read_vectors(*start, &mut first)?;
                    if left < first[0].iov_len {
                        break;
                    }
                    left -= first[0].iov_len;
                    *start += size_of::<libc::iovec>();
                    *count -= 1;
                }
                *done = left;
            }
            Source::File { fd, offset, len } => {
                *len -= bytes;
                match offset {
                    Some(offset) => *offset += bytes as i64,
                    None => {
                        let at = position(*fd)? + bytes as u64;
                        let fd = borrow(*fd).ok_or(Errno::BADF)?;
                        rustix::fs::seek(fd, rustix::fs::SeekFrom::Start(at))?;
                    }
                }
            }
        }
        Ok(())
    }
}

const EMPTY: libc::iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };

/// Where a file is read and written next.
pub(crate) fn position(fd: i32) -> Result<u64, Errno> {
    rustix::fs::tell(borrow(fd).ok_or(Errno::BADF)?)
}

/// Leaves out the first `done` bytes of the vectors, and what is more than `most`; answers
/// how many vectors are left, from the first on.
fn cut(vectors: &mut [libc::iovec], done: usize, most: usize) -> usize {
    let (mut skip, mut room) = (done, most);
    for (index, vector) in vectors.iter_mut().enumerate() {
        let skipped = skip.min(vector.iov_len);
        vector.iov_base = vector.iov_base.wrapping_byte_add(skipped);
        vector.iov_len = (vector.iov_len - skipped).min(room);
        skip -= skipped;
        room -= vector.iov_len;
        if room == 0 {
            return index + 1;
        }
    }
    vectors.len()
}

/// The bytes of an array of `iovec`.
pub(crate) fn total(start: usize, count: usize) -> Answer {
    let (mut start, mut count, mut total) = (start, count, 0_usize);
    let mut vectors = [EMPTY; VECTORS];
    while count > 0 {
        let read = read_vectors(start, &mut vectors[..count.min(VECTORS)])?;
        let sum = |total: usize, vector: &libc::iovec| total.saturating_add(vector.iov_len);
        total = vectors[..read].iter().fold(total, sum);
        (start, count) = (start + size_of_val(&vectors), count - read);
    }
    Ok(total)
}

/// An offset of the program, whose address may be bad.
pub(crate) fn read_offset(start: usize) -> Result<i64, Errno> {
    let mut offset = [0_i64];
    read_memory(start, &mut offset)?;
    Ok(offset[0])
}

/// Copies vectors of the program, whose address may be bad; answers how many, all of them.
fn read_vectors(start: usize, into: &mut [libc::iovec]) -> Answer {
    read_memory(start, into)
}

/// Values that any bytes are one of.
trait Plain: Copy {}
impl Plain for i64 {}
impl Plain for libc::iovec {}

fn read_memory<T: Plain>(start: usize, into: &mut [T]) -> Answer {
    let len = size_of_val(into);
    let ours = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: len };
    let theirs = libc::iovec { iov_base: start as *mut _, iov_len: len };
    let process = rustix::process::getpid().as_raw_nonzero().get() as usize;
    let (ours, theirs) = (&raw const ours as usize, &raw const theirs as usize);
    // SAFETY: 1. `ours` is memory of `into`, of which any bytes are a value; 2. what is read
    // from may be anything, as the kernel looks at it.
    let read = unsafe { call(libc::SYS_process_vm_readv, [process, ours, 1, theirs, 1, 0]) }?;
    if read < len { Err(Errno::FAULT) } else { Ok(into.len()) }
}

fn write(staging: BorrowedFd<'_>, vectors: &[libc::iovec]) -> Answer {
    let fd = std::os::fd::AsRawFd::as_raw_fd(&staging) as usize;
    let arguments = [fd, vectors.as_ptr() as usize, vectors.len(), 0, 0, 0];
    // SAFETY: 1. the vectors are ours, and alive; what they say may be anything, as the
    // kernel looks at it.
    unsafe { call(libc::SYS_pwritev, arguments) }
}

fn copy(staging: BorrowedFd<'_>, from: i32, mut offset: i64, len: usize) -> Answer {
    rustix::fs::seek(staging, rustix::fs::SeekFrom::Start(0))?;
    let to = std::os::fd::AsRawFd::as_raw_fd(&staging) as usize;
    let arguments = [to, from as usize, &raw mut offset as usize, len, 0, 0];
    // SAFETY: 1. the offset is ours, and alive.
    unsafe { call(libc::SYS_sendfile, arguments) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};

    fn staged(source: &mut Source, most: usize) -> Vec<Vec<u8>> {
        let staging = memfd_create("staging", MemfdFlags::CLOEXEC).unwrap();
        let staging = std::os::fd::AsFd::as_fd(&staging);
        let mut pieces = Vec::new();
        loop {
            let len = source.stage(staging, most).unwrap();
            if len == 0 {
                return pieces;
            }
            assert!(len <= most);
            let mut piece = vec![0; len];
            rustix::io::pread(staging, &mut piece, 0).unwrap();
            pieces.push(piece);
            source.advance(len).unwrap();
        }
    }

    #[test]
    fn vectors_come_in_pieces_of_any_length() {
        let bytes: Vec<u8> = (0..200).collect();
        let mut vectors = Vec::new();
        let mut rest = &bytes[..];
        for len in (0..60).map(|n: usize| if n < 20 { 0 } else { n % 9 }) {
            let (part, left) = rest.split_at(len.min(rest.len()));
            vectors.push(libc::iovec { iov_base: part.as_ptr() as *mut _, iov_len: part.len() });
            rest = left;
        }
        let total: usize = vectors.iter().map(|vector| vector.iov_len).sum();
        assert_eq!(total, 158);
        for most in [1, 7, 50, 1000] {
            let start = vectors.as_ptr() as usize;
            let mut source = Source::Vectors { start, count: vectors.len(), done: 0 };
            assert_eq!(staged(&mut source, most).concat(), bytes[..total], "{most}");
        }
    }

    #[test]
    fn a_file_is_read_from_an_offset_or_its_position() {
        let file = memfd_create("from", MemfdFlags::CLOEXEC).unwrap();
        rustix::io::write(&file, b"0123456789").unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
        let mut source = Source::File { fd, offset: Some(2), len: 5 };
        assert_eq!(staged(&mut source, 3), [b"234".to_vec(), b"56".to_vec()]);
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(6)).unwrap();
        let mut source = Source::File { fd, offset: None, len: 100 };
        assert_eq!(staged(&mut source, 3), [b"678".to_vec(), b"9".to_vec()]);
        assert_eq!(position(fd), Ok(10));
    }

    #[test]
    fn a_bad_address_is_an_error() {
        let staging = memfd_create("staging", MemfdFlags::CLOEXEC).unwrap();
        let staging = std::os::fd::AsFd::as_fd(&staging);
        let memory = Source::Memory { start: 8, len: 100 };
        assert_eq!(memory.stage(staging, 50), Err(Errno::FAULT));
        let vectors = Source::Vectors { start: 8, count: 1, done: 0 };
        assert_eq!(vectors.stage(staging, 50), Err(Errno::FAULT));
    }
}
