//! Filling, moving, protecting and poisoning pages.
//!
//! The kernel stops part of the way for reasons that mean "go on", and for
//! reasons that mean "stop". The first kind never leaves this file:
//!
//! | answer | meaning | here |
//! |---|---|---|
//! | EAGAIN | partial progress, or a race that was lost | go on from there |
//! | EBUSY (move) | the page is pinned, often for an instant after I/O has ended on it; or shared since a fork | some spins, then yields, then [`Stopped`] |
//! | EEXIST | the destination has a page already | [`Stopped`], if it is true (below) |
//! | any other | | [`Stopped`] |
//!
//! EEXIST is not true in two cases, which were both met on Linux 6.18 (`tests/page_tables.rs`;
//! why is what the tests suggest, not what the kernel's source was seen to say):
//!
//! - A page is made while others drop all that the same page table shows. The kernel frees such
//!   a table, and takes its absence for a huge page. So whoever makes pages tries again.
//! - A move that had to be tried again inside the kernel, because an entry changed meanwhile,
//!   goes well, is made once more, and meets itself. So whoever moves looks where the pages are.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use faultless_addr::{PAGE_BYTES, PAGE_SIZE, VirtAddr, VirtRange};
use linux_raw_sys::general as sys;

use super::{Userfaultfd, raw};
use crate::Errno;

/// What stores do to pages from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protect {
    /// The next store faults.
    Yes,
    /// Stores go through.
    No,
}

/// An operation that ended early: the first `done` bytes are as wanted, and
/// `errno` is why the next page isn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("after {done} bytes: {errno}")]
pub struct Stopped {
    /// Bytes done, whole pages.
    pub done: usize,
    /// Why the rest is not.
    pub errno: Errno,
}

/// How often a pinned page is tried again: at first at once, then after yielding, then
/// after sleeping. The kernel lets go of a page a moment after it has reported the end
/// of I/O on it, and on a machine whose processors are somebody else's as well a moment
/// may be long.
const BUSY_SPINS: u32 = 64;
const BUSY_YIELDS: u32 = 256;
const BUSY_SLEEPS: u32 = 250;
const BUSY_SLEEP: Duration = Duration::from_micros(200);

/// How often EEXIST is doubted where pages are made.
const DOUBTS: u32 = 3;

/// What to do about a page that is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBusy {
    /// Try it again for a while.
    Wait,
    /// Stop there.
    Stop,
}

impl Userfaultfd {
    /// From now on the faults of `range` go to this descriptor: on absent pages,
    /// and on stores to write-protected ones if it was opened for those.
    ///
    /// # Safety
    /// `range` is memory that the caller has reserved for this use, whose bytes are
    /// touched only by raw pointers, and it stays so as long as this descriptor is
    /// open: the safe methods make bytes appear there and make accesses fail.
    pub unsafe fn register(&self, range: VirtRange) -> Result<(), Errno> {
        // SAFETY: the caller's promise is ours.
        unsafe { Self::register_with(self.fd.as_fd(), self.features, range) }
    }

    /// As [`register`](Self::register), for who keeps the descriptor, opened with
    /// `features`, in another way.
    ///
    /// # Safety
    /// As for [`register`](Self::register).
    pub unsafe fn register_with(
        fd: BorrowedFd<'_>,
        features: super::Features,
        range: VirtRange,
    ) -> Result<(), Errno> {
        let mut mode = sys::UFFDIO_REGISTER_MODE_MISSING;
        if features.has(super::Features::WRITE_PROTECT) {
            mode |= sys::UFFDIO_REGISTER_MODE_WP;
        }
        if features.has(super::Features::MINOR_SHARED) {
            mode |= sys::UFFDIO_REGISTER_MODE_MINOR;
        }
        let mut register =
            sys::uffdio_register { range: raw_range(range), mode: mode.into(), ioctls: 0 };
        raw::ioctl(fd.as_raw_fd(), raw::REGISTER, &mut register)
    }

    /// Ends [`register`](Self::register): absent pages are zeros again.
    pub fn unregister(&self, range: VirtRange) -> Result<(), Errno> {
        raw::ioctl(self.as_raw_fd(), raw::UNREGISTER, &mut raw_range(range))
    }

