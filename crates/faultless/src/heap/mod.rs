//! A heap in memory that may be larger than the budget: for single collections
//! ([`VmHeap`]), or for all large allocations of a process ([`GlobalHeap`]).
//!
//! | file | subject |
//! |---|---|
//! | `mappings.rs` | addresses of a `Vm`, and what is paid for them |
//! | `pages.rs` | those as what the crate `faultless-heap` makes a heap of |
//! | `vm_heap.rs` | the heap and its options |
//! | `collections.rs` | it as `allocator_api2::alloc::Allocator` |
//! | `global.rs` | large allocations of a whole process, and why none waits for itself |

#[cfg(feature = "allocator-api2")]
mod collections;
mod global;
mod mappings;
mod pages;
#[cfg(feature = "allocator-api2")]
mod vm_heap;

pub use global::{GlobalHeap, unmanaged};
#[cfg(feature = "allocator-api2")]
pub use {
    faultless_heap::Stats as HeapStats,
    vm_heap::{HeapOptions, VmHeap},
};
