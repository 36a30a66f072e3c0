//! The memory side of a small operating system: Linux's calls, errno by errno, on the
//! engine and the software machine.
//!
//! ```text
//!   processes' loads, stores            mmap, munmap, mprotect, pread …
//!             │                                     │ verbs/, one file per verb
//!             ▼                                     ▼
//!   user: page by page ──fault──► driver ◄── files: the page cache, written and read
//!                                   │ plans, carried out at once
//!                    ┌──────────────┼────────────────┐
//!                    ▼              ▼                ▼
//!                 engine     SoftwareMachine    in-memory files, swap
//! ```
//!
//! Everything happens at once and in order: a plan is carried out before anybody goes on,
//! and reading a file takes no time. What is left to chance is nothing, so the same calls
//! give the same answers. Memory is short on purpose ([`Config::frames`]): pages are
//! evicted, written, swapped out and read back all the time, and no program may notice.
//!
//! ```
//! use faultless_posix::{Config, MapFlags, Mmap, System};
//!
//! let (mut system, init) = System::new(Config::new(16));
//! let call = Mmap { len: 8192, prot: 3, flags: MapFlags::PRIVATE | MapFlags::ANONYMOUS, ..Mmap::default() };
//! let at = system.mmap(init, call).unwrap();
//! system.store(init, at.0 + 4094, b"page").unwrap();
//! let child = system.fork(init).unwrap();
//! let mut seen = [0; 4];
//! system.load(child, at.0 + 4094, &mut seen).unwrap();
//! assert_eq!(&seen, b"page");
//! ```
//!
//! | file | subject |
//! |---|---|
//! | `system.rs`, `config.rs` | all there is, and how it begins |
//! | `driver.rs` | plans carried out, faults served |
//! | `user.rs` | what programs do, and system calls that touch their memory |
//! | `device.rs` | drivers that map memory of their own |
//! | `file.rs`, `cache.rs` | files' bytes, and the kernel's own look at them |
//! | `process.rs`, `flags.rs`, `errno.rs` | descriptors, and Linux's numbers |
//! | `look.rs` | what is to be seen of all that; time and pressure |
//! | `verbs/` | the calls |
//!
//! Where no frame can be had, because all pages are locked or swap is full, a call that
//! brings pages in is ENOMEM and an access is SIGKILL ([`Trouble::NoMemory`]); so is a lock
//! on more than fits, where Linux lets the OOM killer choose.
//!
//! What is absent: time, more than one program running at once, and huge pages.

#![forbid(unsafe_code)]

mod cache;
mod config;
mod device;
mod driver;
mod errno;
mod file;
mod flags;
mod look;
mod process;
mod system;
mod user;
mod verbs;

pub use config::{Config, ExecOnly, Locked};
pub use device::{Asked, Device, DeviceMemory, Mapping, Tty};
pub use errno::Errno;
pub use file::Store;
pub use flags::{FallocFlags, MapFlags, OpenFlags, SyncFlags};
pub use look::{Io, Traffic};
pub use process::{Node, Pid};
pub use system::{Shows, System};
pub use user::{Signal, Trouble};
pub use verbs::{Mmap, Presence, Started};
