//! `pthread_atfork`, to be the first: a child has none of the memory of its own that is served
//! before our handler has run, and a handler of others (an allocator's, which may have begun
//! before any library) may touch it.

use std::ffi::{c_int, c_void};

use faultless_client as client;

type Handler = Option<extern "C" fn()>;

crate::hooks! {
    /// What pthread_atfork(3) is in the GNU C library: a function of the program's, with its
    /// name, calls it.
    fn __register_atfork(
        prepare: Handler,
        parent: Handler,
        child: Handler,
        program: *mut c_void,
    ) -> c_int {
        // Where it can't be, forks are as they are without us.
        let _ = client::register_handlers();
        // SAFETY: 1. the name ends in a zero.
        let next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"__register_atfork".as_ptr()) };
        if next.is_null() {
            return libc::ENOMEM;
        }
        type Function = unsafe extern "C" fn(Handler, Handler, Handler, *mut c_void) -> c_int;
        // SAFETY: 1. it is the C library's function of that name, which has these parameters.
        let next = unsafe { std::mem::transmute::<*mut c_void, Function>(next) };
        // SAFETY: the caller's promise is ours.
        unsafe { next(prepare, parent, child, program) }
    }
}
