//! Who would have been called without us: found at the first call, which may come from the
//! loader. Who is called while they are looked for gets the C library's.

use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

// SAFETY: 1. the declarations are those of the GNU C library, which has exported them since
// there are versions of its symbols.
unsafe extern "C" {
    fn __libc_malloc(len: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, each: usize) -> *mut c_void;
    fn __libc_realloc(at: *mut c_void, len: usize) -> *mut c_void;
    fn __libc_free(at: *mut c_void);
    fn __libc_memalign(alignment: usize, len: usize) -> *mut c_void;
}

/// Somebody looks for them, once.
static LOOKING: AtomicBool = AtomicBool::new(false);

/// A function to be found.
struct Next {
    name: &'static CStr,
    function: AtomicPtr<c_void>,
}

impl Next {
    const fn new(name: &'static CStr) -> Next {
        Next { name, function: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Null where there is none, or none yet.
    fn get(&self) -> *mut c_void {
        let found = self.function.load(Ordering::Acquire);
        if found.is_null() && !LOOKING.swap(true, Ordering::AcqRel) {
            for next in ALL {
                // SAFETY: 1. the name ends in a zero.
                let found = unsafe { libc::dlsym(libc::RTLD_NEXT, next.name.as_ptr()) };
                next.function.store(found, Ordering::Release);
            }
            return self.function.load(Ordering::Acquire);
        }
        found
    }
}

/// While it is looked for: a block of the C library's can't be had so, which is an answer.
extern "C" fn none(_: *mut *mut c_void, _: usize, _: usize) -> c_int {
    libc::ENOMEM
}

/// While it is looked for, nobody can know more of a block.
extern "C" fn nothing(_: *mut c_void) -> usize {
    0
}

macro_rules! next {
    ($($static:ident = $symbol:literal: fn $name:ident($($parameter:ident: $type:ty),*) $(-> $answer:ty)?, or $or:ident;)+) => {
        $(
            static $static: Next = Next::new($symbol);

            /// The next function of this name.
            ///
            /// # Safety
            /// As that function.
            pub unsafe fn $name($($parameter: $type),*) $(-> $answer)? {
                type Function = unsafe extern "C" fn($($type),*) $(-> $answer)?;
                let found = $static.get();
                let function: Function = if found.is_null() {
                    $or
                } else {
                    // SAFETY: 1. it is a function of that name, which has these parameters.
                    unsafe { std::mem::transmute::<*mut c_void, Function>(found) }
                };
                // SAFETY: the caller's promise is ours.
                unsafe { function($($parameter),*) }
            }
        )+
        const ALL: &[&Next] = &[$(&$static),+];
    };
}

next! {
    MALLOC = c"malloc": fn malloc(len: usize) -> *mut c_void, or __libc_malloc;
    CALLOC = c"calloc": fn calloc(count: usize, each: usize) -> *mut c_void, or __libc_calloc;
    REALLOC = c"realloc": fn realloc(at: *mut c_void, len: usize) -> *mut c_void, or __libc_realloc;
    FREE = c"free": fn free(at: *mut c_void), or __libc_free;
    MEMALIGN = c"memalign":
        fn memalign(alignment: usize, len: usize) -> *mut c_void, or __libc_memalign;
    ALIGNED_ALLOC = c"aligned_alloc":
        fn aligned_alloc(alignment: usize, len: usize) -> *mut c_void, or __libc_memalign;
    POSIX_MEMALIGN = c"posix_memalign":
        fn posix_memalign(at: *mut *mut c_void, alignment: usize, len: usize) -> c_int, or none;
    USABLE = c"malloc_usable_size":
        fn malloc_usable_size(at: *mut c_void) -> usize, or nothing;
}
