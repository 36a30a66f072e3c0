//! A program's side of the broker: its mappings and file calls, served from another process.
//!
//! The functions here take the place of system calls. Whatever isn't served they leave to
//! the kernel, which stays the authority on addresses: also a served mapping is one of its
//! mappings, of memory that the broker fills when a page is touched.
//!
//! They can be called anywhere a system call can: they allocate nothing, take one lock that
//! gives way to who has it already, and hold signals back while they have it.
//!
//! | module | subject |
//! |---|---|
//! | `map`, `advice` | mmap, munmap, mprotect, mremap; madvise, msync |
//! | `own` | private memory, where it is another thing than a file's |
//! | `mapping` | a mapping as a value |
//! | [`files`] | read, write, truncate and the like, on files that are mapped somewhere |
//! | `fork` | children |
//! | `enter`, `state` | the lock; the connection and the regions |
//! | `trace` | a line for each call, if somebody wants it |
//! | [`kernel`] | system calls as they are |
//!
//! ```
//! // Without a broker everything is as it is.
//! assert!(faultless_client::start(b"/nowhere/to/be/found").is_err());
//! assert_eq!(faultless_client::files::truncate(1, 0), None);
//! ```

#![deny(unsafe_code)]

mod advice;
mod array;
mod board;
mod connection;
mod descriptor;
mod enter;
pub mod files;
mod fork;
pub mod kernel;
mod map;
mod mapping;
mod own;
mod regions;
mod say;
mod source;
mod state;
mod trace;

pub use advice::{madvise, msync, posix_madvise};
pub use faultless_sys::Errno;
pub use faultless_sys::call::{IS_DIRECT, call};
pub use fork::{forked, register_handlers};
pub use map::{mmap, mprotect, mremap, munmap};
pub use mapping::{Hint, Mapping};
pub use say::{be_loud, tell_refusals};
pub use source::Source;
pub use state::{own_descriptors, start};
pub use trace::start_trace;
