//! A simulator: processes on the software machine, the engine, and a slow model.
//!
//! A seed decides everything: what processes do, and in which order the operations
//! of plans are carried out, so that one seed is one run, for ever. Every few steps
//! checkers look for what must never be.
//!
//! ```text
//!   World ── steps ──► access, verb, task, reclaim          (chosen by the seed)
//!     │ faults, verbs                       │ what a program sees
//!     ▼                                     ▼
//!   Engine ── plans ──► tasks ──► SoftwareMachine ══ compared with ══ Model
//!                         └─────► backings: files, swap
//! ```
//!
//! There are two worlds, of every other seed each ([`Kind`]): *processes*, whose
//! operations are carried out one by one in any order, and *threads* of one process, each
//! of which carries its plans out step by step, as on Linux.
//!
//! | | processes | threads |
//! |---|---|---|
//! | mmap of files and anonymous memory, shared and private; munmap | yes | yes |
//! | maps over maps, fixed addresses, rights, mprotect, brk, mlock | yes | no |
//! | mremap: grow, shrink, move, FIXED over several areas, DONTUNMAP, old size 0 | yes | no |
//! | guards, DONTNEED, FREE, PAGEOUT, COLD, WILLNEED, POPULATE, for forks | yes | DONTNEED |
//! | fork, exit, up to four processes over the same files | yes | no |
//! | truncate, holes, collapse, insert; read and write by the cache; msync | yes | write-back |
//! | crash: sectors since the last sync are there or not; restart | yes | no |
//! | pagers that fail, come up short, tear what they write, and stall | yes | yes |
//! | swap that fills: a process is killed | yes | no |
//! | a machine that shows a frame at one address, or at many | both | one |
//! | second chances by faults, or by accessed bits | both | faults |
//! | several threads in one space; an operation apart from its report | no | yes |
//! | pages that somebody's I/O holds in place; reads handed to handlers | no | yes |
//! | held threads (`Waiter::Machine`), errors at addresses | yes | no |
//! | pins, `on_error(Zeros)`, granules, limits of objects: see `engine/src/tests` | no | no |
//! | seals, `remap_file_pages`, stacks that grow, devices, limits: see the differential tester | no | no |
//!
//! Checkers, each in its file, look at: frames and slots, which add up; engine and
//! machine, which show the same pages with the same rights; TLBs, which remember nothing
//! that has gone (`check`, `threads/check`); every byte that a program loads, and every
//! file that is flushed, which equal the model (`access`, `verbs/files`); a file after a
//! crash, which has what was synced (`crash`); dirty pages, which are not dropped, and
//! pages that are being written or copied, which don't change (`tasks`, `threads/steps`);
//! threads, all of which are woken (`threads/schedule`).
//!
//! ```
//! faultless_sim::run(faultless_sim::Options::new(1));
//! ```

#![forbid(unsafe_code)]

mod access;
mod backing;
mod check;
mod crash;
mod model;
mod tally;
mod tasks;
mod threads;
mod verbs;
mod world;

pub use tally::Tally;
#[cfg(feature = "canary")]
pub use world::Bug;
pub use world::{Kind, Options, run};
