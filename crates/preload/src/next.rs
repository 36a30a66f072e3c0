//! The functions whose place ours take: found once, before `main`, since looking for them
//! may need memory, and called where a thread may be cancelled in them.
//!
//! Before they are found, and where the C library doesn't have one, the system call does
//! it.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use faultless_client::call;
use libc::FILE;

use crate::errno;

/// A function of the C library.
pub struct Next {
    name: &'static CStr,
    number: c_long,
    function: AtomicPtr<c_void>,
}

impl Next {
    const fn new(name: &'static CStr, number: c_long) -> Next {
        Next { name, number, function: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Calls it with arguments that are integers or addresses, as registers hold them.
    ///
    /// # Safety
    /// The arguments are those of the function, and as many as it takes, or more.
    pub unsafe fn call(&self, arguments: [usize; 6]) -> isize {
        let function = self.function.load(Ordering::Acquire);
        if function.is_null() {
            // SAFETY: 1. the call has the function's parameters, in their order: the table
            // below lists only such functions. The rest is the caller's promise.
            return errno::answer(unsafe { call(self.number, arguments) });
        }
        type Function = unsafe extern "C" fn(usize, usize, usize, usize, usize, usize) -> isize;
        // SAFETY: 1. it is a C function, whose parameters are integers and addresses; 2. in
        // the calling conventions of 64-bit machines with six registers for them, those that
        // it doesn't take are not looked at.
        let function = unsafe { std::mem::transmute::<*mut c_void, Function>(function) };
        let [a, b, c, d, e, f] = arguments;
        // SAFETY: by the caller's promise.
        unsafe { function(a, b, c, d, e, f) }
    }

    /// The same, for a function whose answer is an `int`.
    ///
    /// # Safety
    /// As for [`call`](Self::call).
    pub unsafe fn call_int(&self, arguments: [usize; 6]) -> c_int {
        // SAFETY: the caller's promise is ours. The register's upper half means nothing.
        unsafe { self.call(arguments) as c_int }
    }
}

macro_rules! next {
    ($($name:ident = $symbol:literal, $number:ident;)+) => {
        $(pub static $name: Next = Next::new($symbol, libc::$number);)+
        const ALL: &[&Next] = &[$(&$name),+];
    };
}

next! {
    READ = c"read", SYS_read;
    PREAD = c"pread64", SYS_pread64;
    READV = c"readv", SYS_readv;
    PREADV = c"preadv64", SYS_preadv;
    WRITE = c"write", SYS_write;
    PWRITE = c"pwrite64", SYS_pwrite64;
    WRITEV = c"writev", SYS_writev;
    PWRITEV = c"pwritev64", SYS_pwritev;
    SENDFILE = c"sendfile64", SYS_sendfile;
    COPY_FILE_RANGE = c"copy_file_range", SYS_copy_file_range;
    SPLICE = c"splice", SYS_splice;
    FALLOCATE = c"fallocate64", SYS_fallocate;
    OPENAT = c"openat64", SYS_openat;
    FSYNC = c"fsync", SYS_fsync;
    FDATASYNC = c"fdatasync", SYS_fdatasync;
    SYNC_FILE_RANGE = c"sync_file_range", SYS_sync_file_range;
    CLOSE = c"close", SYS_close;
}

/// `posix_fallocate` is no system call, and answers an errno: looked for when it is called.
///
/// # Safety
/// As posix_fallocate(3).
pub unsafe fn posix_fallocate(fd: c_int, offset: i64, len: i64) -> c_int {
    let function = look_for(c"posix_fallocate64");
    if function.is_null() {
        return libc::EOPNOTSUPP;
    }
    type Function = unsafe extern "C" fn(c_int, i64, i64) -> c_int;
    // SAFETY: 1. it is the C library's function of that name, which has these parameters.
    let function = unsafe { std::mem::transmute::<*mut c_void, Function>(function) };
    // SAFETY: by the caller's promise.
    unsafe { function(fd, offset, len) }
}

/// `fopen` is no system call either.
///
/// # Safety
/// As fopen(3).
pub unsafe fn fopen(path: *const c_char, mode: *const c_char) -> *mut FILE {
    let function = look_for(c"fopen64");
    if function.is_null() {
        return std::ptr::null_mut();
    }
    type Function = unsafe extern "C" fn(*const c_char, *const c_char) -> *mut FILE;
    // SAFETY: 1. it is the C library's function of that name, which has these parameters.
    let function = unsafe { std::mem::transmute::<*mut c_void, Function>(function) };
    // SAFETY: by the caller's promise.
    unsafe { function(path, mode) }
}

/// `freopen`, as [`fopen`].
///
/// # Safety
/// As freopen(3).
pub unsafe fn freopen(path: *const c_char, mode: *const c_char, stream: *mut FILE) -> *mut FILE {
    let function = look_for(c"freopen64");
    if function.is_null() {
        return std::ptr::null_mut();
    }
    type Function = unsafe extern "C" fn(*const c_char, *const c_char, *mut FILE) -> *mut FILE;
    // SAFETY: 1. it is the C library's function of that name, which has these parameters.
    let function = unsafe { std::mem::transmute::<*mut c_void, Function>(function) };
    // SAFETY: by the caller's promise.
    unsafe { function(path, mode, stream) }
}

/// Finds them all.
pub fn find() {
    for next in ALL {
        next.function.store(look_for(next.name), Ordering::Release);
    }
}

fn look_for(name: &CStr) -> *mut c_void {
    // SAFETY: 1. the name ends in a zero.
    unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) }
}
