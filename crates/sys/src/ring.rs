//! io_uring: many reads and writes at once from one thread, with a token each.
//!
//! Nothing is registered (no buffers, no files): a registered buffer is pinned, and
//! a page that is pinned can't be moved.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use io_uring::types::{Fd, FsyncFlags, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use crate::Errno;
use crate::fork::{Birthplace, ClosedInChildren};

/// Why there is no ring. Callers fall back to pread(2) and pwrite(2).
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The administrator or a sandbox has switched it off.
    #[error(
        "io_uring is not permitted ({0}); see `sysctl kernel.io_uring_disabled` and the container's seccomp profile"
    )]
    Refused(io::Error),
    /// Anything else.
    #[error("io_uring: {0}")]
    Failed(io::Error),
}

/// There is no free entry: submit first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the submission queue is full")]
pub struct Full;

/// How much of a file fsync makes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Its bytes, and what is needed to read them back.
    Data,
    /// Its metadata as well.
    All,
}

/// Which of several pollers of a descriptor are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeUp {
    /// One of them.
    One,
    /// All.
    All,
}

/// One request that has ended, or one event of a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The token it was pushed with.
    pub token: u64,
    /// Bytes, or for a poll its events; negative: a negated errno.
    pub result: i32,
    /// Will more come for this token?
    pub more: bool,
}

impl Completion {
    /// The result as a count or an errno.
    pub fn outcome(self) -> Result<u32, Errno> {
        u32::try_from(self.result).map_err(|_| Errno::from_raw_os_error(-self.result))
    }
}

/// Who will use a ring; the kernel does less for those who promise more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingUser {
    /// The thread that makes it, and no other: completions are made ready only when it
    /// waits for them, so they never interrupt it.
    ThisThread,
    /// Several threads, one after the other.
    OneAtATime,
}

/// A ring, used by one thread at a time.
///
/// A forked child has neither its memory nor its descriptor: there it may be dropped, and
/// nothing else.
pub struct Ring {
    ring: ManuallyDrop<IoUring>,
    closed_in_children: ManuallyDrop<ClosedInChildren>,
    birthplace: Birthplace,
}

impl Ring {
    /// A ring of `entries` (a power of two) and four times as many completions.
    pub fn new(entries: u32, user: RingUser) -> Result<Ring, RingError> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(entries.saturating_mul(4)).setup_clamp().dontfork();
        let plain = builder.clone();
        match user {
            RingUser::ThisThread => {
                builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag()
            }
            RingUser::OneAtATime => builder.setup_coop_taskrun(),
        };
        // Kernels before 6.1 don't know these modes.
        let ring = builder.build(entries).or_else(|_| plain.build(entries));
        let ring = ring.map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => RingError::Refused(error),
            _ => RingError::Failed(error),
        })?;
        let closed_in_children = ClosedInChildren::new(ring.as_raw_fd());
        Ok(Ring {
            ring: ManuallyDrop::new(ring),
            closed_in_children: ManuallyDrop::new(closed_in_children),
            birthplace: Birthplace::here(),
        })
    }

    /// Reads `len` bytes at `offset` of `fd`.
    ///
    /// # Safety
    /// `into` can be written for `len` bytes until the completion has been drained,
    /// and nobody else uses them meanwhile.
    pub unsafe fn read(
        &mut self,
        fd: BorrowedFd<'_>,
        into: *mut u8,
        len: u32,
        offset: u64,
        token: u64,
    ) -> Result<(), Full> {
        let entry = opcode::Read::new(Fd(fd.as_raw_fd()), into, len).offset(offset).build();
        // SAFETY: the caller's promise is ours.
        unsafe { self.push(entry, token) }
    }

    /// Reads at `offset` of `fd` into many buffers, one after the other.
    ///
    /// # Safety
    /// As for [`read`](Self::read), for each buffer; `into` itself stays, too.
    pub unsafe fn readv(
        &mut self,
        fd: BorrowedFd<'_>,
        into: *const libc::iovec,
        count: u32,
        offset: u64,
        token: u64,
    ) -> Result<(), Full> {
        let entry = opcode::Readv::new(Fd(fd.as_raw_fd()), into, count).offset(offset).build();
        // SAFETY: the caller's promise is ours.
        unsafe { self.push(entry, token) }
    }

    /// Writes `len` bytes at `offset` of `fd`.
    ///
    /// # Safety
    /// `from` can be read for `len` bytes until the completion has been drained.
    pub unsafe fn write(
        &mut self,
        fd: BorrowedFd<'_>,
        from: *const u8,
        len: u32,
        offset: u64,
        token: u64,
    ) -> Result<(), Full> {
        let entry = opcode::Write::new(Fd(fd.as_raw_fd()), from, len).offset(offset).build();
        // SAFETY: the caller's promise is ours.
        unsafe { self.push(entry, token) }
    }

    /// Writes many buffers at `offset` of `fd`, one after the other.
    ///
    /// # Safety
    /// As for [`write`](Self::write), for each buffer; `from` itself stays, too.
    pub unsafe fn writev(
        &mut self,
        fd: BorrowedFd<'_>,
        from: *const libc::iovec,
        count: u32,
        offset: u64,
        token: u64,
    ) -> Result<(), Full> {
        let entry = opcode::Writev::new(Fd(fd.as_raw_fd()), from, count).offset(offset).build();
        // SAFETY: the caller's promise is ours.
        unsafe { self.push(entry, token) }
    }

    /// Makes what has been written to `fd` durable. Ordered after nothing: push it
    /// when the writes have completed.
    pub fn fsync(&mut self, fd: BorrowedFd<'_>, sync: Sync, token: u64) -> Result<(), Full> {
        let flags = match sync {
            Sync::Data => FsyncFlags::DATASYNC,
            Sync::All => FsyncFlags::empty(),
        };
        let entry = opcode::Fsync::new(Fd(fd.as_raw_fd())).flags(flags).build();
        // SAFETY: 1. this request has no buffer.
        unsafe { self.push(entry, token) }
    }

    /// Completes each time `fd` becomes readable, until a completion without `more`.
    ///
    /// Of several rings that poll the same descriptor with [`WakeUp::One`], one is
    /// told each time.
    pub fn poll_readable(
        &mut self,
        fd: BorrowedFd<'_>,
        wake_up: WakeUp,
        token: u64,
    ) -> Result<(), Full> {
        let events = match wake_up {
            WakeUp::One => libc::POLLIN as u32 | libc::EPOLLEXCLUSIVE as u32,
            WakeUp::All => libc::POLLIN as u32,
        };
        let entry = opcode::PollAdd::new(Fd(fd.as_raw_fd()), events).multi(true).build();
        // SAFETY: 1. this request has no buffer.
        unsafe { self.push(entry, token) }
    }

    /// Gives what was pushed to the kernel.
    pub fn submit(&mut self) -> Result<(), Errno> {
        self.submit_and_wait(0)
    }

    /// Gives what was pushed to the kernel and waits until `count` completions can be
    /// drained. A signal ends the wait early.
    pub fn submit_and_wait(&mut self, count: usize) -> Result<(), Errno> {
        ended(self.ring.submit_and_wait(count))
    }

    /// As [`submit_and_wait`](Self::submit_and_wait), no longer than `timeout`.
    pub fn submit_and_wait_for(&mut self, count: usize, timeout: Duration) -> Result<(), Errno> {
        let timeout = Timespec::from(timeout);
        let args = SubmitArgs::new().timespec(&timeout);
        ended(self.ring.submitter().submit_with_args(count, &args))
    }

    /// Has something been pushed that the kernel was not given?
    pub fn has_pushed(&mut self) -> bool {
        !self.ring.submission().is_empty()
    }

    /// Does the kernel have ends that it makes completions of when it is next called, by
    /// [`submit`](Self::submit) or a wait?
    pub fn has_deferred(&mut self) -> bool {
        self.ring.submission().taskrun()
    }

    /// Takes the completions that are there.
    pub fn completions(&mut self) -> impl ExactSizeIterator<Item = Completion> + '_ {
        self.ring.completion().map(|entry| Completion {
            token: entry.user_data(),
            result: entry.result(),
            more: cqueue::more(entry.flags()),
        })
    }

    /// # Safety
    /// What the entry points to stays valid until its completion.
    unsafe fn push(&mut self, entry: squeue::Entry, token: u64) -> Result<(), Full> {
        // SAFETY: 1. by the caller's promise; 2. a dropped ring waits for nothing, but
        // the promise holds until the completion, not until the drop.
        unsafe { self.ring.submission().push(&entry.user_data(token)).map_err(|_| Full) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.birthplace.is_here() {
            // SAFETY: 1. neither is used again; 2. this order: a descriptor that is closed
            // may be another's at once.
            unsafe {
                ManuallyDrop::drop(&mut self.closed_in_children);
                ManuallyDrop::drop(&mut self.ring);
            }
        }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: 1. the descriptor is open as long as the ring, which is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }
}

