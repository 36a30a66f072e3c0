//! Files and block devices, past the kernel's page cache where it can be.
//!
//! A file has up to two descriptors here. Whole pages go by the one with
//! `O_DIRECT`, straight between disk and frame; the last partial page of a
//! file, and everything where `O_DIRECT` is refused, goes by the buffered one.
//! The kernel keeps the two coherent: it writes back its own pages before a
//! direct read, and drops them at a direct write. Buffered writes return when
//! the device has the bytes, so that an error is the error of that write.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{AtFlags, FallocateFlags, StatxFlags};
use rustix::io::{Errno, ReadWriteFlags, retry_on_intr};

use crate::descriptor::{self, Descriptors, Kind};
use crate::open::{FileId, IoMode, OpenError, Rights};
use crate::pager::{Direct, Direction, PAGE_SIZE, Pager, Shrunk};
use crate::transfer::{self, is_page_multiple, is_whole_pages, total};

/// Zeros are written in pieces of this size where a file can't have holes.
const ZEROS_LEN: usize = 64 << 10;

/// A regular file or a block device.
///
/// It keeps descriptors of its own: the one it was made from may be closed, the
/// file renamed or unlinked. When it is dropped its descriptors are closed, and
/// with them go the process's POSIX record locks (`F_SETLK`) on this file, as
/// with any `close`; `flock` and open-file-description locks stay.
///
/// What it does not prevent: somebody who truncates the file at the very moment
/// between its look at the size and its write finds the file grown again. The
/// kernel offers no write that never extends.
pub struct FilePager {
    name: String,
    id: FileId,
    kind: Kind,
    /// The way that was wished for; [`FilePager::mode`] is the way it became.
    wish: IoMode,
    first: Descriptors,
    /// Set once, when rights to write come after an opening for reading.
    granted: OnceLock<Descriptors>,
    /// A direct transfer was refused that the buffered descriptor took: never
    /// set back.
    direct_refused: AtomicBool,
    /// The size at the last look. Only a hint, for [`Pager::direct`].
    size_seen: AtomicU64,
    /// It says that the file is no longer than this.
    size_max: AtomicU64,
}

