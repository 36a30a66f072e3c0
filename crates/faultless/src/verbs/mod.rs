//! What `mmap(2)`'s relatives do to a mapping: one file for each call.
//!
//! | file | call |
//! |---|---|
//! | `protect` | mprotect |
//! | `advise` | madvise |
//! | `remap` | mremap |

pub(crate) mod advise;
pub(crate) mod protect;
pub(crate) mod range;
mod remap;
