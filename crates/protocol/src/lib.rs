//! What a program under Faultless and its broker say to each other.
//!
//! Over a Unix socket that keeps messages apart (`SOCK_SEQPACKET`) a client sends a
//! [`Request`], with at most one descriptor, and gets one [`Reply`], with at most one.
//! Both have [`MESSAGE_BYTES`] bytes on the wire, so that neither side ever needs memory
//! for them: a client may be inside of an allocator.
//!
//! ```text
//!   client                                   broker
//!     │ Hello            + its userfaultfd ──► a space for its faults
//!     │ ◄── Welcome      + the board
//!     │ Staging          + a memfd ──────────► for bytes of Write
//!     │ Map              + the file ─────────► may it? which object is it?
//!     │ ◄── Served       + the object's memfd
//!     │ mmap of that, PROT_NONE; UFFDIO_REGISTER
//!     │ Mapped ──────────────────────────────► from here on faults are served
//!     │ ◄── Done
//!     │ mprotect to the rights of the program
//! ```
//!
//! What becomes of a range afterwards (munmap, mremap, madvise) the broker learns from the
//! userfaultfd's events, which come before the call returns. What a client may map is
//! decided by the descriptor that it sends: the broker looks at how it was opened.
//!
//! ```
//! use faultless_protocol::{Reply, Request};
//!
//! let request = Request::Map { len: 8192, offset: 4096, prot: 1, flags: 2 };
//! assert_eq!(Request::decode(&request.encode()), Ok(request));
//! let reply = Reply::Error { errno: 13 };
//! assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
//! ```

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod board;
mod fields;
mod reason;
mod reply;
mod request;
mod tally;

pub use board::{BOARD_BYTES, BOARD_SLOTS, BOARD_TOTAL, FileId, slot_of};
pub use reason::Reason;
pub use reply::{How, Reply};
pub use request::Request;
pub use tally::{TALLY_BYTES, Tallied, Tally};

/// Bytes of every message.
pub const MESSAGE_BYTES: usize = 64;

/// Counts changes of the protocol: the two sides must agree.
pub const VERSION: u64 = 4;

/// Bytes of the memory that [`Request::Staging`] sends: the most that one
/// [`Request::Write`] carries.
pub const STAGING_BYTES: u64 = 256 << 10;

/// The environment variable that names the broker's socket to programs.
pub const SOCKET_VARIABLE: &str = "FAULTLESS_SOCKET";

/// The environment variable that names the file for a line about each call (its path, from
/// the root on).
pub const TRACE_VARIABLE: &str = "FAULTLESS_TRACE";

/// The environment variable that names the memory of the trace's [`Tally`].
pub const TALLY_VARIABLE: &str = "FAULTLESS_TRACE_TALLY";

/// The environment variable that says when the trace began: `CLOCK_MONOTONIC`, nanoseconds.
pub const START_VARIABLE: &str = "FAULTLESS_TRACE_START";

/// The environment variable that says from how many bytes on blocks of memory are mappings of
/// their own.
pub const BLOCKS_VARIABLE: &str = "FAULTLESS_BLOCKS";

/// A message that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It has another length than every message has.
    #[error("a message of {0} bytes, not 64")]
    Length(usize),
    /// No message has this number.
    #[error("no message has the number {0}")]
    Number(u64),
    /// A part of it can't have this value.
    #[error("{0} is no value for this part of the message")]
    Value(u64),
}
