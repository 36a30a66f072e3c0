//! The library that is loaded before a program's others (`LD_PRELOAD`): functions of the C
//! library that have to do with mappings and files, with the broker behind them.
//!
//! | module | the functions |
//! |---|---|
//! | `memory` | mmap, munmap, mprotect, mremap, madvise, msync |
//! | `read`, `write` | read and write, in all forms; sendfile, copy_file_range, splice |
//! | `size` | truncate, fallocate, and open where it truncates |
//! | `settle` | fsync and its like, close |
//! | `stream` | fopen and freopen |
//! | `fork` | pthread_atfork, to be the first |
//! | `number` | `syscall` |
//! | `next` | the functions that these take the place of |
//!
//! What isn't there: mincore and the mlock family need none, since the kernel does to served
//! memory what it does to any. Functions that call others inside of the C library (all of
//! stdio) are not seen: from a stream of `fopen` a program reads what mappings have stored
//! until it was opened, and writes to it are those of a program without Faultless.

mod errno;
mod fork;
mod memory;
mod next;
mod number;
mod read;
mod settle;
mod size;
mod stream;
mod write;

use std::ffi::CStr;

/// Run by the loader before `main`, and after what the C library needs.
// SAFETY: 1. the loader calls what is in this section as C functions.
#[used]
// SAFETY: 1. the section holds addresses of functions, as this is one.
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = {
    extern "C" fn begin() {
        next::find();
        if variable(c"FAULTLESS_DEBUG").is_some() {
            faultless_client::be_loud();
        }
        if let Some(file) = variable(TRACE) {
            let start = variable(START).and_then(|start| start.to_str().ok()?.parse().ok());
            faultless_client::start_trace(file, variable(TALLY), start.unwrap_or(0));
        }
        if let Some(socket) = variable(SOCKET) {
            faultless_client::tell_refusals();
            // Without a broker the program runs as it would without us; who wants to know
            // why has been told.
            let _ = faultless_client::start(socket.to_bytes());
        }
    }
    begin
};

/// The names of the protocol's variables, for C.
const SOCKET: &CStr = c"FAULTLESS_SOCKET";
const TRACE: &CStr = c"FAULTLESS_TRACE";
const TALLY: &CStr = c"FAULTLESS_TRACE_TALLY";
const START: &CStr = c"FAULTLESS_TRACE_START";

const _: () = {
    is_same(SOCKET, faultless_protocol::SOCKET_VARIABLE);
    is_same(TRACE, faultless_protocol::TRACE_VARIABLE);
    is_same(TALLY, faultless_protocol::TALLY_VARIABLE);
    is_same(START, faultless_protocol::START_VARIABLE);
};

const fn is_same(ours: &CStr, theirs: &str) {
    let (ours, theirs) = (ours.to_bytes(), theirs.as_bytes());
    assert!(ours.len() == theirs.len());
    let mut at = 0;
    while at < ours.len() {
        assert!(ours[at] == theirs[at]);
        at += 1;
    }
}

/// An environment variable, without memory for a copy.
fn variable(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: 1. the name ends in a zero.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: 1. null, or a string in the environment; 2. before `main` nobody changes that,
    // and later it isn't used.
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) })
}

/// Defines functions under their C names, and more names with the same parameters.
macro_rules! hooks {
    ($($(#[$doc:meta])* fn $name:ident $(= $($alias:ident),+)? ($($parameter:ident: $type:ty),* $(,)?) -> $answer:ty $body:block)+) => {
        $(
            $crate::hook! { $(#[$doc])* fn $name($($parameter: $type),*) -> $answer $body }
            $crate::aliases! { [$($($alias)+)?] $name ($($parameter: $type),*) -> $answer }
        )+
    };
}
pub(crate) use hooks;

/// One function under its C name.
macro_rules! hook {
    ($(#[$doc:meta])* fn $name:ident($($parameter:ident: $type:ty),*) -> $answer:ty $body:block) => {
        $(#[$doc])*
        // SAFETY: 1. it does what the function of this name does, which it takes the place
        // of, with the same parameters. Its caller's promise is that function's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($parameter: $type),*) -> $answer $body
    };
}
pub(crate) use hook;

/// Other names for a function.
macro_rules! aliases {
    ([] $($rest:tt)*) => {};
    ([$alias:ident $($more:ident)*] $name:ident $parameters:tt -> $answer:ty) => {
        $crate::alias! { $alias $name $parameters -> $answer }
        $crate::aliases! { [$($more)*] $name $parameters -> $answer }
    };
}
pub(crate) use aliases;

/// Another name for a function.
macro_rules! alias {
    ($alias:ident $name:ident ($($parameter:ident: $type:ty),*) -> $answer:ty) => {
        $crate::hook! {
            #[doc = concat!("See [`", stringify!($name), "`].")]
            fn $alias($($parameter: $type),*) -> $answer {
                // SAFETY: 1. the parameters are the same, and so is the promise.
                unsafe { $name($($parameter),*) }
            }
        }
    };
}
pub(crate) use alias;
