//! How many system calls this process makes: a counter of the kernel's, for measurements.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::{Errno, last_errno};

/// Where most systems mount the kernel's list of tracepoints.
const TRACEFS: &str = "/sys/kernel/tracing";
/// The number of the tracepoint that every system call passes (see perf_event_open(2)).
const NUMBER_FILE: &str = "events/raw_syscalls/sys_enter/id";
/// `PERF_TYPE_TRACEPOINT`.
const TYPE_TRACEPOINT: u32 = 2;
/// `perf_event_attr.inherit`: threads made from now on are counted, too.
const FLAG_INHERIT: u64 = 1 << 1;
/// `PERF_FLAG_FD_CLOEXEC`.
const FLAG_CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;

/// `struct perf_event_attr` as far as its first version goes (`PERF_ATTR_SIZE_VER0`).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint: u32,
    config_1: u64,
}

/// Counts the system calls of the thread that made it, and of all threads that came of it
/// since.
#[derive(Debug)]
pub struct SystemCalls(OwnedFd);

impl SystemCalls {
    /// Begins to count. `ENOENT` or `ENODEV` where the kernel has no tracepoints, `EACCES` or
    /// `EPERM` where it shows them to others only.
    pub fn begin() -> Result<SystemCalls, Errno> {
        let attributes = Attributes {
            kind: TYPE_TRACEPOINT,
            size: size_of::<Attributes>() as u32,
            config: tracepoint()?,
            flags: FLAG_INHERIT,
            ..Attributes::default()
        };
        let (this_thread, any_cpu, no_group) = (0, -1, -1);
        // SAFETY: 1. the attributes live during the call, and are as long as they say.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                this_thread,
                any_cpu,
                no_group,
                FLAG_CLOSE_ON_EXEC,
            )
        };
        if fd < 0 {
            return Err(last_errno());
        }
        // SAFETY: 1. a descriptor that the kernel has just made, and that only we know.
        Ok(SystemCalls(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
    }

    /// How many there were since.
    pub fn count(&self) -> Result<u64, Errno> {
        let mut count = [0; 8];
        match rustix::io::read(self.0.as_fd(), &mut count)? {
            8 => Ok(u64::from_ne_bytes(count)),
            _ => Err(Errno::IO),
        }
    }
}

/// The tracepoint's number, also where nobody has mounted the list of them.
fn tracepoint() -> Result<u64, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let number = rustix::fs::open(format!("{TRACEFS}/{NUMBER_FILE}"), flags, Mode::empty())
        .or_else(|refused| match refused {
            Errno::NOENT => rustix::fs::openat(tracefs()?, NUMBER_FILE, flags, Mode::empty()),
            refused => Err(refused),
        })?;
    let mut digits = String::new();
    File::from(number).read_to_string(&mut digits).map_err(|_| Errno::IO)?;
    digits.trim().parse().map_err(|_| Errno::IO)
}

/// A mount of tracefs at no path, which ends with its descriptor (fsopen(2), fsmount(2)).
fn tracefs() -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_this_thread_and_of_later_ones_are_counted() {
        let Ok(calls) = SystemCalls::begin() else { return }; // Not shown to us.
        let before = calls.count().expect("a counter can be read");
        let hundred = || (0..100).for_each(|_| _ = rustix::process::getppid());
        hundred();
        std::thread::spawn(hundred).join().expect("it ends");
        let counted = calls.count().expect("a counter can be read") - before;
        assert!((200..400).contains(&counted), "{counted}");
    }
}