    /// Fills the absent pages from `dst` with copies, in one step as seen by every
    /// other thread, and wakes whoever waits for them.
    ///
    /// # Safety
    /// `src` can be read for `len` bytes, and nobody writes to it meanwhile.
    pub unsafe fn copy(
        &self,
        dst: VirtAddr,
        src: *const u8,
        len: usize,
        protect: Protect,
    ) -> Result<(), Stopped> {
        let mode = match protect {
            Protect::Yes => sys::UFFDIO_COPY_MODE_WP,
            Protect::No => 0,
        };
        progress(len, |done| {
            let mut copy = sys::uffdio_copy {
                dst: dst.0 + done as u64,
                src: src as u64 + done as u64,
                len: (len - done) as u64,
                mode: mode.into(),
                copy: 0,
            };
            let result = raw::ioctl(self.as_raw_fd(), raw::COPY, &mut copy);
            (result, copy.copy)
        })
    }

    /// Moves the pages at `src` to the absent pages at `dst` (a range registered
    /// here), writable, and wakes whoever waits for them. Afterwards `src` is absent.
    ///
    /// Both ranges are private anonymous memory, each within one kernel area. What `hold`
    /// answers is held during each call of the kernel's, and not between two of them, while
    /// this waits for a page that is busy.
    ///
    /// # Safety
    /// `src` is memory that the caller has reserved and whose bytes may vanish: no
    /// reference to them exists, and no transfer into them is under way.
    pub unsafe fn move_pages<H>(
        &self,
        dst: VirtAddr,
        src: VirtAddr,
        len: usize,
        when_busy: WhenBusy,
        hold: impl Fn() -> H,
    ) -> Result<(), Stopped> {
        progress_unless_busy(len, when_busy, |done| {
            let _held = hold();
            let mut move_ = sys::uffdio_move {
                dst: dst.0 + done as u64,
                src: src.0 + done as u64,
                len: (len - done) as u64,
                mode: 0,
                move_: 0,
            };
            let result = raw::ioctl(self.as_raw_fd(), raw::MOVE, &mut move_);
            if result == Err(Errno::EXIST) {
                let (dst, src) = (VirtAddr(move_.dst), VirtAddr(move_.src));
                let arrived = arrived(dst, src, len - done) as u64;
                if arrived > 0 {
                    // The kernel has told nobody.
                    let _ = self.wake(VirtRange { start: dst, end: VirtAddr(dst.0 + arrived) });
                    return (Err(Errno::AGAIN), arrived as i64);
                }
            }
            (result, move_.move_)
        })
    }

    /// Maps the pages that shared memory holds at the unmapped addresses of `range`, and
    /// wakes whoever waits for them. Stops with EEXIST where one is mapped, EAGAIN where
    /// an event is unread (with what was done), ENOENT where nothing is registered, and
    /// ESRCH where the process is gone.
    pub fn resume(&self, range: VirtRange, protect: Protect) -> Result<(), Stopped> {
        let mode = match protect {
            Protect::Yes => 2, // UFFDIO_CONTINUE_MODE_WP
            Protect::No => 0,
        };
        let mut done = 0;
        while done < range.len() as usize {
            let mut resume = sys::uffdio_continue { range: rest(range, done), mode, mapped: 0 };
            let result = raw::ioctl(self.as_raw_fd(), raw::CONTINUE, &mut resume);
            done += resume.mapped.max(0) as usize;
            match result {
                Ok(()) if resume.mapped > 0 => {}
                Err(Errno::AGAIN) if resume.mapped > 0 => {}
                Ok(()) => return Err(Stopped { done, errno: Errno::IO }),
                Err(errno) => return Err(Stopped { done, errno }),
            }
        }
        Ok(())
    }

