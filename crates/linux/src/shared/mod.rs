//! The machine of memory that other processes share: a broker's.
//!
//! ```text
//!                  read, write                    a copy
//!   disk ◄───────────────────► buffers ◄──────────────────────► store
//!                              frames that are aside            one memfd for each object,
//!                                                               seen here at its home
//!                                  ┌─────────────┬─────────────────┤
//!                                  ▼ CONTINUE    ▼ CONTINUE        │ hole punched:
//!                               client 1      client 2             ▼ gone everywhere
//! ```
//!
//! A *client* is a process that has sent its userfaultfd. Each of its *regions* maps a part
//! of an object's memfd, and is registered for missing, minor and write-protect faults: so a
//! page that is in the memfd is shown at an address only after [`map`] said so, and the
//! engine knows every translation, as on the other machines. What it can't do is to take a
//! page from one address only: a page that leaves, leaves everywhere
//! ([`Machine::leaves_at_once`]).
//!
//! Memory of a client's *own* ([`Kind::Own`]) is a memfd, too, which only this client has. A
//! page that a fork has left with two owners has two homes therefore, and is at neither of
//! them but aside, or at one.
//!
//! What clients do to their addresses by themselves (munmap, mremap, madvise, mprotect, their
//! death) takes translations away, never adds one where stores pass unseen, but for mremap,
//! which moves them. The kernel tells; [`Event`]s are for whoever owns the engine.
//!
//! | file | subject |
//! |---|---|
//! | `machine.rs` | [`SharedMachine`]: the trait's verbs |
//! | `client.rs` | one client: its descriptor, its regions, what it tells |
//! | `turns.rs` | whose fault is served next |
//! | `store.rs` | the objects' memory as this process sees it |
//! | `places.rs` | which of the two a frame is in |
//! | `buffers.rs` | memory of frames that are aside |
//!
//! [`map`]: faultless_machine::Machine::map
//! [`Machine::leaves_at_once`]: faultless_machine::Machine::leaves_at_once

mod buffers;
mod client;
mod machine;
mod places;
mod store;
mod turns;

pub use client::{Client, Kind, Region};
pub use faultless_sys::uffd::Event;
pub use machine::{STORE, SharedConfig, SharedMachine};
