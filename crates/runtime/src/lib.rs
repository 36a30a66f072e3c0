//! Drives the engine on Linux.
//!
//! The engine decides and answers with plans; the runtime carries them out with
//! threads, system calls and pagers, and reports back.
//!
//! ```text
//!   core      what all threads share: the engine behind its lock, sleepers, pagers
//!   drive     carries a plan out, and the plans that follow from it
//!   io        reads and writes of runs, by io_uring or by calling the pager
//!   serve     a fault, from the thread that met it or from one that handles it
//!   handlers  threads that handle the faults of threads that a machine holds
//!   keeper    the thread that ages: old dirty pages, files that changed their size,
//!             flushes that nobody waits for
//!   pins, objects, private, flush   the verbs that people call
//!   clients   spaces of other processes, whose areas their kernel keeps
//!   verbs     the calls on addresses: protect, advise, remap, place, lock, look
//!   inside    which threads others may be waiting for
//!   gate      who is at work, so that a fork can wait until nobody is
//!   fork, inherit   rest before a fork; the copy that a child goes on with
//! ```
//!
//! Which machine there is, is its user's choice: everything here takes any
//! [`Machine`](faultless_machine::Machine).

#![deny(unsafe_code)]

mod change;
mod clients;
mod core;
mod drive;
mod error;
mod flush;
mod fork;
mod gate;
mod handlers;
mod handoff;
mod inherit;
mod inside;
mod io;
mod keeper;
mod lock;
mod objects;
mod pins;
mod private;
mod say;
mod serve;
mod sleep;
mod swap;
mod sync;
mod verbs;

pub use crate::core::{Core, Options, Rings, Threads};
pub use error::{Error, Operation};
pub use fork::{Heir, register_heir, watch_forks};
pub use gate::Active;
pub use inherit::Lending;
pub use inside::{Inside, is_inside};
pub use objects::{NewObject, ObjectHandle};
pub use say::say;
pub use serve::Served;
pub use verbs::{FileOf, Moving, Placed, Reserved};
