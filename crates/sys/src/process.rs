//! Thread ids, event descriptors, limits, resident memory.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use faultless_addr::PAGE_SIZE;
use rustix::event::EventfdFlags;

use crate::Errno;

/// This thread's id, as fault messages name it.
pub fn thread_id() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// This process's id.
pub fn process_id() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// How long a thread of this process has had a processor; `None` if there is no such thread.
pub fn processor_time(thread: i32) -> Option<Duration> {
    // MAKE_THREAD_CPUCLOCK of the kernel's include/linux/posix-timers.h: a thread's id, and
    // the clock CPUCLOCK_SCHED of a thread.
    const SCHED_OF_THREAD: i32 = 2 | 4;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: 1. the structure is ours, and the call writes it.
    match unsafe { libc::clock_gettime(!thread << 3 | SCHED_OF_THREAD, &mut time) } {
        0 => Some(Duration::new(time.tv_sec as u64, time.tv_nsec as u32)),
        _ => None,
    }
}

/// Resident bytes of this process (`/proc/self/statm`), or `None` where /proc isn't
/// mounted. Allocates nothing. Linux counts it per CPU, so it may be some pages off.
pub fn rss_bytes() -> Option<u64> {
    let mut text = [0; 128];
    let len = File::open("/proc/self/statm").ok()?.read(&mut text).ok()?;
    let text = std::str::from_utf8(&text[..len]).ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_SIZE as u64)
}

/// How many bytes of addresses RLIMIT_AS lets this process have; `None` if any.
pub fn address_space_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::As).current
}

/// Lets this process have as many descriptors as it may; what it starts has them, too.
pub fn allow_most_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where it is refused, opening tells.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// A counter that threads and rings can wait for. Nonblocking, closed on exec.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// A counter at 0.
    pub fn new() -> Result<EventFd, Errno> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(EventFd(rustix::event::eventfd(0, flags)?))
    }

    /// In a forked child: a counter of its own at 0, under the same number.
    pub fn renew(&self) -> Result<(), Errno> {
        replace(&self.0, EventFd::new()?.0)
    }

    /// Makes it readable. Async-signal-safe.
    pub fn signal(&self) {
        // The only refusal is a full counter, which is readable as it is.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Takes all signals so far; answers how many there were.
    pub fn drain(&self) -> u64 {
        let mut count = [0; 8];
        match rustix::io::read(&self.0, &mut count) {
            Ok(8) => u64::from_ne_bytes(count),
            _ => 0,
        }
    }
}

/// `new` takes the number of `old`, whose descriptor is closed.
pub(crate) fn replace(old: &OwnedFd, new: OwnedFd) -> Result<(), Errno> {
    // SAFETY: 1. both are open; 2. `old` stays the owner of its number, under which there
    // is another descriptor that is as much its own.
    match unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) } {
        -1 => Err(crate::last_errno()),
        _ => Ok(()),
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eventfd_counts() {
        let event = EventFd::new().unwrap();
        assert_eq!(event.drain(), 0);
        event.signal();
        event.signal();
        assert_eq!(event.drain(), 2);
        assert_eq!(event.drain(), 0);
    }

    #[test]
    fn there_is_resident_memory() {
        assert!(rss_bytes().unwrap() > 4096);
        assert_eq!(process_id(), std::process::id() as i32);
    }
}
