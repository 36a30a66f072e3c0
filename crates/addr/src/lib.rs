//! Addresses, pages, frames and ranges as types.
//!
//! Every other crate of Faultless speaks in these words, so that a file offset
//! can't be passed where an address is meant, nor a page where a frame is:
//!
//! - a **page** is a slot in an object, named by its [`PageIndex`];
//! - a **frame** is one unit of real memory, named by its [`FrameNo`];
//! - an **address** is where a program sees a page, a [`VirtAddr`] in one space.
//!
//! Nothing here allocates, and nothing needs an operating system.

#![no_std]
#![forbid(unsafe_code)]

mod access;
mod frame;
mod page;
mod virt;

pub use access::{Access, Prot, WriteAccess};
pub use frame::{FrameNo, ObjectId, SpaceId};
pub use page::{ByteRange, PageIndex, PageRange};
pub use virt::{VirtAddr, VirtRange};

/// Base-2 logarithm of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;

/// Bytes in a page and in a frame.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;

/// [`PAGE_SIZE`] where file offsets and addresses are computed.
pub const PAGE_BYTES: u64 = PAGE_SIZE as u64;
