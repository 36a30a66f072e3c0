//! fopen and freopen: a stream reads and writes by calls that are inside of the C library. So
//! what mappings have stored is in the file when one is opened, and where that truncates it,
//! the broker does.

use std::ffi::{c_char, c_int};

use faultless_client::call;
use faultless_client::files::publish_all;
use libc::FILE;

use crate::{next, size};

crate::hooks! {
    /// fopen(3).
    fn fopen = fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE {
        // SAFETY: the caller's promise is ours.
        unsafe { opened(path, mode, || next::fopen(path, mode)) }
    }

    /// freopen(3).
    fn freopen = freopen64(
        path: *const c_char,
        mode: *const c_char,
        stream: *mut FILE,
    ) -> *mut FILE {
        // SAFETY: the caller's promise is ours.
        unsafe { opened(path, mode, || next::freopen(path, mode, stream)) }
    }
}

/// Opens a stream, with the file at `path` as all see it.
///
/// # Safety
/// As fopen(3), for which `open` stands.
unsafe fn opened(
    path: *const c_char,
    mode: *const c_char,
    open: impl FnOnce() -> *mut FILE,
) -> *mut FILE {
    // SAFETY: 1. the path is the kernel's to look at; freopen may have none.
    if path.is_null() || !unsafe { size::names_served(libc::AT_FDCWD, path, 0) } {
        return open();
    }
    // SAFETY: 1. by the caller's promise the mode is a string.
    if unsafe { truncates(mode) } {
        let flags = libc::O_WRONLY | libc::O_TRUNC | libc::O_CLOEXEC;
        // SAFETY: 1. by the caller's promise.
        let fd = unsafe { size::open_at(libc::AT_FDCWD, path, flags, 0) };
        if fd >= 0 {
            // SAFETY: 1. the descriptor has just been made.
            let _ = unsafe { call(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) };
        }
    }
    let stream = open();
    if !stream.is_null() {
        // SAFETY: 1. it is a stream that has just been opened.
        let fd: c_int = unsafe { libc::fileno(stream) };
        publish_all(fd);
    }
    stream
}

/// `w`, and not only if the file is new (`x`).
///
/// # Safety
/// The mode is a string.
unsafe fn truncates(mode: *const c_char) -> bool {
    // SAFETY: by the caller's promise.
    let mode = unsafe { std::ffi::CStr::from_ptr(mode) }.to_bytes();
    mode.first() == Some(&b'w') && !mode.contains(&b'x')
}
