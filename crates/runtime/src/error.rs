//! What can go wrong, and where it did.

use std::fmt;
use std::io;

use faultless_addr::VirtRange;

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reading pages from the backing.
    Read,
    /// Writing pages to it.
    Write,
    /// Making writes durable.
    Sync,
    /// Changing its length.
    Resize,
    /// Forgetting a part of it.
    Punch,
    /// Asking for its length.
    Size,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::Sync => "sync",
            Operation::Resize => "resize",
            Operation::Punch => "punch a hole in",
            Operation::Size => "ask the size of",
        })
    }
}

/// Why a call on a mapping failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The backing failed. Nothing dirty was lost: it stays dirty.
    #[error("cannot {operation} {name} at byte {offset}: {source}")]
    Io {
        /// What was being done.
        operation: Operation,
        /// The backing.
        name: String,
        /// The first byte it concerns.
        offset: u64,
        /// The cause.
        source: io::Error,
    },
    /// The bytes asked for lie beyond the end.
    #[error("{name} ends at byte {size}; bytes {start}..{end} were asked for")]
    BeyondEnd {
        /// The backing.
        name: String,
        /// Its length.
        size: u64,
        /// The first byte asked for.
        start: u64,
        /// The byte after the last.
        end: u64,
    },
    /// The backing became shorter while pages beyond its new end were in use.
    #[error("{name} was shortened to {size} bytes by somebody else; byte {offset} is gone")]
    Shrunk {
        /// The backing.
        name: String,
        /// Its length now.
        size: u64,
        /// A byte that was in use.
        offset: u64,
    },
    /// A pin does not fit beside the other pins.
    #[error(
        "a pin of {wanted} pages does not fit: pins may hold {left} more pages; \
         drop other pins, pin less at a time, or give the Vm a bigger budget"
    )]
    NoRoom {
        /// Pages asked for.
        wanted: u64,
        /// Pages that could be pinned now.
        left: u64,
    },
    /// Frames did not become free: pages are dirty and can't be written, or pinned.
    #[error(
        "no frame became free within {seconds} s: dirty pages cannot be written, or all is pinned"
    )]
    NoFrame {
        /// How long was waited.
        seconds: u64,
    },
    /// A pin is in the way.
    #[error("byte {offset} of {name} is pinned; drop the pin first")]
    Pinned {
        /// The backing.
        name: String,
        /// Where the pin is.
        offset: u64,
    },
    /// The mapping doesn't allow writes.
    #[error("{name} is mapped read-only")]
    ReadOnly {
        /// The backing.
        name: String,
    },
    /// The mapping's addresses end before the size that was asked for.
    #[error(
        "{name} cannot grow to {wanted} bytes: {reserved} bytes of addresses were reserved; \
         map it with a bigger `reserve`"
    )]
    Reserved {
        /// The backing.
        name: String,
        /// Bytes asked for.
        wanted: u64,
        /// Bytes reserved.
        reserved: u64,
    },
    /// There are no addresses left for another mapping.
    #[error("no room for {pages} pages of addresses: {why}")]
    NoAddresses {
        /// Pages asked for.
        pages: u64,
        /// What the address space says.
        why: String,
    },
    /// A verb on addresses was refused, for a reason that its call on Linux has, too.
    #[error("cannot {verb} {start:#x}..{end:#x}: {why}")]
    Refused {
        /// What was asked for.
        verb: &'static str,
        /// The first address.
        start: u64,
        /// The address after the last.
        end: u64,
        /// What the address space says.
        why: String,
        /// The number that Linux has for it.
        errno: i32,
    },
    /// The rights of an address don't allow it.
    #[error("byte {offset} of {name} may not be accessed so: its rights were taken away")]
    Denied {
        /// The backing.
        name: String,
        /// The first byte that may not.
        offset: u64,
    },
    /// The process is a fork of the one that made the mapping, and has no copy of it.
    #[error("this process is a fork, and this is the memory of the process that made it")]
    Forked,
    /// Threads, rings or descriptors could not be had.
    #[error("cannot set up {what}: {source}")]
    Setup {
        /// What was missing.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
}

impl Error {
    /// An address space has refused a verb.
    pub(crate) fn refused(
        verb: &'static str,
        range: VirtRange,
        errno: i32,
        why: impl fmt::Display,
    ) -> Error {
        let (start, end) = (range.start.0, range.end.0);
        Error::Refused { verb, start, end, why: why.to_string(), errno }
    }

    /// The operating system's number that fits best.
    pub fn errno(&self) -> i32 {
        match self {
            Error::Io { source, .. } | Error::Setup { source, .. } => {
                source.raw_os_error().unwrap_or(libc::EIO)
            }
            Error::BeyondEnd { .. } | Error::Shrunk { .. } => libc::ENXIO,
            Error::NoRoom { .. } | Error::NoFrame { .. } | Error::NoAddresses { .. } => {
                libc::ENOMEM
            }
            Error::Pinned { .. } => libc::EBUSY,
            Error::ReadOnly { .. } | Error::Denied { .. } => libc::EACCES,
            Error::Refused { errno, .. } => *errno,
            Error::Reserved { .. } => libc::EFBIG,
            Error::Forked => libc::EPERM,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match &error {
            Error::Io { source, .. } | Error::Setup { source, .. } => source.kind(),
            Error::BeyondEnd { .. } | Error::Shrunk { .. } => io::ErrorKind::UnexpectedEof,
            Error::NoRoom { .. } | Error::NoFrame { .. } | Error::NoAddresses { .. } => {
                io::ErrorKind::OutOfMemory
            }
            Error::Pinned { .. } => io::ErrorKind::ResourceBusy,
            Error::ReadOnly { .. } | Error::Denied { .. } | Error::Forked => {
                io::ErrorKind::PermissionDenied
            }
            Error::Refused { errno, .. } => io::Error::from_raw_os_error(*errno).kind(),
            Error::Reserved { .. } => io::ErrorKind::FileTooLarge,
        };
        io::Error::new(kind, error)
    }
}
