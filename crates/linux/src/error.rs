//! Errors that say where.

use std::io;

use faultless_addr::VirtAddr;
use faultless_sys::Errno;
use faultless_sys::signal::InstallError;
use faultless_sys::uffd::{OpenError, Stopped};

/// Why there is no machine.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// No userfaultfd; the message names the remedies.
    #[error(transparent)]
    Userfaultfd(#[from] OpenError),
    /// The kernel's userfaultfd can't do what is needed.
    #[error("this kernel's userfaultfd has no {missing}; Faultless needs Linux 6.8 or later")]
    KernelTooOld {
        /// The features, by name.
        missing: String,
    },
    /// Not enough addresses, not even for the smallest arena.
    #[error("{bytes} bytes of addresses: {errno}; see RLIMIT_AS (`ulimit -v`)")]
    Addresses {
        /// What was asked for last.
        bytes: u64,
        /// What the kernel answered.
        errno: Errno,
    },
    /// The kernel refused to register an arena.
    #[error("userfaultfd: registering addresses: {0}")]
    Register(Errno),
    /// The SIGBUS hook belongs to somebody else.
    #[error(transparent)]
    Signal(#[from] InstallError),
    /// The machine has its hook for inline faults already.
    #[error("inline faults have a hook already")]
    HookSet,
    /// All places for inline delivery are taken.
    #[error("too many machines in this process")]
    TooMany,
    /// A configuration without frames or without spare pages.
    #[error("a machine needs at least one frame and one spare page, {most} together at most")]
    Config {
        /// The most there can be.
        most: u32,
    },
}

/// What was being done to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Giving an empty frame memory.
    Back,
    /// Putting a frame at an address.
    Map,
    /// Taking a frame away from its address.
    Unmap,
    /// Changing what stores do.
    Protect,
    /// Making an absent page an error.
    Poison,
    /// Making it absent again.
    Heal,
}

/// A page operation that the kernel refused. It is the inner error of the machine's
/// `io::Error`s.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{verb:?} at {addr:?}: {errno}")]
pub struct PageError {
    /// What was being done.
    pub verb: Verb,
    /// The first page that it was not done to.
    pub addr: VirtAddr,
    /// Why not. EBUSY: something (direct I/O, a registered buffer) has pinned the
    /// page; EEXIST: there is a page already; ENOENT: there is none; EPERM: this is a
    /// forked child of the process that made the machine.
    pub errno: Errno,
}

impl PageError {
    pub(crate) fn new(verb: Verb, addr: VirtAddr, errno: Errno) -> PageError {
        PageError { verb, addr, errno }
    }

    /// An operation on the range from `start` that ended early.
    pub(crate) fn stopped(verb: Verb, start: VirtAddr, stopped: Stopped) -> PageError {
        PageError { verb, addr: VirtAddr(start.0 + stopped.done as u64), errno: stopped.errno }
    }
}

impl From<PageError> for io::Error {
    fn from(error: PageError) -> io::Error {
        io::Error::new(error.errno.kind(), error)
    }
}
