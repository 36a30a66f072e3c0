//! The benchmark: the same accesses by Faultless, by the kernel's mmap and by a cache in user
//! space, each in a process of its own that gets the same memory.
//!
//! ```text
//! run ─► rounds ─► a child for each run of each system ─► play ─► systems
//!   │       └────► cases of the workloads (w1 … w8)      (in the child)
//!   ├─► targets ─► report (table, JSON) ─► plot (SVG)
//!   ├─► quick: counts that no clock is in, held against bounds.toml
//!   └─► costs: what single steps cost
//! ```
//!
//! What makes it honest:
//!
//! - *The same memory.* A child joins a memory cgroup, which counts the kernel's page cache
//!   too, and when it is ready the limit is set: what it holds then, the budget, and what
//!   tables and stacks of ours may take, where the kernel's mmap may have pages. Who can't do
//!   with that has more ([`job::Job::growth_bytes_max`]): a cache that malloc gives memory to,
//!   who has thousands of files mapped, programs of others when they start.
//! - *The same accesses*, from one seed ([`sequence`]), on the same file, with nothing of it
//!   in any cache at first.
//! - *Steady state*: the budget is turned over several times before the clock starts.
//! - *Verified*: each word read goes into a sum, which the parent computes from the file's
//!   generator; after stores every word of the file is compared.
//! - *Interleaved*: every system once, then every system again from the last to the first;
//!   medians.

#![deny(unsafe_code)]

pub mod allocations;
pub mod bare;
pub mod belady;
pub mod case;
pub mod child;
pub mod content;
pub mod costs;
pub mod histogram;
pub mod job;
pub mod options;
pub mod peer;
pub mod play;
pub mod plot;
pub mod quick;
pub mod report;
pub mod rounds;
pub mod run;
pub mod sequence;
pub mod shape;
pub mod spread;
pub mod system;
pub mod systems;
pub mod targets;
pub mod workloads;

pub use options::{Form, Options};
pub use run::run;
