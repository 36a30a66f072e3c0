//! truncate and fallocate, and open where it truncates.

use std::ffi::{c_char, c_int, c_long};

use faultless_client::files::{allocate, may_any_be_served, may_be_served, truncate as cut};
use faultless_client::{Errno, call};
use libc::{mode_t, off_t};

use crate::{errno, next};

crate::hooks! {
    /// ftruncate(2).
    fn ftruncate = ftruncate64(fd: c_int, size: off_t) -> c_int {
        // SAFETY: 1. it touches no memory.
        let kernel = || unsafe { call(libc::SYS_ftruncate, [fd as usize, size as usize, 0, 0, 0, 0]) };
        errno::answer(cut(fd, size).unwrap_or_else(kernel))
    }

    /// truncate(2).
    fn truncate = truncate64(path: *const c_char, size: off_t) -> c_int {
        // SAFETY: 1. the path is the kernel's to look at.
        if unsafe { names_served(libc::AT_FDCWD, path, 0) }
            // SAFETY: as above.
            && let Some(cut) = unsafe { cut_at(libc::AT_FDCWD, path, size) }
        {
            return errno::answer(cut);
        }
        // SAFETY: as above.
        errno::answer(unsafe { call(libc::SYS_truncate, [path as usize, size as usize, 0, 0, 0, 0]) })
    }

    /// fallocate(2).
    fn fallocate = fallocate64(fd: c_int, mode: c_int, offset: off_t, len: off_t) -> c_int {
        if let Some(answer) = allocate(fd, mode, offset, len) {
            return errno::answer(answer);
        }
        let arguments = [fd as usize, mode as usize, offset as usize, len as usize, 0, 0];
        // SAFETY: the caller's promise is ours.
        unsafe { next::FALLOCATE.call_int(arguments) }
    }

    /// posix_fallocate(3), which answers an errno.
    fn posix_fallocate = posix_fallocate64(fd: c_int, offset: off_t, len: off_t) -> c_int {
        match allocate(fd, 0, offset, len) {
            Some(Ok(_)) => 0,
            // The C library writes zeros where a file system can't; so it shall.
            Some(Err(Errno::OPNOTSUPP)) | None => {
                // SAFETY: the caller's promise is ours.
                unsafe { next::posix_fallocate(fd, offset, len) }
            }
            Some(Err(errno)) => errno.raw_os_error(),
        }
    }

    /// open(2). The mode is there only if the flags say so; else what is in its register is
    /// not looked at.
    fn open = open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
        // SAFETY: the caller's promise is ours.
        unsafe { openat(libc::AT_FDCWD, path, flags, mode) }
    }

    /// openat(2).
    fn openat = openat64(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
        // SAFETY: the caller's promise is ours.
        unsafe { open_at(dir, path, flags, mode) }
    }

    /// open(2), fortified: without a mode.
    fn __open_2 = __open64_2(path: *const c_char, flags: c_int) -> c_int {
        // SAFETY: the caller's promise is ours.
        unsafe { openat(libc::AT_FDCWD, path, flags, 0) }
    }

    /// openat(2), fortified: without a mode.
    fn __openat_2 = __openat64_2(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
        // SAFETY: the caller's promise is ours.
        unsafe { openat(dir, path, flags, 0) }
    }

    /// creat(2).
    fn creat = creat64(path: *const c_char, mode: mode_t) -> c_int {
        let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
        // SAFETY: the caller's promise is ours.
        unsafe { openat(libc::AT_FDCWD, path, flags, mode) }
    }
}

/// Opens; where that would truncate a served file, it is the broker who does it.
///
/// # Safety
/// As openat(2).
pub unsafe fn open_at(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    let open = |flags: c_int| {
        let arguments = [dir as usize, path as usize, flags as usize, mode as usize, 0, 0];
        // SAFETY: the caller's promise is ours.
        unsafe { next::OPENAT.call_int(arguments) }
    };
    let follow = if flags & libc::O_NOFOLLOW != 0 { libc::AT_SYMLINK_NOFOLLOW } else { 0 };
    let new_only = libc::O_CREAT | libc::O_EXCL;
    let truncates = flags & libc::O_TRUNC != 0
        && flags & libc::O_PATH == 0
        && flags & new_only != new_only
        && flags & libc::O_ACCMODE != libc::O_RDONLY;
    // SAFETY: 1. the path is the kernel's to look at.
    if !truncates || !unsafe { names_served(dir, path, follow) } {
        return open(flags);
    }
    let fd = open(flags & !libc::O_TRUNC);
    if fd < 0 {
        return fd;
    }
    // SAFETY: 1. it touches no memory.
    let kernel = || unsafe { call(libc::SYS_ftruncate, [fd as usize, 0, 0, 0, 0, 0]) };
    match cut(fd, 0).unwrap_or_else(kernel) {
        Ok(_) => fd,
        Err(errno) => {
            // SAFETY: 1. the descriptor has just been made.
            let _ = unsafe { call(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) };
            errno::answer(Err(errno))
        }
    }
}

/// May the file at `path` be served?
///
/// # Safety
/// The path may be anything, as the kernel looks at it.
pub unsafe fn names_served(dir: c_int, path: *const c_char, flags: c_int) -> bool {
    if !may_any_be_served() {
        return false;
    }
    // SAFETY: 1. all-zero bytes are a value of this C structure.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    let arguments = [dir as usize, path as usize, &raw mut stat as usize, flags as usize, 0, 0];
    // SAFETY: 1. the kernel writes a structure that is ours; 2. on 64-bit machines that is
    // the C library's `stat`.
    let found = unsafe { call(libc::SYS_newfstatat, arguments) };
    found.is_ok() && may_be_served(stat.st_dev, stat.st_ino)
}

/// truncate(2) of a served file, by a descriptor; `None` if the kernel is to do it, or to
/// refuse it.
///
/// # Safety
/// The path may be anything, as the kernel looks at it.
unsafe fn cut_at(dir: c_int, path: *const c_char, size: off_t) -> Option<Result<usize, Errno>> {
    let flags = libc::O_WRONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    let number: c_long = libc::SYS_openat;
    let arguments = [dir as usize, path as usize, flags as usize, 0, 0, 0];
    // SAFETY: 1. as this function's.
    let fd = unsafe { call(number, arguments) }.ok()?;
    let answer = cut(fd as c_int, size);
    // SAFETY: 1. the descriptor has just been made.
    let _ = unsafe { call(libc::SYS_close, [fd, 0, 0, 0, 0, 0]) };
    answer
}
