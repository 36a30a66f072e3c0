//! A swap area that is an unlinked file: nothing of it outlives the process.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::area::SwapArea;
use crate::file::FilePager;
use crate::open::{IoMode, OpenError, Rights};
use crate::pager::{Direct, Direction, PAGE_SIZE, Pager};

/// A file without a name in a directory, gone with its last descriptor, even if the
/// process is killed.
///
/// It is *sparse*: it takes room on the disk only for pages that were written and
/// not punched. So a write may find the disk full, and says so (`ENOSPC`); as with
/// any file, what its slots hold then is not said.
///
/// ```
/// use faultless_pager::{Pager, SwapFile};
/// use std::io::IoSlice;
///
/// let swap = SwapFile::create(&std::env::temp_dir(), 1 << 20)?;
/// swap.write(3 * 4096, &[IoSlice::new(&[7; 4096])])?;
/// assert!(swap.used_bytes()? >= 4096);
/// swap.punch(3 * 4096, 4096)?;
/// assert_eq!(swap.used_bytes()?, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SwapFile {
    file: FilePager,
    dir: PathBuf,
    wish: IoMode,
}

impl SwapFile {
    /// An area of `size` bytes, rounded up to whole pages, on the file system that
    /// `dir` is on; past the kernel's page cache where that is possible.
    /// [`Pager::resize`] makes it larger or smaller.
    pub fn create(dir: &Path, size: u64) -> Result<SwapFile, OpenError> {
        SwapFile::with_mode(dir, size, IoMode::Direct)
    }

    /// Like [`SwapFile::create`], by the way that is wished for.
    pub fn with_mode(dir: &Path, size: u64, wish: IoMode) -> Result<SwapFile, OpenError> {
        // The process may be elsewhere when it needs another.
        let dir = &std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        let failed = |source| OpenError::NoSwapFile { dir: dir.to_owned(), source };
        let size = size.checked_next_multiple_of(PAGE_SIZE);
        let size = size.ok_or_else(|| failed(Errno::FBIG.into()))?;
        let fd = nameless(dir).or_else(|errno| match errno {
            // Not every file system has them, and each says it in its own way.
            Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT => unlinked(dir),
            errno => Err(errno),
        });
        let file =
            FilePager::with_mode(&fd.map_err(|e| failed(e.into()))?, Rights::ReadWrite, wish)?;
        file.resize(size).map_err(failed)?;
        Ok(SwapFile { file, dir: dir.to_owned(), wish })
    }

    /// Another one of the same kind, of `size` bytes.
    pub(super) fn another(&self, size: u64) -> Result<SwapFile, OpenError> {
        SwapFile::with_mode(&self.dir, size, self.wish)
    }

    /// Which way whole pages are read now; see [`FilePager::mode`].
    pub fn mode(&self) -> IoMode {
        self.file.mode()
    }

    /// Bytes that the area takes on the disk.
    pub fn used_bytes(&self) -> io::Result<u64> {
        self.file.used_bytes()
    }
}

/// A file that never has a name, and can't be given one.
fn nameless(dir: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR))
}

/// A file whose name is taken away at once. A process that is killed between the
/// two calls leaves an empty file behind.
fn unlinked(dir: &Path) -> Result<OwnedFd, Errno> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!(".faultless-swap-{}-{count}", std::process::id()));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        match retry_on_intr(|| rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)) {
            // Another process namespace on the same directory may have our number.
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
            Ok(fd) => {
                rustix::fs::unlink(&path)?;
                return Ok(fd);
            }
        }
    }
}

impl Pager for SwapFile {
    fn name(&self) -> String {
        format!("swap in {}", self.dir.display())
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.file.read(offset, bufs)
    }

    fn write(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        self.file.write(offset, bufs)
    }

    /// Nothing of the area outlives the process, so this is of use only to learn of
    /// errors that the kernel met when it wrote later.
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        self.file.resize(size)
    }

    /// Gives room back to the file system: one call for a run of freed slots.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.punch(offset, len)
    }

    fn direct(&self, direction: Direction, offset: u64, len: u64) -> Option<Direct<'_>> {
        self.file.direct(direction, offset, len)
    }
}

impl SwapArea for SwapFile {
    fn dir(&self) -> &Path {
        &self.dir
    }

    fn beside(&self) -> Result<Arc<dyn SwapArea>, OpenError> {
        let failed = |source| OpenError::NoSwapFile { dir: self.dir.clone(), source };
        let size = self.size().map_err(failed)?;
        Ok(Arc::new(self.another(size)?))
    }

    fn lend(&self, size: u64) -> io::Result<()> {
        if size > self.size()? { self.resize(size) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_a_file_leave_no_name() {
        let dir = tempfile::tempdir().unwrap();
        for make in [nameless, unlinked] {
            let fd = make(dir.path()).unwrap();
            assert_eq!(rustix::fs::fstat(&fd).unwrap().st_nlink, 0);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
            let pager = FilePager::new(&fd, Rights::ReadWrite).unwrap();
            pager.resize(PAGE_SIZE).unwrap();
            pager.write(0, &[IoSlice::new(&[1; 4096])]).unwrap();
        }
    }
}
