//! Memory mapping in user space: real pointers into files far bigger than memory,
//! under a budget that holds, with errors that are values.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut temp = tempfile::NamedTempFile::new()?;
//! # std::io::Write::write_all(&mut temp, &[7; 100_000])?;
//! # let path = temp.path();
//! let vm = faultless::Vm::with_memory(8 << 20)?; // 8 MiB, whatever is mapped
//! let file = std::fs::File::open(path)?;
//! let map = faultless::MapOptions::new().map_raw(&vm, &file)?;
//!
//! let header = map.pin(0, 16)?; // a safe &[u8]; an I/O error is an `Err`
//! assert_eq!(header[0], 7);
//!
//! let pointer = map.as_ptr(); // a plain pointer to the whole file
//! // SAFETY: the offset is within the map; bytes of a file may change at any time.
//! let byte = unsafe { pointer.add(99_999).read_volatile() };
//! assert_eq!(byte, 7);
//! # Ok(())
//! # }
//! ```
//!
//! - [`Vm`] is a budget of memory and the threads that keep it.
//! - [`MapOptions`] make a [`MapRaw`] (pointers, pins, reads and writes: all safe but
//!   the pointers), a [`Map`] (also `&[u8]`) or a [`MapMut`] (also `&mut [u8]`).
//! - [`Pinned`] bytes are in memory and stay as they are while the pin lives.
//! - [`Memory`] is anonymous memory beyond the budget. Allocators of such memory are
//!   `VmHeap`, for single collections, and [`GlobalHeap`], for a whole process.
//!
//! - [`Vm::connect`] gives mappings by way of a broker, which processes share.
//! - [`SharedMemory`] is memory without a file that several maps show.
//! - [`OnFork`] says what forked children have.
//!
//! What a plain pointer does where `mmap(2)` would do the same: it waits for the page.
//! What it does beyond the end of the file, or where the page can't be read: SIGBUS,
//! or zeros and a kept error, as [`MapOptions::on_error`] says.

#![deny(unsafe_code)]

mod bytes;
mod catalog;
mod connected;
mod copy;
mod error;
mod fork;
mod heap;
pub mod host;
mod map;
mod mapping;
mod memory;
mod options;
mod pin;
mod raw;
mod reader;
mod reservation;
mod shared;
mod swap;
mod verbs;
mod vm;

pub use connected::{Connected, ConnectedMap};
pub use copy::MapCopy;
pub use error::Error;
pub use faultless_engine::{OnError, Pattern, PolicyKind, Stats};
pub use faultless_pager::{FaultyPager, MemoryPager, Pager};
pub use fork::OnFork;
pub use heap::{GlobalHeap, unmanaged};
#[cfg(feature = "allocator-api2")]
pub use heap::{HeapOptions, HeapStats, VmHeap};
pub use map::{Map, MapMut};
pub use memory::Memory;
pub use options::{Delivery, MapOptions};
pub use pin::{Pinned, PinnedMut, PinnedRef};
pub use raw::MapRaw;
pub use reader::Reader;
pub use reservation::{Over, Reservation};
pub use shared::SharedMemory;
pub use verbs::advise::Advice;
pub use verbs::protect::Protection;
pub use vm::{Vm, VmBuilder};

/// Pagers with faults to order, for tests of what happens when storage fails.
pub mod testing {
    pub use faultless_pager::{Effect, Fault, FaultId, FaultyPager, MemoryPager, Operation, Times};
}

/// The result of calls of this crate.
pub type Result<T> = std::result::Result<T, Error>;
