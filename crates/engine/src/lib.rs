//! The virtual-memory system as bookkeeping and decisions.
//!
//! The engine never touches a byte of a page, does no I/O, reads no clock and
//! never blocks. Whoever drives it calls a *verb* (a fault, a pin, a flush), gets
//! a [`Plan`] of what must now be done, does it, and *reports* what has ended:
//!
//! ```text
//!   driver ── fault(addr) ──────────► engine      state changes, plan grows
//!   driver ◄─ Waiting, plan: Read ──
//!   driver ── read_ended(run) ──────► engine
//!   driver ◄─ plan: Map ────────────
//!   driver ── mapped(frames) ───────► engine
//!   driver ◄─ plan: wake sleepers ──
//! ```
//!
//! Read in this order: [`frame`] (the states), [`fault`] (the cases), `settle`
//! and `report` (how a page goes on), [`reclaim`], [`writeback`], [`pin`], `mark`
//! (addresses that are errors).
//!
//! ```
//! use faultless_addr::*;
//! use faultless_engine::*;
//!
//! let bounds = VirtRange::new(VirtAddr(0x1000_0000), VirtAddr(0x2000_0000));
//! let mut engine = Engine::new(Config::new(16, vec![bounds]));
//! let file = engine.create(ObjectOptions::file(10_000, Rights::ReadOnly));
//! let range = engine.map_object(SpaceId(0), file, PageIndex(0), 3, Prot::READ).unwrap();
//!
//! let mut plan = Plan::new();
//! let outcome = engine.fault(SpaceId(0), range.start, Access::Read, Waiter::Machine, &mut plan);
//! assert!(matches!(outcome, Outcome::Waiting(_)));
//! assert!(matches!(plan.ops[..], [Op::Read { .. }]));
//! ```

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod account;
mod advise;
pub mod anon;
mod area;
mod around;
mod bars;
mod canary;
mod change;
mod check;
mod clear;
mod device;
mod engine;
pub mod fault;
mod fork;
pub mod frame;
mod heap;
mod inherit;
mod lease;
pub mod list;
mod look;
mod mark;
mod move_pages;
pub mod object;
pub mod pass;
pub mod pin;
pub mod plan;
pub mod policy;
mod promote;
pub mod reclaim;
mod report;
mod reserve;
mod resize;
mod rules;
mod settle;
mod shown;
mod signal;
pub mod space;
mod stats;
pub mod swap;
mod swapping;
mod sweep;
mod takes;
#[cfg(test)]
mod tests;
mod usage;
pub mod writeback;

pub use account::{Account, AccountId};
pub use canary::Canary;
pub use change::{InChange, Look};
pub use device::LendError;
pub use engine::{Addresses, Config, Engine, Joining, Leave, Losses, References, Scope, Stops};
pub use fault::{Outcome, Waiter};
pub use lease::{Enlarge, Lease};
pub use look::Residency;
pub use mark::Marked;
pub use move_pages::Remapped;
pub use object::readahead::Pattern;
pub use object::{
    Backing, ErrorsSeen, Failure, KeptError, Object, ObjectOptions, OnError, Rights, Writes,
};
pub use pin::{Pin, PinError, PinFor, PinStep};
pub use plan::{Leaver, Op, Plan, Run, Source, Span, Wakes};
pub use policy::{PageKey, PolicyKind};
pub use reclaim::Pressure;
pub use report::ReadEnd;
pub use resize::ResizedBy;
pub use signal::Signal;
pub use stats::Stats;
pub use writeback::FlushStep;

/// Time as the driver counts it, in milliseconds; it may wrap around.
pub type Tick = u32;
