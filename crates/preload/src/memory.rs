//! mmap, munmap, mprotect, mremap, madvise, msync.

use std::ffi::{c_int, c_void};

use faultless_client as client;
use faultless_client::kernel::Mmap;

use crate::errno;

crate::hooks! {
    /// mmap(2).
    fn mmap = mmap64(
        addr: *mut c_void,
        len: usize,
        prot: c_int,
        flags: c_int,
        fd: c_int,
        offset: i64,
    ) -> *mut c_void {
        let map = Mmap { addr: addr as usize, len, prot, flags, fd, offset };
        // SAFETY: the caller's promise is ours.
        errno::address(unsafe { client::mmap(map) })
    }

    /// munmap(2).
    fn munmap(addr: *mut c_void, len: usize) -> c_int {
        // SAFETY: the caller's promise is ours.
        errno::answer(unsafe { client::munmap(addr as usize, len) })
    }

    /// mprotect(2).
    fn mprotect(addr: *mut c_void, len: usize, prot: c_int) -> c_int {
        // SAFETY: the caller's promise is ours.
        errno::answer(unsafe { client::mprotect(addr as usize, len, prot) })
    }

    /// mremap(2). The last parameter is there only if the flags say so; else what is in its
    /// register is not looked at.
    fn mremap(
        addr: *mut c_void,
        old: usize,
        new: usize,
        flags: c_int,
        to: *mut c_void,
    ) -> *mut c_void {
        // SAFETY: the caller's promise is ours.
        errno::address(unsafe { client::mremap(addr as usize, old, new, flags, to as usize) })
    }

    /// madvise(2).
    fn madvise(addr: *mut c_void, len: usize, advice: c_int) -> c_int {
        // SAFETY: the caller's promise is ours.
        errno::answer(unsafe { client::madvise(addr as usize, len, advice) })
    }

    /// posix_madvise(3), which answers an errno and leaves `POSIX_MADV_DONTNEED` be.
    fn posix_madvise(addr: *mut c_void, len: usize, advice: c_int) -> c_int {
        // SAFETY: the caller's promise is ours.
        let advised = unsafe { client::posix_madvise(addr as usize, len, advice) };
        advised.map_or_else(|errno| errno.raw_os_error(), |_| 0)
    }

    /// msync(2).
    fn msync(addr: *mut c_void, len: usize, flags: c_int) -> c_int {
        // SAFETY: the caller's promise is ours.
        errno::answer(unsafe { client::msync(addr as usize, len, flags) })
    }
}