    /// As [`write_protect`](Self::write_protect), but EAGAIN where an event is unread.
    pub fn write_protect_now(&self, range: VirtRange, protect: Protect) -> Result<(), Errno> {
        let mode = match protect {
            Protect::Yes => 1, // UFFDIO_WRITEPROTECT_MODE_WP
            Protect::No => 0,
        };
        let mut request = sys::uffdio_writeprotect { range: raw_range(range), mode };
        raw::ioctl(self.as_raw_fd(), raw::WRITE_PROTECT, &mut request)
    }

    /// Has the process whose faults come here memory still? Asks for what the kernel would
    /// not do.
    pub fn is_alive(&self) -> bool {
        const NOWHERE: VirtRange =
            VirtRange { start: VirtAddr(PAGE_BYTES), end: VirtAddr(2 * PAGE_BYTES) };
        self.write_protect_now(NOWHERE, Protect::No) != Err(Errno::SRCH)
    }

    /// As [`poison`](Self::poison) for one page of shared memory that has a hole there, but
    /// EAGAIN where an event is unread.
    pub fn poison_now(&self, page: VirtRange) -> Result<(), Errno> {
        let poison = || {
            let mut poison = sys::uffdio_poison { range: raw_range(page), mode: 0, updated: 0 };
            raw::ioctl(self.as_raw_fd(), raw::POISON, &mut poison)
        };
        match poison() {
            // A page that has left while it was protected has left a mark of that.
            Err(Errno::EXIST) => {
                self.write_protect_now(page, Protect::No)?;
                poison()
            }
            result => result,
        }
    }

    /// Maps the kernel's page of zeros at the absent pages of `range`.
    pub fn zero(&self, range: VirtRange) -> Result<(), Stopped> {
        progress(range.len() as usize, |done| {
            let mut zero = sys::uffdio_zeropage { range: rest(range, done), mode: 0, zeropage: 0 };
            let result = raw::ioctl(self.as_raw_fd(), raw::ZEROPAGE, &mut zero);
            (result, zero.zeropage)
        })
    }

    /// Makes every access to the absent pages of `range` SIGBUS (or EFAULT, where a
    /// system call makes it), and wakes whoever waits for them.
    pub fn poison(&self, range: VirtRange) -> Result<(), Stopped> {
        // What is there stays, so EEXIST is the rule; who waits for a page comes again.
        progress_unless_busy(range.len() as usize, WhenBusy::Wait, |done| {
            let mut poison = sys::uffdio_poison { range: rest(range, done), mode: 0, updated: 0 };
            let result = raw::ioctl(self.as_raw_fd(), raw::POISON, &mut poison);
            (result, poison.updated)
        })
    }

    /// Turns faults on stores to the present pages of `range` on or off; off wakes
    /// whoever waits to store there.
    pub fn write_protect(&self, range: VirtRange, protect: Protect) -> Result<(), Errno> {
        loop {
            match self.write_protect_now(range, protect) {
                Err(Errno::AGAIN) => std::thread::yield_now(),
                result => return result,
            }
        }
    }

    /// Lets whoever waits for a page of `range` touch it again.
    pub fn wake(&self, range: VirtRange) -> Result<(), Errno> {
        raw::ioctl(self.as_raw_fd(), raw::WAKE, &mut raw_range(range))
    }
}

/// Repeats `attempt(done)` until `len` bytes are done. An attempt answers with the
/// call's result and the structure's progress field: bytes, or a negated errno.
fn progress(
    len: usize,
    mut attempt: impl FnMut(usize) -> (Result<(), Errno>, i64),
) -> Result<(), Stopped> {
    let mut doubted = (0, 0);
    progress_unless_busy(len, WhenBusy::Wait, |done| {
        let answer = attempt(done);
        if doubted.0 != done {
            doubted = (done, 0);
        }
        if answer.0 == Err(Errno::EXIST) && doubted.1 < DOUBTS {
            doubted.1 += 1;
            return (Err(Errno::AGAIN), 0);
        }
        answer
    })
}

