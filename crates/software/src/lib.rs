//! The software machine: x86-64's paging, with nothing under it.
//!
//! Page tables in the format of the processor, a TLB for each CPU, physical frames, and
//! programs' accesses one by one. Nothing waits and nothing is left to chance: the same
//! calls in the same order do the same, so a whole system can be driven step by step.
//!
//! ```text
//!            cpu 0        cpu 1                    driver
//!          load, store, fetch …              back, map, unmap …
//!              │            │                       │
//!          ┌───▼───┐    ┌───▼───┐    flush          │
//!          │  TLB  │    │  TLB  │ ◄─────────────────┤
//!          └───┬───┘    └───┬───┘                   │
//!              │ walk       │              ┌────────▼──────────┐
//!              └──────┬─────┘              │ tables of spaces  │
//!                     └───────────────────►│ PML4 ► … ► PT     │
//!   ┌──────────────────────────────────────┴───────────────────┴────┐
//!   │ physical memory: frames of the engine │ frames of tables       │
//!   └────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A fault is an answer: whoever drives the program serves it, and lets the program try
//! again. A TLB is believed as a processor believes its own: after a flush that somebody
//! forgot, programs read and write frames that belong to others, and a checker sees it.
//!
//! ```
//! use faultless_addr::*;
//! use faultless_machine::Machine;
//! use faultless_software::*;
//!
//! let machine = SoftwareMachine::new(Config::new(16));
//! let (cpu, space, at) = (CpuNo(0), SpaceId(0), VirtAddr(0x10_000));
//! let fault = machine.store(cpu, space, at, b"page").unwrap_err();
//! assert_eq!(fault.cause, Cause::Absent);
//!
//! machine.back(&[FrameNo(3)]).unwrap();
//! machine.map(space, at, &[FrameNo(3)], WriteAccess::Allowed).unwrap();
//! machine.store(cpu, space, at, b"page").unwrap();
//! assert!(machine.dirty(space, at));
//! ```
//!
//! | file | subject |
//! |---|---|
//! | `machine.rs` | [`SoftwareMachine`]: the verbs of the trait |
//! | `cpu.rs` | programs' accesses |
//! | `walk.rs` | from an address to a frame: TLB, tables, `A` and `D` |
//! | `tlb.rs` | what a CPU remembers |
//! | `entry.rs` | one entry of a table, bit by bit |
//! | `level.rs` | how an address names entries |
//! | `tables.rs` | trees of tables, and their frames |
//! | `map.rs` | translations come, change and go |
//! | `state.rs` | what the lock guards: spaces, and when to flush |
//! | `frames.rs` | where each frame is |
//! | `memory.rs` | bytes |
//! | `paging.rs` | the verbs beyond the trait |
//! | `inspect.rs`, `dump.rs`, `stats.rs` | looking at it |
//! | `fault.rs`, `error.rs` | what goes wrong |
//! | `config.rs` | how big it is |
//! | `elf/` | how a program's file says what to map where |
//!
//! What is absent: big and global pages, protection keys, five levels, the second level
//! of TLBs, caches of upper tables' entries, memory types, and a kernel's own accesses
//! (no program may touch a page without [`Rights::USER`]).

#![forbid(unsafe_code)]

mod config;
mod cpu;
mod dump;
pub mod elf;
pub mod entry;
mod error;
mod fault;
mod frames;
mod inspect;
pub mod level;
mod machine;
mod map;
mod memory;
mod paging;
mod state;
mod stats;
mod tables;
#[cfg(test)]
mod tests;
mod tlb;
mod walk;

#[cfg(any(test, feature = "canary"))]
pub use config::Canary;
pub use config::Config;
pub use cpu::CpuNo;
pub use entry::{Marker, Rights};
pub use error::MapError;
pub use fault::{Cause, PageFault, Stopped};
pub use frames::Place;
pub use inspect::{Stale, Translation};
pub use machine::SoftwareMachine;
pub use map::{DROPPED, UNREAD};
pub use stats::Stats;
