//! What can go wrong.

use std::io;
use std::path::PathBuf;

/// An error of this crate. Its text says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file can't be mapped: it is a pipe, a directory, not open for reading …
    #[error(transparent)]
    Open(#[from] faultless_pager::OpenError),
    /// The system doesn't let us serve page faults.
    #[error(transparent)]
    Machine(#[from] faultless_linux::NewError),
    /// A call on a mapping failed.
    #[error(transparent)]
    Call(#[from] faultless_runtime::Error),
    /// The file's length could not be asked.
    #[error("cannot ask the size of {name}: {source}")]
    Size {
        /// The file.
        name: String,
        /// The cause.
        source: io::Error,
    },
    /// An option has a value that it can't have.
    #[error("{option} cannot be {value}: {remedy}")]
    Option {
        /// Which one.
        option: &'static str,
        /// What was given.
        value: String,
        /// What to give instead.
        remedy: &'static str,
    },
    /// A range of a mapping does not begin with a page.
    #[error("byte {start} is inside a page of the mapping: round it to a page of 4096 bytes")]
    Unaligned {
        /// Where the range begins.
        start: u64,
    },
    /// A range leaves its mapping, or ends before it begins.
    #[error("bytes {start}..{end} are not a range of a mapping of {len} bytes")]
    Outside {
        /// Where the range begins.
        start: u64,
        /// Where it ends.
        end: u64,
        /// The mapping's length.
        len: u64,
    },
    /// Something is at that place of a reservation already.
    #[error("byte {at} of the reservation is taken: remove what is there, or replace it")]
    Occupied {
        /// The first byte that is.
        at: u64,
    },
    /// Budget and swap file have no room for so much anonymous memory.
    #[error(
        "{wanted} bytes of anonymous memory: budget and swap have room for {left} more; \
         give the Vm a (larger) swap file: `Vm::builder().swap(dir, bytes)`"
    )]
    NoSwap {
        /// Bytes asked for.
        wanted: u64,
        /// Bytes that could be had.
        left: u64,
    },
    /// There is no broker to connect to, or it doesn't want us.
    #[error(
        "cannot connect to a broker at {socket}: {source}; start one: \
         `faultless broker --socket {socket}`"
    )]
    Broker {
        /// Where it was looked for.
        socket: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The kernel refused to map the file.
    #[error("cannot map {name}: {source}")]
    Map {
        /// The file.
        name: String,
        /// The cause.
        source: io::Error,
    },
    /// The file is mapped already in this `Vm`, with an option that can't be had twice.
    #[error("{name} is already mapped in this Vm with {option} {is}, not {asked}")]
    AlreadyMapped {
        /// The file.
        name: String,
        /// Which option.
        option: &'static str,
        /// What the first mapping chose.
        is: String,
        /// What this one asked for.
        asked: String,
    },
}

impl Error {
    /// The operating system's number that fits best.
    pub fn errno(&self) -> i32 {
        match self {
            Error::Open(error) => error.errno(),
            Error::Call(error) => error.errno(),
            Error::Size { source, .. }
            | Error::Broker { source, .. }
            | Error::Map { source, .. } => source.raw_os_error().unwrap_or(5),
            Error::Machine(_) => 38,
            Error::Option { .. } | Error::Unaligned { .. } => 22,
            Error::Outside { .. } => 12,
            Error::Occupied { .. } => 17,
            Error::AlreadyMapped { .. } => 16,
            Error::NoSwap { .. } => 12,
        }
    }

    /// Did a pin not fit into the budget?
    pub fn is_no_room(&self) -> bool {
        matches!(self, Error::Call(faultless_runtime::Error::NoRoom { .. }))
    }

    /// Does the range lie beyond the end of the file?
    pub fn is_beyond_end(&self) -> bool {
        use faultless_runtime::Error as Call;
        matches!(self, Error::Call(Call::BeyondEnd { .. } | Call::Shrunk { .. }))
    }

    /// Is a pin in the way?
    pub fn is_pinned(&self) -> bool {
        matches!(self, Error::Call(faultless_runtime::Error::Pinned { .. }))
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        match error {
            Error::Open(error) => error.into(),
            Error::Call(error) => error.into(),
            error => io::Error::other(error),
        }
    }
}
