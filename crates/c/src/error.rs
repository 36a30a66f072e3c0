//! How C hears of errors: `errno`, and a sentence.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::ptr;

/// A call that failed: the number, and what it means here.
#[derive(Debug)]
pub struct Failed {
    errno: c_int,
    text: String,
}

/// What most functions here come to.
pub type Result<T> = std::result::Result<T, Failed>;

impl Failed {
    pub fn new(errno: c_int, text: impl Into<String>) -> Failed {
        Failed { errno, text: text.into() }
    }
}

impl From<faultless::Error> for Failed {
    fn from(error: faultless::Error) -> Failed {
        Failed::new(error.errno(), error.to_string())
    }
}

thread_local! {
    static LAST: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// Tells this thread of a failure, and answers `failed`.
pub fn answer<T>(result: Result<T>, failed: T) -> T {
    let error = match result {
        Ok(answer) => return answer,
        Err(error) => error,
    };
    // What a name could have in it ends a string of C's.
    let text = CString::new(error.text.replace('\0', "?")).ok();
    LAST.with(|last| *last.borrow_mut() = text);
    // SAFETY: 1. the C library's errno is this thread's own, always writable.
    unsafe { *libc::__errno_location() = error.errno };
    failed
}

/// What went wrong in this thread's last call that failed, in a sentence that says what to do
/// about it; NULL if none has failed. It stays as it is until the next one that fails.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub extern "C" fn faultless_error() -> *const c_char {
    LAST.with(|last| last.borrow().as_ref().map_or(ptr::null(), |text| text.as_ptr()))
}
