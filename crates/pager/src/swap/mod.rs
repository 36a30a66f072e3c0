//! Swap areas: backings for pages that have no file of their own.
//!
//! Slot `n` of an area is its page `n`: bytes `n * 4096 ..`. Who holds which slot
//! is the engine's business (`faultless_engine::swap`). A slot that was never
//! written, or was punched, reads as zeros, as the [`Pager`](crate::Pager) trait
//! has it; asking for one is no error here, because only the engine knows what was
//! written.
//!
//! - [`SwapFile`]: each slot is a page of an unlinked file.
//! - `CompressedSwap` (feature `lz4`): pages compressed into pieces of 512 bytes.
//! - [`InheritedSwap`]: such an area, and those of the processes that this one was forked
//!   from.
//! - [`ObjectSwap`]: one object's pages in slots of an area that others use, too.

mod area;
#[cfg(feature = "lz4")]
mod codec;
#[cfg(feature = "lz4")]
mod compressed;
#[cfg(feature = "lz4")]
mod extents;
mod file;
mod inherited;
mod object;
#[cfg(feature = "lz4")]
mod slabs;

pub use area::SwapArea;
#[cfg(feature = "lz4")]
pub use compressed::CompressedSwap;
pub use file::SwapFile;
pub use inherited::InheritedSwap;
pub use object::{ObjectSwap, Slots};
