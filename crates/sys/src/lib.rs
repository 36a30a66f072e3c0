//! Thin system calls: what Faultless needs of Linux and `std` doesn't give.
//!
//! | module | subject |
//! |---|---|
//! | [`uffd`] | userfaultfd: descriptors, filling and moving pages, reading faults |
//! | [`memory`] | reservations of addresses, dropping pages in batches |
//! | [`shared`] | memory that several processes map |
//! | [`ring`] | io_uring: reads, writes and polls with a token each |
//! | [`signal`] | the one SIGBUS hook of the process, chained to what was there before |
//! | [`raise`] | a SIGSEGV or SIGBUS for another thread, with its code and address |
//! | [`fork`] | what a forked child sees of addresses that it must not use |
//! | [`child`] | a forked child that goes on in this program |
//! | [`thread`] | threads that a forked child can start |
//! | [`counter`] | how many system calls there are, for measurements |
//! | [`step`] | how many instructions, in a child that is stepped |
//! | [`file_limit`] | `RLIMIT_FSIZE`, which memory files are under as well |
//! | [`process`] | thread ids, event descriptors, limits, resident memory |
//! | [`call`](mod@call) | a system call by its number, past the C library |
//! | [`awake`](mod@awake) | waiting without sleep, for what comes at once |
//!
//! Nothing here decides anything. Errors are `Errno`, except where a person has
//! to read them. Together with `faultless-linux` and the preload library this is
//! the only place with `unsafe`.

pub mod awake;
pub mod call;
pub mod child;
pub mod counter;
pub mod file_limit;
pub mod fork;
pub mod memory;
pub mod process;
pub mod raise;
pub mod ring;
pub mod shared;
pub mod signal;
pub mod step;
pub mod thread;
pub mod uffd;

pub use rustix::io::Errno;

/// The result of the system call that has just failed.
fn last_errno() -> Errno {
    // `Errno` is never 0 here: the call has reported a failure.
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
