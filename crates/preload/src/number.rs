//! `syscall`: system calls by number, of which some are ours.

use std::ffi::{c_int, c_long, c_uint, c_void};

use faultless_client as client;

use crate::{errno, memory, read, settle, size, write};

crate::hooks! {
    /// syscall(2). It takes as many arguments as the call has; what is in the registers of
    /// others, or in their place on the stack, is handed on and not looked at.
    fn syscall(
        number: c_long,
        a: usize,
        b: usize,
        c: usize,
        d: usize,
        e: usize,
        f: usize,
    ) -> c_long {
        // SAFETY: the caller's promise is ours.
        unsafe { ours(number, [a, b, c, d, e, f]) }.unwrap_or_else(|| {
            // SAFETY: the caller's promise is ours.
            errno::answer(unsafe { client::call(number, [a, b, c, d, e, f]) })
        })
    }
}

/// The calls that are ours.
///
/// # Safety
/// As the system call with this number.
unsafe fn ours(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> Option<c_long> {
    let (fd, pointer) = (a as c_int, b as *mut c_void);
    let forks = match number {
        // A copy of the memory, that goes on on a copy of this stack.
        libc::SYS_clone => a & libc::CLONE_VM as usize == 0 && b == 0,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork => true,
        _ => false,
    };
    if forks {
        // SAFETY: the caller's promise is ours.
        let call = || unsafe { client::call(number, [a, b, c, d, e, f]) };
        return Some(errno::answer(client::forked(call)));
    }
    // SAFETY: 1. each function has the parameters of the system call, in their order, but
    // for those said otherwise; the rest is the caller's promise.
    Some(unsafe {
        match number {
            libc::SYS_mmap => {
                let offset = f as i64;
                memory::mmap(a as *mut _, b, c as c_int, d as c_int, e as c_int, offset) as c_long
            }
            libc::SYS_munmap => memory::munmap(a as *mut _, b).into(),
            libc::SYS_mprotect => memory::mprotect(a as *mut _, b, c as c_int).into(),
            libc::SYS_mremap => {
                memory::mremap(a as *mut _, b, c, d as c_int, e as *mut _) as c_long
            }
            libc::SYS_madvise => memory::madvise(a as *mut _, b, c as c_int).into(),
            libc::SYS_msync => memory::msync(a as *mut _, b, c as c_int).into(),
            libc::SYS_read => read::read(fd, pointer, c) as c_long,
            libc::SYS_pread64 => read::pread(fd, pointer, c, d as i64) as c_long,
            libc::SYS_readv => read::readv(fd, b as *const _, c as c_int) as c_long,
            libc::SYS_preadv => read::preadv(fd, b as *const _, c as c_int, d as i64) as c_long,
            libc::SYS_write => write::write(fd, pointer, c) as c_long,
            libc::SYS_pwrite64 => write::pwrite(fd, pointer, c, d as i64) as c_long,
            libc::SYS_writev => write::writev(fd, b as *const _, c as c_int) as c_long,
            libc::SYS_pwritev => write::pwritev(fd, b as *const _, c as c_int, d as i64) as c_long,
            libc::SYS_sendfile => write::sendfile(fd, b as c_int, c as *mut i64, d) as c_long,
            libc::SYS_copy_file_range => {
                let (from, to) = (b as *mut i64, d as *mut i64);
                write::copy_file_range(fd, from, c as c_int, to, e, f as c_uint) as c_long
            }
            libc::SYS_ftruncate => size::ftruncate(fd, b as i64).into(),
            libc::SYS_truncate => size::truncate(a as *const _, b as i64).into(),
            libc::SYS_fallocate => size::fallocate(fd, b as c_int, c as i64, d as i64).into(),
            libc::SYS_openat => size::openat(fd, b as *const _, c as c_int, d as u32).into(),
            libc::SYS_fsync => settle::fsync(fd).into(),
            libc::SYS_fdatasync => settle::fdatasync(fd).into(),
            libc::SYS_close => settle::close(fd).into(),
            libc::SYS_close_range => {
                settle::close_range(a as c_uint, b as c_uint, c as c_int).into()
            }
            _ => return None,
        }
    })
}
