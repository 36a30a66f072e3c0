//! The board in this process's memory: which files may be served.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use faultless_protocol::{BOARD_BYTES, BOARD_SLOTS, BOARD_TOTAL, FileId, slot_of};

use crate::kernel::Mmap;

/// The counters, or null before there is a broker.
static BOARD: AtomicPtr<[AtomicU32; BOARD_SLOTS]> = AtomicPtr::new(ptr::null_mut());

fn board() -> Option<&'static [AtomicU32; BOARD_SLOTS]> {
    // SAFETY: 1. null, or memory of this size that `map` has mapped for good; 2. the broker
    // gives the memory its length before it gives it away, and never another one.
    unsafe { BOARD.load(Ordering::Acquire).as_ref() }
}

/// Maps it, in the place of the one before, which may be that of a broker that is gone.
pub(crate) fn map(fd: &OwnedFd) {
    let long_enough = rustix::fs::fstat(fd).is_ok_and(|stat| stat.st_size >= BOARD_BYTES as i64);
    if !long_enough {
        return;
    }
    let before = BOARD.load(Ordering::Acquire);
    let place = if before.is_null() { 0 } else { libc::MAP_FIXED };
    let (prot, flags) = (libc::PROT_READ, libc::MAP_SHARED | place);
    let (addr, fd) = (before.addr(), fd.as_raw_fd());
    let map = Mmap { addr, len: BOARD_BYTES, prot, flags, fd, offset: 0 };
    // SAFETY: 1. the kernel chooses an address where nothing is, or it is the board that was
    // mapped before; 2. who looks at it meanwhile sees the one or the other.
    if let Ok(start) = unsafe { map.call() } {
        BOARD.store(start as *mut _, Ordering::Release);
    }
}

/// May any file be served? Two loads.
pub(crate) fn may_serve_any() -> bool {
    board().is_some_and(|board| board[BOARD_TOTAL].load(Ordering::Acquire) != 0)
}

/// May this one be?
pub(crate) fn may_serve(file: FileId) -> bool {
    board().is_some_and(|board| board[slot_of(file)].load(Ordering::Acquire) != 0)
}