/// How many bytes of `len` have left `src` and are at `dst`, from the first on.
fn arrived(dst: VirtAddr, src: VirtAddr, len: usize) -> usize {
    const PRESENT_OR_SWAPPED: u64 = 1 << 63 | 1 << 62;
    let Ok(map) = File::open("/proc/self/pagemap") else { return 0 };
    let has_bytes = |at: VirtAddr| {
        let mut entry = [0; 8];
        map.read_exact_at(&mut entry, at.0 / PAGE_BYTES * 8)?;
        Ok::<_, io::Error>(u64::from_le_bytes(entry) & PRESENT_OR_SWAPPED != 0)
    };
    let has_moved = |page: &u64| {
        let there = has_bytes(dst.plus_pages(*page));
        let here = has_bytes(src.plus_pages(*page));
        matches!((there, here), (Ok(true), Ok(false)))
    };
    (0..(len / PAGE_SIZE) as u64).take_while(has_moved).count() * PAGE_SIZE
}

fn progress_unless_busy(
    len: usize,
    when_busy: WhenBusy,
    mut attempt: impl FnMut(usize) -> (Result<(), Errno>, i64),
) -> Result<(), Stopped> {
    let patience = match when_busy {
        WhenBusy::Wait => BUSY_SPINS + BUSY_YIELDS + BUSY_SLEEPS,
        WhenBusy::Stop => 0,
    };
    let mut done = 0;
    let mut busy = 0;
    while done < len {
        let (result, moved) = attempt(done);
        // A negative field repeats the errno; it is not a count.
        if moved > 0 {
            done += moved as usize;
            busy = 0;
        }
        match result {
            Ok(()) if moved > 0 => {}
            // Success without progress is not in the interface; don't spin on it.
            Ok(()) => return Err(Stopped { done, errno: Errno::IO }),
            Err(Errno::AGAIN) if moved > 0 => {}
            Err(Errno::AGAIN) => std::thread::yield_now(),
            Err(Errno::BUSY) if busy < patience => {
                match busy {
                    n if n < BUSY_SPINS => std::hint::spin_loop(),
                    n if n < BUSY_SPINS + BUSY_YIELDS => std::thread::yield_now(),
                    _ => std::thread::sleep(BUSY_SLEEP),
                }
                busy += 1;
            }
            Err(errno) => return Err(Stopped { done, errno }),
        }
    }
    Ok(())
}

fn raw_range(range: VirtRange) -> sys::uffdio_range {
    sys::uffdio_range { start: range.start.0, len: range.len() }
}

fn rest(range: VirtRange, done: usize) -> sys::uffdio_range {
    sys::uffdio_range { start: range.start.0 + done as u64, len: range.len() - done as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_goes_on_after_again_and_counts_pages_only() {
        let mut answers = vec![
            (Err(Errno::AGAIN), -(libc::EAGAIN as i64)),
            (Err(Errno::AGAIN), 8192),
            (Err(Errno::BUSY), -(libc::EBUSY as i64)),
            (Ok(()), 4096),
        ]
        .into_iter();
        let mut offsets = Vec::new();
        let result = progress(12288, |done| {
            offsets.push(done);
            answers.next().unwrap()
        });
        assert_eq!(result, Ok(()));
        assert_eq!(offsets, [0, 0, 8192, 8192]);
    }

    #[test]
    fn progress_reports_where_it_stopped() {
        let mut first = Some((Err(Errno::AGAIN), 4096));
        let exists = (Err(Errno::EXIST), -17);
        let result = progress(12288, |_| first.take().unwrap_or(exists));
        assert_eq!(result, Err(Stopped { done: 4096, errno: Errno::EXIST }));
    }

    #[test]
    fn that_a_page_exists_is_doubted_anew_at_each() {
        let exists = (Err(Errno::EXIST), -17);
        let each = [exists, exists, exists, (Ok(()), 4096)];
        let mut answers = each.iter().chain(&each).copied();
        assert_eq!(progress(8192, |_| answers.next().unwrap()), Ok(()));
        assert_eq!(answers.next(), None);
    }

    #[test]
    fn progress_gives_up_on_a_page_that_stays_pinned() {
        let result = progress(4096, |_| (Err(Errno::BUSY), -(libc::EBUSY as i64)));
        assert_eq!(result, Err(Stopped { done: 0, errno: Errno::BUSY }));
    }
}