impl FilePager {
    /// A pager of the file behind `file`, by `O_DIRECT` where that is possible.
    ///
    /// ```
    /// use faultless_pager::{FilePager, Pager, Rights};
    ///
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// let pager = FilePager::new(&file, Rights::ReadOnly)?;
    /// drop(file);
    /// let mut head = [0; 4];
    /// pager.read(0, &mut [std::io::IoSliceMut::new(&mut head)])?;
    /// assert_eq!(&head, b"\x7fELF");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(file: &impl AsFd, rights: Rights) -> Result<FilePager, OpenError> {
        FilePager::with_mode(file, rights, IoMode::Direct)
    }

    /// From now on the file is no longer than `bytes`, however long others make it: there is no
    /// more room for its pages.
    pub fn be_at_most(&self, bytes: u64) {
        self.size_max.store(bytes, Ordering::Relaxed);
    }

    /// Like [`FilePager::new`], by the way that is wished for: `Buffered` is
    /// always had, `Direct` where the file system takes it.
    pub fn with_mode(
        file: &impl AsFd,
        rights: Rights,
        wish: IoMode,
    ) -> Result<FilePager, OpenError> {
        let file = file.as_fd();
        let found = descriptor::inspect(file, rights)?;
        let first = descriptor::open(file, &found, rights, wish)?;
        let pager = FilePager {
            name: found.name,
            id: found.id,
            kind: found.kind,
            wish,
            first,
            granted: OnceLock::new(),
            direct_refused: AtomicBool::new(false),
            size_seen: AtomicU64::new(0),
            size_max: AtomicU64::new(u64::MAX),
        };
        pager
            .size()
            .map_err(|source| OpenError::System { doing: "find the size of the file", source })?;
        Ok(pager)
    }

    /// Lets a pager opened for reading write, by the rights of `file`, another
    /// descriptor of the same file. Once granted, rights stay.
    ///
    /// The rights of `file` are checked each time, so that a caller may ask
    /// "may this descriptor write here?" by granting.
    pub fn grant_write(&self, file: &impl AsFd) -> Result<(), OpenError> {
        let file = file.as_fd();
        let found = descriptor::inspect(file, Rights::ReadWrite)?;
        if found.id != self.id {
            return Err(OpenError::OtherFile { name: self.name.clone(), other: found.name });
        }
        if self.writable().is_none() {
            let descriptors = descriptor::open(file, &found, Rights::ReadWrite, self.wish)?;
            // Whoever came first in a race has granted the same.
            let _ = self.granted.set(descriptors);
        }
        Ok(())
    }

    /// What may be done with it now.
    pub fn rights(&self) -> Rights {
        match self.writable() {
            Some(_) => Rights::ReadWrite,
            None => Rights::ReadOnly,
        }
    }

    /// Which file it is. Two pagers with one identity page the same bytes, and
    /// should be one.
    pub fn identity(&self) -> FileId {
        self.id
    }

    /// Which way whole pages are read now. `Direct` becomes `Buffered` for good
    /// when the kernel refuses a transfer, never the other way round.
    pub fn mode(&self) -> IoMode {
        match self.direct_of(&self.first) {
            Some(_) => IoMode::Direct,
            None => IoMode::Buffered,
        }
    }

    /// Bytes that the file takes on its disk: fewer than its size if it has holes.
    pub(crate) fn used_bytes(&self) -> io::Result<u64> {
        // In units of 512 bytes, whatever the file system's own are (`stat(2)`).
        let blocks = rustix::fs::fstat(&self.first.buffered)?.st_blocks;
        Ok(u64::try_from(blocks).unwrap_or(0) * 512)
    }

    fn writable(&self) -> Option<&Descriptors> {
        match self.first.rights {
            Rights::ReadWrite => Some(&self.first),
            Rights::ReadOnly => self.granted.get(),
        }
    }

    fn writer(&self) -> io::Result<&Descriptors> {
        self.writable().ok_or_else(|| Errno::BADF.into())
    }

    fn direct_of<'a>(&self, descriptors: &'a Descriptors) -> Option<BorrowedFd<'a>> {
        let refused = self.direct_refused.load(Ordering::Relaxed);
        descriptors.direct.as_ref().filter(|_| !refused).map(|fd| fd.as_fd())
    }

    /// Writes `len` bytes of `bufs`, all of which lie within the file.
    fn write_within(&self, offset: u64, bufs: &[IoSlice<'_>], len: u64) -> io::Result<()> {
        let fds = self.writer()?;
        let mut attempt = Attempt::Direct;
        let mut done = 0;
        while done < len {
            let at = offset + done;
            let left = len - done;
            let pages = left - left % PAGE_SIZE;
            let direct = match self.direct_of(fds) {
                Some(fd) if attempt == Attempt::Direct && pages > 0 && is_page_multiple(at) => {
                    let pieces = transfer::rest(bufs, done, pages);
                    pieces.iter().all(|piece| is_whole_pages(piece)).then_some((fd, pieces))
                }
                _ => None,
            };
            let is_direct = direct.is_some();
            let (fd, pieces) =
                direct.unwrap_or_else(|| (fds.buffered.as_fd(), transfer::rest(bufs, done, left)));
            let written = match is_direct {
                true => rustix::io::pwritev(fd, &pieces, at),
                false => write_through(fd, &pieces, at),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    done += count as u64;
                    self.settle(attempt);
                }
                Err(Errno::INTR) => {}
                Err(Errno::INVAL) if is_direct => attempt = Attempt::BufferedInstead,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Called when a transfer went well: if it took the place of a direct one
    /// that was refused, it was the way that was wrong, not the request.
    fn settle(&self, attempt: Attempt) {
        if attempt == Attempt::BufferedInstead {
            self.direct_refused.store(true, Ordering::Relaxed);
        }
    }

    fn write_zeros(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = offset.saturating_add(len).min(self.size()?);
        let zeros = [0; ZEROS_LEN];
        let mut at = offset;
        while at < end {
            let piece = (end - at).min(ZEROS_LEN as u64);
            self.write_within(at, &[IoSlice::new(&zeros[..piece as usize])], piece)?;
            at += piece;
        }
        Ok(())
    }
}

/// The size of a regular file, and nothing else of it: since Linux 6.13, who looks at a file's
/// times has the next write change them on the disk (`fill_mg_cmtime` in `fs/stat.c`), and
/// before each write it is the size that we look at.
fn size_alone(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let (flags, mask) = (AtFlags::EMPTY_PATH, StatxFlags::SIZE);
    Ok(rustix::fs::statx(fd, c"", flags, mask)?.stx_size)
}

/// A buffered write whose errors are told here and now. A plain one ends in the kernel's
/// page cache, which drops the bytes when the device refuses them later, and says so to one
/// `fdatasync` only: by then nobody would have them any more.
fn write_through(fd: BorrowedFd<'_>, pieces: &[IoSlice<'_>], at: u64) -> Result<usize, Errno> {
    match rustix::io::pwritev2(fd, pieces, at, ReadWriteFlags::DSYNC) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            let count = rustix::io::pwritev(fd, pieces, at)?;
            retry_on_intr(|| rustix::fs::fdatasync(fd))?;
            Ok(count)
        }
        written => written,
    }
}

