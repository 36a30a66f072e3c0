//! Faultless held against Linux: who judges, and how it is told.
//!
//! ```text
//!   random calls ─┐            ┌─► Faultless: posix on engine and software machine
//!                 ├─► a Pair ──┼─► the kernel that this runs on
//!   the checklist ┘            └─► the model
//! ```
//!
//! | module | subject |
//! |---|---|
//! | [`faultless`] | Faultless as a system of the oracle |
//! | [`differ`] | random calls, until two differ or all are done |
//! | [`table`] | the checklist, line by line, on all three |
//! | [`support`] | README's table of Linux's calls |
//!
//! ```
//! use faultless_judge::{Budget, differ};
//!
//! // 300 calls of seed 7, with so little memory that everything is swapped in and out.
//! let make = |world| Ok(Budget::Few.make(world));
//! let make = faultless_oracle::differ::beside_model(make);
//! let (ended, found) = faultless_oracle::differ::episode(make, 7, 300)?;
//! assert!(found.is_none(), "{}", found.unwrap());
//! assert_eq!(ended.calls, 300);
//! # Ok::<(), std::io::Error>(())
//! ```

#![forbid(unsafe_code)]

pub mod differ;
pub mod faultless;
pub mod support;
pub mod table;

use faultless::Faultless;
use faultless_oracle::system::World;

/// How much memory Faultless has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Budget {
    /// 24 frames: less than most runs have in use, so everything leaves and comes back.
    Few,
    /// 2048 frames: more than anybody uses.
    Many,
}

impl Budget {
    /// Frames.
    pub fn frames(self) -> u32 {
        match self {
            Budget::Few => 24,
            Budget::Many => 2048,
        }
    }

    /// Faultless with that much memory.
    pub fn make(self, world: World) -> Faultless {
        Faultless::new(world, self.frames())
    }
}
