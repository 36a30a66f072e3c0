//! A simulator: processes on the software machine, the engine, and a slow model.
//!
//! A seed decides everything: what processes do, and in which order the operations
//! of plans are carried out, so that one seed is one run, for ever. After each step
//! checkers look for what must never be.
//!
//! ```text
//!   World ── steps ──► access, verb, task, reclaim          (chosen by the seed)
//!     │ faults, verbs                       │ what a program sees
//!     ▼                                     ▼
//!   Engine ── plans ──► tasks ──► SoftwareMachine ══ compared with ══ Model
//!                         └─────► backings: files, swap
//! ```
//!
//! ```
//! faultless_sim::run(faultless_sim::Options::new(1));
//! ```

#![forbid(unsafe_code)]

mod access;
mod backing;
mod check;
mod crash;
mod model;
mod tally;
mod tasks;
mod threads;
mod verbs;
mod world;

pub use tally::Tally;
#[cfg(feature = "canary")]
pub use world::Bug;
pub use world::{Kind, Options, run};
