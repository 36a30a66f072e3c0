//! The Linux machine: real pointers, by userfaultfd.
//!
//! ```text
//!          slot 0   1   2   3   4 …                     one reservation, not inherited
//!   pool  ┌───┬───┬───┬───┬───┬───┐  frames that are aside: I/O reads and writes here
//!         └───┴─┬─┴───┴─▲─┴───┴───┘
//!       map:    │       │  unmap, Keep:
//!       MOVE    │       │  MOVE
//!             ┌─▼───────┴──────────────────────────────────────────────┐
//!   arena 0   │ thread delivery: a fault is a message for a fault thread│
//!   arena 1   │ inline delivery: a fault is a SIGBUS in its own thread  │
//!             └────────────────────────────────────────────────────────┘
//!                       one reservation and one registration each
//! ```
//!
//! A page goes in and out by changing page tables: UFFDIO_MOVE takes the physical
//! page from the pool's address to the program's, a run of neighbours in one call.
//! Only a page whose first store must be seen is copied, because only UFFDIO_COPY
//! can install a write-protected page in one step.
//!
//! | file | subject |
//! |---|---|
//! | `machine.rs` | [`LinuxMachine`]: the trait's verbs |
//! | `evict.rs` | unmapping: aside, or for good |
//! | `pool/mod.rs` | physical pages: frames that are aside, and those ready for frames |
//! | `pool/room.rs` | how many there may be |
//! | `pool/heritage.rs` | pages that a fork has left shared |
//! | `slots.rs` | which slots are free: sets, runs, no system calls |
//! | `bits.rs` | the sets |
//! | `arena.rs` | addresses for programs, and the descriptor their faults come from |
//! | `heritage.rs` | what a forked child makes of its copy |
//! | `inline.rs` | from a SIGBUS to the machine whose arena was touched |
//! | `segv.rs` | held accesses that are segmentation faults |
//! | `capabilities.rs` | what this kernel lets us do |
//! | `calls.rs` | counters |
//! | `error.rs` | errors that say where |
//! | `shared/` | another machine: memory that other processes share |
//!
//! What is absent: accessed bits (Linux gives none without a walk), and huge pages.

mod arena;
mod bits;
mod calls;
mod capabilities;
mod error;
mod evict;
mod heritage;
mod inline;
mod machine;
mod pool;
mod segv;
pub mod shared;
mod slots;

pub use calls::Calls;
pub use capabilities::Capabilities;
pub use error::{NewError, PageError, Verb};
pub use inline::{InlineHook, Resolved};
pub use machine::{Config, INLINE, LinuxMachine, THREAD};
