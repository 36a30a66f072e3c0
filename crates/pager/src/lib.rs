//! Pagers: each reads and writes the pages of one backing.
//!
//! A pager knows offsets and bytes. It knows nothing of addresses, frames or
//! policies, holds no cache, and may take as long as it needs: nobody holds a
//! lock while calling it.
//!
//! | pager | its backing |
//! |---|---|
//! | [`FilePager`] | a regular file or a block device, past the kernel's page cache where it can |
//! | [`MemoryPager`] | bytes in this process, for tests and scratch |
//! | [`SwapFile`] | an unlinked file, for pages that have no file of their own |
//! | `CompressedSwap` | the same with lz4 (feature `lz4`) |
//! | [`InheritedSwap`] | one of the two, and those of the processes that this one was forked from |
//! | [`ObjectSwap`] | slots of one of these, for shared memory without a file |
//! | [`FaultyPager`] | another pager, failing by a script that a test writes |

#![forbid(unsafe_code)]

mod descriptor;
mod faulty;
mod file;
mod memory;
mod open;
mod pager;
mod swap;
mod transfer;

pub use descriptor::name_of;
pub use faulty::{Effect, Fault, FaultId, FaultyPager, Operation, Times};
pub use file::FilePager;
pub use memory::MemoryPager;
pub use open::{FileId, IoMode, OpenError, Rights, Unmappable};
pub use pager::{Direct, Direction, PAGE_SIZE, Pager, Shrunk};
#[cfg(feature = "lz4")]
pub use swap::CompressedSwap;
pub use swap::{InheritedSwap, ObjectSwap, Slots, SwapArea, SwapFile};