/// A wait that a signal or the clock has ended is no error; nor is a full completion
/// queue (EBUSY), which is to be drained.
fn ended(result: io::Result<usize>) -> Result<(), Errno> {
    match result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)) {
        Ok(_) | Err(Errno::INTR | Errno::TIME | Errno::BUSY | Errno::AGAIN) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::EventFd;

    #[test]
    fn reads_writes_and_polls() {
        let mut ring = match Ring::new(8, RingUser::OneAtATime) {
            Ok(ring) => ring,
            Err(RingError::Refused(_)) => return,
            Err(error) => panic!("{error}"),
        };
        let file = tempfile::tempfile().unwrap();
        let from = *b"faultless";
        let mut into = [0u8; 9];
        // SAFETY: 1. the buffers outlive the completions, which are drained below.
        unsafe {
            ring.write(file.as_fd(), from.as_ptr(), 9, 5, 1).unwrap();
            ring.submit_and_wait(1).unwrap();
            let write = ring.completions().next().unwrap();
            assert_eq!((write.token, write.outcome()), (1, Ok(9)));
            ring.fsync(file.as_fd(), Sync::Data, 2).unwrap();
            ring.read(file.as_fd(), into.as_mut_ptr(), 9, 5, 3).unwrap();
            ring.submit_and_wait(2).unwrap();
        }
        let mut ended: Vec<_> = ring.completions().map(|c| (c.token, c.outcome())).collect();
        ended.sort_by_key(|(token, _)| *token);
        assert_eq!(ended, [(2, Ok(0)), (3, Ok(9))]);
        assert_eq!(into, from);

        let event = EventFd::new().unwrap();
        ring.poll_readable(event.as_fd(), WakeUp::All, 4).unwrap();
        ring.submit().unwrap();
        for _ in 0..2 {
            event.signal();
            ring.submit_and_wait(1).unwrap();
            let poll = ring.completions().next().unwrap();
            assert_eq!((poll.token, poll.more), (4, true));
            event.drain();
        }
        ring.submit_and_wait_for(1, Duration::from_millis(1)).unwrap();
        assert_eq!(ring.completions().next(), None);
    }
}
