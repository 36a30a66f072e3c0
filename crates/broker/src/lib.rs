//! The broker: a process that owns the engine, the cache and the budget for many.
//!
//! ```text
//!   client ── socket ──► session ──► files ──► runtime ──► engine
//!     │                     ▲          which file is which object
//!     │ page faults         │ events: munmap, mremap
//!     └── its userfaultfd ──┴──► handlers (runtime) ──► machine: memory shared with clients
//! ```
//!
//! A client is a process whose preload library, or whose call of [`Vm::connect`], has sent
//! its userfaultfd. The kernel stays the authority about its addresses; the broker shows
//! objects there, counts every page of all clients against one budget, and writes back.
//!
//! | file | subject |
//! |---|---|
//! | `broker.rs` | [`Broker`]: the socket, the sessions, starting and ending |
//! | `session.rs` | one client: its requests, in order with its events |
//! | `regions.rs` | what a client maps: told by it, and by its kernel |
//! | `own.rs`, `own_calls.rs` | memory that a client has for itself, and what it asks about it |
//! | `swap.rs` | where pages of such memory leave to |
//! | `file_calls.rs` | reads and writes of files that are mapped |
//! | `files.rs` | which file is which object, and when it is one no more |
//! | `served.rs` | one file: its object, its memory, its pager |
//! | `board.rs` | which files are served, for clients to look at |
//! | `heir.rs` | what becomes of clients whose broker is gone |
//! | `limits.rs` | how much one client may have, and how many there may be |
//! | `link.rs` | messages with descriptors, over a socket |
//! | `stats.rs` | counters, as JSON |
//!
//! [`Vm::connect`]: https://docs.rs/faultless

#![forbid(unsafe_code)]

mod board;
mod broker;
mod error;
mod file_calls;
mod files;
mod heir;
mod limits;
mod link;
mod own;
mod own_calls;
mod regions;
mod served;
mod session;
mod stats;
mod swap;

pub use broker::{Broker, BrokerOptions};
pub use error::BrokerError;
pub use faultless_sys::file_limit::FileLimit;
pub use faultless_sys::process::allow_most_descriptors;
pub use heir::be_heir;
pub use limits::{CLIENT_MEMORY_MIN, Limits};
pub use stats::BrokerStats;
pub use swap::Swap;
