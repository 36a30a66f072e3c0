//! userfaultfd(2): page faults of this process, answered by this process.
//!
//! A descriptor is opened in two steps, because the feature handshake can be
//! done only once per descriptor: a throw-away descriptor tells what the kernel
//! has ([`probe`]), a fresh one is set up with what is wanted ([`Userfaultfd::open`]).
//!
//! Where no events are asked for (remap, remove, unmap), no call here can meet an unread
//! one. With [`Features::EVENTS`] filling and protecting pages answers EAGAIN as long as
//! there is one: read messages, then try again.

mod messages;
mod ops;
mod raw;

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use linux_raw_sys::general as sys;

pub use messages::{Cause, Event, PageFault};
pub use ops::{Protect, Stopped, WhenBusy};

use crate::{Errno, last_errno};

/// What a kernel's userfaultfd can do, or what is wanted of it. The bits are the
/// kernel's `UFFD_FEATURE_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Features(u64);

impl Features {
    /// Nothing beyond faults on missing pages.
    pub const NONE: Features = Features(0);
    /// Write protection (Linux 5.7).
    pub const WRITE_PROTECT: Features = Features(sys::UFFD_FEATURE_PAGEFAULT_FLAG_WP as u64);
    /// Faults raise SIGBUS in the thread that faults (Linux 4.14).
    pub const SIGBUS: Features = Features(sys::UFFD_FEATURE_SIGBUS as u64);
    /// Messages name the thread that faults (Linux 4.14).
    pub const THREAD_ID: Features = Features(sys::UFFD_FEATURE_THREAD_ID as u64);
    /// Messages give the byte that was touched, not only its page (Linux 5.18).
    pub const EXACT_ADDRESS: Features = Features(sys::UFFD_FEATURE_EXACT_ADDRESS as u64);
    /// Pages can be made errors (Linux 6.6).
    pub const POISON: Features = Features(sys::UFFD_FEATURE_POISON as u64);
    /// Written pages can be told without a fault (Linux 6.7).
    pub const WP_ASYNC: Features = Features(sys::UFFD_FEATURE_WP_ASYNC as u64);
    /// Pages can be moved, not only copied (Linux 6.8).
    pub const MOVE: Features = Features(sys::UFFD_FEATURE_MOVE as u64);

    /// Faults on absent pages of shared memory (Linux 4.11).
    pub const MISSING_SHARED: Features = Features(sys::UFFD_FEATURE_MISSING_SHMEM as u64);
    /// Faults on pages of shared memory that are there but not mapped (Linux 5.14).
    pub const MINOR_SHARED: Features = Features(sys::UFFD_FEATURE_MINOR_SHMEM as u64);
    /// Write protection of shared memory (Linux 5.19).
    pub const WRITE_PROTECT_SHARED: Features =
        Features(sys::UFFD_FEATURE_WP_HUGETLBFS_SHMEM as u64);
    /// What the process does to registered ranges is told: munmap, mremap, and advice that
    /// drops pages (Linux 4.11).
    pub const EVENTS: Features = Features(
        (sys::UFFD_FEATURE_EVENT_UNMAP
            | sys::UFFD_FEATURE_EVENT_REMAP
            | sys::UFFD_FEATURE_EVENT_REMOVE) as u64,
    );
    /// What serving the shared memory of another process takes.
    pub const SHARED: Features = Features::MISSING_SHARED
        .with(Features::MINOR_SHARED)
        .with(Features::WRITE_PROTECT)
        .with(Features::WRITE_PROTECT_SHARED)
        .with(Features::POISON)
        .with(Features::EXACT_ADDRESS)
        .with(Features::EVENTS);

    /// What is in either.
    pub const fn with(self, other: Features) -> Features {
        Features(self.0 | other.0)
    }

    /// What is in both.
    pub const fn and(self, other: Features) -> Features {
        Features(self.0 & other.0)
    }

    /// Is all of `other` in it?
    pub const fn has(self, other: Features) -> bool {
        self.0 & other.0 == other.0
    }

    /// The kernel's bits.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// How the descriptor was come by, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// The system call, with faults of user and kernel mode.
    SystemCall,
    /// `/dev/userfaultfd`, which is as good.
    Device,
    /// The system call, for faults of user mode only: a system call that is given
    /// the address of an absent page answers EFAULT.
    UserModeOnly,
}

impl std::fmt::Display for Rung {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Rung::SystemCall => "userfaultfd(2)",
            Rung::Device => "/dev/userfaultfd",
            Rung::UserModeOnly => "userfaultfd(2), user mode only",
        })
    }
}