/// Which descriptor a transfer in several steps tries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// The direct one, where offset, length and memory allow.
    Direct,
    /// The buffered one, because the direct one said `EINVAL`.
    BufferedInstead,
}

impl Pager for FilePager {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn size(&self) -> io::Result<u64> {
        let fd = self.first.buffered.as_fd();
        let size = match self.kind {
            Kind::Regular => size_alone(fd)?,
            // This description is ours alone: nobody misses its position.
            Kind::BlockDevice => rustix::fs::seek(fd, rustix::fs::SeekFrom::End(0))?,
        };
        let size = size.min(self.size_max.load(Ordering::Relaxed));
        self.size_seen.store(size, Ordering::Relaxed);
        Ok(size)
    }

    fn read(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let len = total(bufs);
        let mut attempt = Attempt::Direct;
        let mut done = 0;
        while done < len {
            let at = offset + done;
            let suits = attempt == Attempt::Direct
                && is_page_multiple(at)
                && is_page_multiple(done)
                && bufs.iter().all(|piece| is_whole_pages(piece));
            let direct = self.direct_of(&self.first).filter(|_| suits);
            let fd = direct.unwrap_or(self.first.buffered.as_fd());
            match transfer::read_rest(fd, bufs, done, at) {
                Ok(0) => break,
                Ok(count) => {
                    done += count as u64;
                    self.settle(attempt);
                }
                Err(Errno::INTR) => {}
                Err(Errno::INVAL) if direct.is_some() => attempt = Attempt::BufferedInstead,
                Err(errno) => return Err(errno.into()),
            }
        }
        // No more than the bytes of `bufs`, which are in memory.
        Ok(done as usize)
    }

    fn write(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        let len = total(bufs);
        self.writer()?;
        let size = self.size()?;
        let written = Shrunk::fitting(offset, len, size);
        self.write_within(offset, bufs, written)?;
        if written < len {
            return Err(Shrunk { offset, len, size, written }.into());
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let fds = self.writable().unwrap_or(&self.first);
        Ok(retry_on_intr(|| rustix::fs::fdatasync(&fds.buffered))?)
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        let fds = self.writer()?;
        if self.kind == Kind::BlockDevice {
            let text = "a block device keeps the size it has";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        retry_on_intr(|| rustix::fs::ftruncate(&fds.buffered, size))?;
        self.size_seen.store(size, Ordering::Relaxed);
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let fds = self.writer()?;
        if len == 0 {
            return Ok(());
        }
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let punched = retry_on_intr(|| rustix::fs::fallocate(&fds.buffered, mode, offset, len));
        match (punched, self.kind) {
            // No holes in this file system, or not at offsets like these in
            // this device.
            (Err(Errno::OPNOTSUPP | Errno::NOSYS), _) | (Err(Errno::INVAL), Kind::BlockDevice) => {
                self.write_zeros(offset, len)
            }
            (punched, _) => Ok(punched?),
        }
    }

    fn direct(&self, direction: Direction, offset: u64, len: u64) -> Option<Direct<'_>> {
        if len == 0 || !is_page_multiple(offset) || !is_page_multiple(len) {
            return None;
        }
        let descriptors = match direction {
            Direction::Read => &self.first,
            Direction::Write => {
                let end = offset.checked_add(len)?;
                if end > self.size_seen.load(Ordering::Relaxed) {
                    return None;
                }
                self.writable()?
            }
        };
        self.direct_of(descriptors).map(|fd| Direct { fd })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `punch` falls back to where a file system has no holes.
    #[test]
    fn zeros_are_written_up_to_the_end_and_not_past_it() {
        let file = tempfile::tempfile().unwrap();
        let size = 2 * ZEROS_LEN as u64 + 5000;
        let pager = FilePager::new(&file, Rights::ReadWrite).unwrap();
        pager.resize(size).unwrap();
        let ones = vec![1; size as usize];
        pager.write(0, &[IoSlice::new(&ones)]).unwrap();

        pager.write_zeros(PAGE_SIZE, u64::MAX).unwrap();
        assert_eq!(pager.size().unwrap(), size);
        let mut bytes = ones;
        pager.read(0, &mut [IoSliceMut::new(&mut bytes)]).unwrap();
        let ones_left = bytes.iter().take_while(|byte| **byte == 1).count();
        assert_eq!(ones_left as u64, PAGE_SIZE);
        assert!(bytes[ones_left..].iter().all(|byte| *byte == 0));
    }
}
