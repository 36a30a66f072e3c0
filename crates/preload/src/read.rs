//! Reads: what mappings have changed is in the file first.

use std::ffi::{c_int, c_uint, c_void};

use faultless_client::call;
use faultless_client::files::{Place, publish, publish_from, publish_vectors};
use libc::{iovec, off_t, size_t, ssize_t};

use crate::{errno, next};

// SAFETY: 1. the declaration is that of the C library.
unsafe extern "C" {
    /// What fortified functions do when a program asks for more than its buffer holds.
    fn __chk_fail() -> !;
}

crate::hooks! {
    /// read(2).
    fn read(fd: c_int, into: *mut c_void, len: size_t) -> ssize_t {
        publish(fd, Place::Position, len);
        // SAFETY: the caller's promise is ours.
        unsafe { next::READ.call([fd as usize, into as usize, len, 0, 0, 0]) }
    }

    /// read(2), fortified.
    fn __read_chk(fd: c_int, into: *mut c_void, len: size_t, room: size_t) -> ssize_t {
        if len > room {
            // SAFETY: 1. it takes nothing, and ends the process.
            unsafe { __chk_fail() };
        }
        // SAFETY: the caller's promise is ours.
        unsafe { read(fd, into, len) }
    }

    /// pread(2).
    fn pread = pread64(fd: c_int, into: *mut c_void, len: size_t, offset: off_t) -> ssize_t {
        publish(fd, Place::At(offset), len);
        // SAFETY: the caller's promise is ours.
        unsafe { next::PREAD.call([fd as usize, into as usize, len, offset as usize, 0, 0]) }
    }

    /// pread(2), fortified.
    fn __pread_chk = __pread64_chk(
        fd: c_int,
        into: *mut c_void,
        len: size_t,
        offset: off_t,
        room: size_t,
    ) -> ssize_t {
        if len > room {
            // SAFETY: 1. it takes nothing, and ends the process.
            unsafe { __chk_fail() };
        }
        // SAFETY: the caller's promise is ours.
        unsafe { pread(fd, into, len, offset) }
    }

    /// readv(2).
    fn readv(fd: c_int, vectors: *const iovec, count: c_int) -> ssize_t {
        publish_vectors(fd, Place::Position, vectors as usize, count as usize);
        // SAFETY: the caller's promise is ours.
        unsafe { next::READV.call([fd as usize, vectors as usize, count as usize, 0, 0, 0]) }
    }

    /// preadv(2).
    fn preadv = preadv64(
        fd: c_int,
        vectors: *const iovec,
        count: c_int,
        offset: off_t,
    ) -> ssize_t {
        publish_vectors(fd, Place::At(offset), vectors as usize, count as usize);
        let arguments = [fd as usize, vectors as usize, count as usize, offset as usize, 0, 0];
        // SAFETY: the caller's promise is ours.
        unsafe { next::PREADV.call(arguments) }
    }

    /// preadv2(2); an offset of -1 is the position.
    fn preadv2 = preadv64v2(
        fd: c_int,
        vectors: *const iovec,
        count: c_int,
        offset: off_t,
        flags: c_int,
    ) -> ssize_t {
        let place = if offset == -1 { Place::Position } else { Place::At(offset) };
        publish_vectors(fd, place, vectors as usize, count as usize);
        // The system call has the offset in two halves, of which 64-bit machines see one.
        let (fd, count, flags) = (fd as usize, count as usize, flags as usize);
        let arguments = [fd, vectors as usize, count, offset as usize, 0, flags];
        // SAFETY: the caller's promise is ours.
        errno::answer(unsafe { call(libc::SYS_preadv2, arguments) })
    }

    /// splice(2), of which only the side that is read is seen to.
    fn splice(
        from: c_int,
        offset: *mut i64,
        to: c_int,
        to_offset: *mut i64,
        len: size_t,
        flags: c_uint,
    ) -> ssize_t {
        publish_from(from, offset as usize, len);
        let arguments =
            [from as usize, offset as usize, to as usize, to_offset as usize, len, flags as usize];
        // SAFETY: the caller's promise is ours.
        unsafe { next::SPLICE.call(arguments) }
    }
}
