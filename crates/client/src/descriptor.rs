//! Descriptors: the program's, which may mean anything, and our own, which the program may
//! close.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use faultless_protocol::FileId;
use faultless_sys::Errno;
use rustix::fs::Stat;
use rustix::process::Resource;

/// Our descriptors have numbers from here on, where programs don't look.
const HIGH: RawFd = 900;

/// How far below a lower limit they are put.
const BELOW_LIMIT: u64 = 8;

/// A number that the program says is a descriptor; `None` for what can't be one.
pub(crate) fn borrow<'fd>(fd: RawFd) -> Option<BorrowedFd<'fd>> {
    // SAFETY: 1. it is not negative; 2. whoever closes it meanwhile is the program, which then
    // has another descriptor under the number, or none: system calls on it fail or do what
    // the program's own would have done.
    (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// The file that `stat` is of.
pub(crate) fn file_id(stat: &Stat) -> FileId {
    FileId { device: stat.st_dev, inode: stat.st_ino }
}

/// A descriptor of ours under a high number, which is known again: a program that closes
/// whatever it finds may have put another one under its number.
#[derive(Debug)]
pub(crate) struct Own {
    fd: ManuallyDrop<OwnedFd>,
    is: FileId,
}

impl Own {
    /// Moves `fd` up.
    pub fn new(fd: OwnedFd) -> Result<Own, Errno> {
        let is = file_id(&rustix::fs::fstat(&fd)?);
        Ok(Own { fd: ManuallyDrop::new(move_up(fd)?), is })
    }

    /// The descriptor; `None` when the number is no longer ours.
    pub fn get(&self) -> Option<BorrowedFd<'_>> {
        let stat = rustix::fs::fstat(&*self.fd).ok()?;
        (file_id(&stat) == self.is).then(|| self.fd.as_fd())
    }

    /// Its number.
    pub fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if self.get().is_some() {
            // SAFETY: 1. nobody uses `fd` after its drop.
            let fd = unsafe { ManuallyDrop::take(&mut self.fd) };
            close(fd);
        }
    }
}

/// Gives a descriptor a high number.
pub(crate) fn move_up(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    let limit = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let low = limit.saturating_sub(BELOW_LIMIT).try_into().unwrap_or(RawFd::MAX);
    let high = rustix::io::fcntl_dupfd_cloexec(&fd, HIGH.min(low));
    close(fd);
    high
}

/// Closes without the C library, whose function may be ours.
pub(crate) fn close(fd: OwnedFd) {
    // SAFETY: 1. the descriptor was owned, and isn't any more.
    unsafe { rustix::io::close(fd.into_raw_fd()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};

    fn memfd() -> OwnedFd {
        memfd_create("own", MemfdFlags::CLOEXEC).unwrap()
    }

    #[test]
    fn our_descriptors_are_high_and_known_again() {
        let own = Own::new(memfd()).unwrap();
        assert!(own.number() >= HIGH.min(1000), "{}", own.number());
        assert!(own.get().is_some());
        let number = own.number();
        // SAFETY: 1. the number is that of `own`, which knows how to lose it.
        unsafe { rustix::io::close(number) };
        assert!(own.get().is_none(), "closed by somebody");
        let other = rustix::io::fcntl_dupfd_cloexec(memfd(), number).unwrap();
        assert_eq!(other.as_raw_fd(), number);
        assert!(own.get().is_none(), "another's by now");
        drop(own);
        assert!(rustix::fs::fstat(&other).is_ok(), "and not closed with ours");
    }
}
