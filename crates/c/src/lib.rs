//! Faultless for C: mappings in the shapes of POSIX, and what POSIX has no shape for.
//!
//! | module | the functions |
//! |---|---|
//! | `vm` | a budget: `faultless_vm_new`, `faultless_vm_build`, `faultless_stats` |
//! | `map` | `faultless_mmap`, `faultless_munmap`, `faultless_mremap` |
//! | `verbs` | `faultless_msync`, `faultless_mprotect`, `faultless_madvise`, `faultless_mincore`, `faultless_mlock`, `faultless_munlock` |
//! | `pin` | `faultless_pin`, `faultless_prefetch` |
//! | `mapping`, `table` | what is mapped, and where |
//! | `error` | `errno`, and `faultless_error`, which says it in words |
//!
//! `include/faultless.h` is made of the comments here (`cargo xtask header`).

mod error;
mod map;
mod mapping;
mod pin;
mod table;
mod verbs;
mod vm;
