//! How C functions answer: -1 and `errno`, which stays as it is where all went well.

use faultless_client::Errno;

/// Sets `errno`.
pub fn set(errno: Errno) {
    // SAFETY: 1. the C library's errno is this thread's own, always writable.
    unsafe { *libc::__errno_location() = errno.raw_os_error() };
}

/// The answer of a system call, as C functions give it.
pub fn answer<T: From<i8> + TryFrom<usize>>(result: Result<usize, Errno>) -> T {
    match result.map(T::try_from) {
        Ok(Ok(value)) => value,
        Ok(Err(_)) => T::from(-1),
        Err(errno) => {
            set(errno);
            T::from(-1)
        }
    }
}

/// The same, where an address is the answer.
pub fn address(result: Result<usize, Errno>) -> *mut libc::c_void {
    match result {
        Ok(address) => address as *mut libc::c_void,
        Err(errno) => {
            set(errno);
            libc::MAP_FAILED
        }
    }
}