/// Why there is no userfaultfd.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Every rung was refused.
    #[error(
        "userfaultfd is not permitted (system call: {call}; /dev/userfaultfd: {device}; \
         user mode only: {user_mode}). Remedies: give this user read and write permission on \
         /dev/userfaultfd, or set `sysctl vm.unprivileged_userfaultfd=1`, or run with \
         CAP_SYS_PTRACE; in a container, let its seccomp profile pass userfaultfd"
    )]
    Refused {
        /// What userfaultfd(2) answered.
        call: io::Error,
        /// What opening the device answered.
        device: io::Error,
        /// What userfaultfd(2) for user mode answered.
        user_mode: io::Error,
    },
    /// The kernel was built without it.
    #[error("this kernel has no userfaultfd (CONFIG_USERFAULTFD)")]
    Absent,
    /// A child may not do what its parent may.
    #[error("the process that was forked had {was}; this one has {is}")]
    Otherwise {
        /// How the parent's was opened.
        was: Rung,
        /// How the child's could be.
        is: Rung,
    },
    /// The handshake failed.
    #[error("userfaultfd handshake for features {wanted:#x}: {source}")]
    Handshake {
        /// The features that were asked for.
        wanted: u64,
        /// What the kernel answered.
        source: io::Error,
    },
}

/// What [`probe`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// How descriptors are opened here.
    pub rung: Rung,
    /// All that the kernel has.
    pub features: Features,
}

/// Asks, on a descriptor that is thrown away, what the kernel has.
pub fn probe() -> Result<Probe, OpenError> {
    let (fd, rung) = open_ladder()?;
    let features = handshake(&fd, Features::NONE)?;
    Ok(Probe { rung, features })
}

/// A descriptor that has done its handshake. Nonblocking, closed on exec.
#[derive(Debug)]
pub struct Userfaultfd {
    fd: OwnedFd,
    rung: Rung,
    features: Features,
}

impl Userfaultfd {
    /// A descriptor with `features`, all of which [`probe`] must have shown.
    pub fn open(features: Features) -> Result<Userfaultfd, OpenError> {
        let (fd, rung) = open_ladder()?;
        handshake(&fd, features)?;
        Ok(Userfaultfd { fd, rung, features })
    }

    /// One that another process has opened with `features`, and sent: it means that
    /// process's memory.
    pub fn received(fd: OwnedFd, features: Features) -> Userfaultfd {
        Userfaultfd { fd, rung: Rung::SystemCall, features }
    }

    /// In a forked child, where the descriptor means its parent's memory: one that means
    /// the child's takes its place. Nothing is registered with it.
    pub fn renew(&self) -> Result<(), OpenError> {
        let new = Userfaultfd::open(self.features)?;
        if new.rung != self.rung {
            return Err(OpenError::Otherwise { was: self.rung, is: new.rung });
        }
        let handshake =
            |errno: Errno| OpenError::Handshake { wanted: self.features.0, source: errno.into() };
        crate::process::replace(&self.fd, new.fd).map_err(handshake)
    }

    /// How it was opened.
    pub fn rung(&self) -> Rung {
        self.rung
    }

    /// What it was opened with.
    pub fn features(&self) -> Features {
        self.features
    }
}

impl From<Userfaultfd> for OwnedFd {
    fn from(userfaultfd: Userfaultfd) -> OwnedFd {
        userfaultfd.fd
    }
}

impl AsFd for Userfaultfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Userfaultfd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn open_ladder() -> Result<(OwnedFd, Rung), OpenError> {
    let call = match by_call(0) {
        Ok(fd) => return Ok((fd, Rung::SystemCall)),
        Err(Errno::NOSYS) => return Err(OpenError::Absent),
        Err(errno) => errno.into(),
    };
    let device = match by_device() {
        Ok(fd) => return Ok((fd, Rung::Device)),
        Err(error) => error,
    };
    match by_call(sys::UFFD_USER_MODE_ONLY) {
        Ok(fd) => Ok((fd, Rung::UserModeOnly)),
        Err(errno) => Err(OpenError::Refused { call, device, user_mode: errno.into() }),
    }
}

fn by_call(flags: u32) -> Result<OwnedFd, Errno> {
    let flags = flags as libc::c_int | libc::O_CLOEXEC | libc::O_NONBLOCK;
    // SAFETY: 1. the call takes one integer and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: 1. `fd` is not negative, so it is a descriptor the kernel has just
    // made; 2. nobody else has seen it, so we own it alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn by_device() -> io::Result<OwnedFd> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/userfaultfd")?;
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
    // SAFETY: 1. this request's argument is an integer of flags, no pointer.
    let fd = unsafe { libc::ioctl(device.as_raw_fd(), raw::USERFAULTFD_IOC_NEW, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as in `by_call`: a new descriptor that only we know.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Answers with everything the kernel has.
fn handshake(fd: &OwnedFd, wanted: Features) -> Result<Features, OpenError> {
    let mut api = sys::uffdio_api { api: sys::UFFD_API.into(), features: wanted.0, ioctls: 0 };
    raw::ioctl(fd.as_raw_fd(), raw::UFFDIO_API, &mut api)
        .map_err(|errno| OpenError::Handshake { wanted: wanted.0, source: errno.into() })?;
    Ok(Features(api.features))
}
