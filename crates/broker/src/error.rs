//! Why there is no broker, and what a client is answered.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The machine can't be had; the message names the remedies.
    #[error(transparent)]
    Machine(#[from] faultless_linux::NewError),
    /// The runtime could not start.
    #[error(transparent)]
    Runtime(#[from] faultless_runtime::Error),
    /// The socket could not be made.
    #[error("the socket {path}: {source}")]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// Somebody else listens there.
    #[error("a broker listens at {0} already: connect to it, or choose another path")]
    Taken(PathBuf),
    /// A budget that is too small, or too large.
    #[error("a budget of {0} bytes: give 64 KiB to 2 TiB")]
    Memory(u64),
    /// A client's part of the budget that is too small.
    #[error("{0} bytes for a client: give 1 MiB or more")]
    ClientMemory(u64),
    /// The swap file could not be made.
    #[error("a swap file in {dir}: {source}; give another directory: --swap-dir DIR")]
    Swap {
        /// Where.
        dir: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A system call failed while setting up.
    #[error("{what}: {source}")]
    Setup {
        /// What was being made.
        what: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}

/// The number for a client of an error of the runtime.
pub(crate) fn errno_of(error: &faultless_runtime::Error) -> Errno {
    use faultless_runtime::Error;
    match error {
        Error::Io { source, .. } => Errno::from_io_error(source).unwrap_or(Errno::IO),
        Error::NoFrame { .. } | Error::NoRoom { .. } | Error::NoAddresses { .. } => Errno::NOMEM,
        Error::ReadOnly { .. } | Error::Denied { .. } => Errno::ACCESS,
        Error::Reserved { .. } => Errno::FBIG,
        _ => Errno::IO,
    }
}
