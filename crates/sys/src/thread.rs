//! Threads that a forked child can start.
//!
//! A thread of `std` takes a lock of `std`'s when it begins and when it ends. A child that
//! was forked in that instant has the lock taken for ever, and its threads would never
//! begin. These are the C library's, which sees to its own locks.

use std::ffi::c_void;

use crate::Errno;

/// A thread, to be joined.
#[derive(Debug)]
pub struct Thread(libc::pthread_t);

type Body = Box<dyn FnOnce() + Send>;

impl Thread {
    /// Starts a thread with `stack` bytes of stack, a name of at most 15 bytes and a body,
    /// which must not unwind.
    pub fn spawn(stack: usize, name: &'static str, body: Body) -> Result<Thread, Errno> {
        let body = Box::into_raw(Box::new((name, body)));
        // SAFETY: 1. all-zero bytes are a value of these C types, and init makes them good;
        // 2. `begin` is given a box that nobody else has; 3. it is taken back where no
        // thread was made.
        unsafe {
            let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
            let mut thread: libc::pthread_t = std::mem::zeroed();
            libc::pthread_attr_init(&mut attributes);
            libc::pthread_attr_setstacksize(&mut attributes, stack);
            let made = libc::pthread_create(&mut thread, &attributes, begin, body.cast());
            libc::pthread_attr_destroy(&mut attributes);
            if made != 0 {
                drop(Box::from_raw(body));
                return Err(Errno::from_raw_os_error(made));
            }
            Ok(Thread(thread))
        }
    }

    /// Waits for its end. A forked child, which has only the handle, forgets it instead.
    pub fn join(self) {
        // SAFETY: 1. it was made joinable, and is joined once, as this takes it.
        unsafe { libc::pthread_join(self.0, std::ptr::null_mut()) };
    }
}

extern "C" fn begin(body: *mut c_void) -> *mut c_void {
    // SAFETY: 1. from `spawn`, for this thread only.
    let (name, body) = *unsafe { Box::from_raw(body.cast::<(&'static str, Body)>()) };
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = rustix::thread::set_name(&name);
    }
    body();
    std::ptr::null_mut()
}
