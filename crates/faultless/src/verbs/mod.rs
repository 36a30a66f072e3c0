//! What `mmap(2)`'s relatives do to a mapping: one file for each call.
//!
//! | file | call |
//! |---|---|
//! | `protect` | mprotect |
//! | `advise` | madvise |
//! | `guard` | madvise with MADV_GUARD_INSTALL and _REMOVE |
//! | `lock` | mlock, munlock, MAP_POPULATE |
//! | `look` | mincore, /proc/PID/maps |
//! | `remap` | mremap |

pub(crate) mod advise;
mod guard;
mod lock;
mod look;
pub(crate) mod protect;
pub(crate) mod range;
mod remap;
