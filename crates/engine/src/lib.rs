//! The virtual-memory system as bookkeeping and decisions (being written).
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod list;
mod policy;
mod space;
