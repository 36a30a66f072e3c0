//! A heap for memory that may fault: small requests from a segment that grows like
//! `brk(2)`'s, large ones as mappings of their own.
//!
//! ```text
//!   request     < 128 KiB                              ≥ 128 KiB
//!                   │ rounded up to a size class           │ rounded up to pages
//!                   ▼                                      ▼
//!   segment  │span│span│span    │free│free│──break··    │mapping│     │mapping│
//!             └┬─┘
//!              │■■□■□□■■□□□□│  64 KiB or more, cut into blocks of one class
//!
//!   elsewhere: for each 64 KiB of the segment a row in tables of ordinary memory,
//!   with a bit for each block
//! ```
//!
//! It is what C's `malloc` does (`brk` for little, `mmap` for much), with one
//! difference on purpose: no byte of bookkeeping is inside the memory that is given
//! out. That memory may be on disk, and touching it a fault; so allocating and
//! freeing touch none of it, and a page is brought in only when the program uses
//! what it asked for.
//!
//! Read in this order: [`Pages`] (where memory comes from), `class` (which block
//! for which request), `runs` (the segment's free parts), `blocks` (the blocks of a
//! span), [`Heap`].
//!
//! What is not here: caches for each thread, so that threads that allocate the same
//! sizes wait for each other; `free` without a size, for C; safety after `fork` while
//! other threads allocate.

#![no_std]
#![deny(unsafe_code)]

#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "allocator-api2")]
mod allocator;
mod blocks;
mod class;
mod global;
mod heap;
mod lock;
mod pages;
mod resize;
mod runs;
mod segment;

pub use heap::{Heap, Options, Stats};
pub use lock::{Alone, Lock};
pub use pages::{Pages, Place, Refused};

/// The segment is managed in units of this many bytes, and aligned to them.
pub const UNIT: usize = 64 << 10;
