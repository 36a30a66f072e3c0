//! Writes: the broker does them where the file is served.

use std::ffi::{c_int, c_uint, c_void};

use faultless_client::files::{Durable, Place, publish_from, write as write_served};
use faultless_client::kernel::Answer;
use faultless_client::{Source, call};
use libc::{iovec, off_t, size_t, ssize_t};

use crate::{errno, next};

/// The broker's answer, or else the kernel's.
fn or_kernel(served: Option<Answer>, kernel: impl FnOnce() -> isize) -> isize {
    match served {
        Some(answer) => errno::answer(answer),
        None => kernel(),
    }
}

fn memory(start: *const c_void, len: usize) -> Source {
    Source::Memory { start: start as usize, len }
}

fn vectors(start: *const iovec, count: c_int) -> Option<Source> {
    let count = usize::try_from(count).ok().filter(|count| *count <= libc::UIO_MAXIOV as usize)?;
    Some(Source::Vectors { start: start as usize, count, done: 0 })
}

/// A place, unless the kernel is to refuse it.
fn at(offset: off_t) -> Option<Place> {
    (offset >= 0).then_some(Place::At(offset))
}

crate::hooks! {
    /// write(2).
    fn write(fd: c_int, from: *const c_void, len: size_t) -> ssize_t {
        let served = write_served(fd, memory(from, len), Place::Position, Durable::AsOpened);
        or_kernel(served, || {
            // SAFETY: the caller's promise is ours.
            unsafe { next::WRITE.call([fd as usize, from as usize, len, 0, 0, 0]) }
        })
    }

    /// pwrite(2).
    fn pwrite = pwrite64(fd: c_int, from: *const c_void, len: size_t, offset: off_t) -> ssize_t {
        let place = at(offset);
        let served = place
            .and_then(|place| write_served(fd, memory(from, len), place, Durable::AsOpened));
        or_kernel(served, || {
            let arguments = [fd as usize, from as usize, len, offset as usize, 0, 0];
            // SAFETY: the caller's promise is ours.
            unsafe { next::PWRITE.call(arguments) }
        })
    }

    /// writev(2).
    fn writev(fd: c_int, from: *const iovec, count: c_int) -> ssize_t {
        let served = vectors(from, count)
            .and_then(|source| write_served(fd, source, Place::Position, Durable::AsOpened));
        or_kernel(served, || {
            let arguments = [fd as usize, from as usize, count as usize, 0, 0, 0];
            // SAFETY: the caller's promise is ours.
            unsafe { next::WRITEV.call(arguments) }
        })
    }

    /// pwritev(2).
    fn pwritev = pwritev64(
        fd: c_int,
        from: *const iovec,
        count: c_int,
        offset: off_t,
    ) -> ssize_t {
        let served = at(offset).zip(vectors(from, count))
            .and_then(|(place, source)| write_served(fd, source, place, Durable::AsOpened));
        or_kernel(served, || {
            let arguments = [fd as usize, from as usize, count as usize, offset as usize, 0, 0];
            // SAFETY: the caller's promise is ours.
            unsafe { next::PWRITEV.call(arguments) }
        })
    }

    /// pwritev2(2); an offset of -1 is the position.
    fn pwritev2 = pwritev64v2(
        fd: c_int,
        from: *const iovec,
        count: c_int,
        offset: off_t,
        flags: c_int,
    ) -> ssize_t {
        let place = match offset {
            // The position, which then is the end.
            -1 if flags & libc::RWF_APPEND == 0 => Some(Place::Position),
            _ if flags & libc::RWF_APPEND != 0 => Some(Place::End),
            _ => at(offset),
        };
        let durable = match flags & (libc::RWF_SYNC | libc::RWF_DSYNC) {
            0 => Durable::AsOpened,
            _ => Durable::Yes,
        };
        let served = place.zip(vectors(from, count))
            .and_then(|(place, source)| write_served(fd, source, place, durable));
        or_kernel(served, || {
            // The system call has the offset in two halves, of which 64-bit machines see one.
            let (fd, count, flags) = (fd as usize, count as usize, flags as usize);
            let arguments = [fd, from as usize, count, offset as usize, 0, flags];
            // SAFETY: the caller's promise is ours.
            errno::answer(unsafe { call(libc::SYS_pwritev2, arguments) })
        })
    }

    /// sendfile(2).
    fn sendfile = sendfile64(to: c_int, from: c_int, offset: *mut i64, len: size_t) -> ssize_t {
        publish_from(from, offset as usize, len);
        let kernel = || {
            let arguments = [to as usize, from as usize, offset as usize, len, 0, 0];
            // SAFETY: the caller's promise is ours.
            unsafe { next::SENDFILE.call(arguments) }
        };
        // SAFETY: the caller's promise is ours.
        or_kernel(unsafe { copy(from, offset, to, None, len) }, kernel)
    }

    /// copy_file_range(2).
    fn copy_file_range(
        from: c_int,
        offset: *mut i64,
        to: c_int,
        to_offset: *mut i64,
        len: size_t,
        flags: c_uint,
    ) -> ssize_t {
        publish_from(from, offset as usize, len);
        let kernel = || {
            let arguments = [
                from as usize,
                offset as usize,
                to as usize,
                to_offset as usize,
                len,
                flags as usize,
            ];
            // SAFETY: the caller's promise is ours.
            unsafe { next::COPY_FILE_RANGE.call(arguments) }
        };
        if flags != 0 {
            return kernel();
        }
        // SAFETY: the caller's promise is ours.
        or_kernel(unsafe { copy(from, offset, to, Some(to_offset), len) }, kernel)
    }
}

/// Copies from a file to one that is served.
///
/// # Safety
/// The offsets are null or the caller's; the outer option is whether there is one at all.
unsafe fn copy(
    from: c_int,
    offset: *mut i64,
    to: c_int,
    to_offset: Option<*mut i64>,
    len: usize,
) -> Option<Answer> {
    if !faultless_client::files::is_served(to) {
        return None;
    }
    // SAFETY: by the caller's promise.
    let at = |offset: *mut i64| unsafe { offset.as_ref().copied() };
    let to_offset = to_offset.unwrap_or(std::ptr::null_mut());
    let place = at(to_offset).map_or(Place::Position, Place::At);
    let source = Source::File { fd: from, offset: at(offset), len };
    let answer = write_served(to, source, place, Durable::AsOpened)?;
    if let Ok(copied) = answer {
        for offset in [offset, to_offset] {
            // SAFETY: by the caller's promise.
            if let Some(offset) = unsafe { offset.as_mut() } {
                *offset += copied as i64;
            }
        }
    }
    Some(answer)
}
