//! fsync and its like, and close: what mappings have changed is in the file then.
//!
//! Descriptors that are ours are not the program's to close: it doesn't know of them, so
//! for a program that closes whatever there is, they aren't there.

use std::ffi::{c_int, c_uint};

use faultless_client::files::{settle, settle_before_close};
use faultless_client::{Errno, call, own_descriptors};

use crate::{errno, next};

crate::hooks! {
    /// fsync(2).
    fn fsync(fd: c_int) -> c_int {
        if let Err(errno) = settle(fd) {
            return errno::answer(Err(errno));
        }
        // SAFETY: the caller's promise is ours.
        unsafe { next::FSYNC.call_int([fd as usize, 0, 0, 0, 0, 0]) }
    }

    /// fdatasync(2).
    fn fdatasync(fd: c_int) -> c_int {
        if let Err(errno) = settle(fd) {
            return errno::answer(Err(errno));
        }
        // SAFETY: the caller's promise is ours.
        unsafe { next::FDATASYNC.call_int([fd as usize, 0, 0, 0, 0, 0]) }
    }

    /// sync_file_range(2).
    fn sync_file_range(fd: c_int, offset: i64, len: i64, flags: c_uint) -> c_int {
        if let Err(errno) = settle(fd) {
            return errno::answer(Err(errno));
        }
        let arguments = [fd as usize, offset as usize, len as usize, flags as usize, 0, 0];
        // SAFETY: the caller's promise is ours.
        unsafe { next::SYNC_FILE_RANGE.call_int(arguments) }
    }

    /// close(2).
    fn close(fd: c_int) -> c_int {
        if fd >= 0 && own_descriptors().contains(&fd) {
            return errno::answer(Err(Errno::BADF));
        }
        settle_before_close(fd);
        // SAFETY: the caller's promise is ours.
        unsafe { next::CLOSE.call_int([fd as usize, 0, 0, 0, 0, 0]) }
    }

    /// close_range(2), in the parts between ours.
    fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
        errno::answer(close_around(first, last, flags as c_uint))
    }

    /// closefrom(3).
    fn closefrom(first: c_int) -> () {
        let _ = close_around(first.max(0) as c_uint, c_uint::MAX, 0);
    }
}

/// closes `first` to `last`, but for our own.
pub fn close_around(first: c_uint, last: c_uint, flags: c_uint) -> Result<usize, Errno> {
    let close = |first: c_uint, last: c_uint| {
        let arguments = [first as usize, last as usize, flags as usize, 0, 0, 0];
        // SAFETY: 1. it closes what the program has said, and touches no memory.
        unsafe { call(libc::SYS_close_range, arguments) }
    };
    let mut from = first;
    for ours in own_descriptors() {
        let Ok(ours) = c_uint::try_from(ours) else { continue };
        if !(from..=last).contains(&ours) {
            continue;
        }
        if from < ours {
            close(from, ours - 1)?;
        }
        from = ours + 1;
    }
    // What is asked wrongly is refused even where nothing would be left.
    if from > last && first <= last { Ok(0) } else { close(from, last) }
}
