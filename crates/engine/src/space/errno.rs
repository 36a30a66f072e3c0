//! The error numbers of Linux that address spaces answer with.
//!
//! Every error enum of this module has an `errno()` that says which of them a program
//! sees. The engine knows no operating system, so the numbers are written here; they are
//! those of x86-64 and of all machines that came after it.

/// Not allowed to this caller, or forbidden for good.
pub const EPERM: i32 = 1;
/// Locked memory is at its limit; or, from `madvise`, there may be no more areas.
pub const EAGAIN: i32 = 11;
/// No room, no more areas, a limit, or a hole where something should be mapped.
pub const ENOMEM: i32 = 12;
/// The area may never have these rights.
pub const EACCES: i32 = 13;
/// The old range of `mremap` is not one area.
pub const EFAULT: i32 = 14;
/// Locked pages can't be invalidated.
pub const EBUSY: i32 = 16;
/// Something is at the address already.
pub const EEXIST: i32 = 17;
/// An argument makes no sense.
pub const EINVAL: i32 = 22;
/// A file has no pages so far up.
pub const EOVERFLOW: i32 = 75;
