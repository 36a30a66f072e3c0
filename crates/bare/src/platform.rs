//! What a program needs of its surroundings: where it begins, and how it ends.

#![allow(unsafe_code)]

use core::panic::PanicInfo;

use crate::run;

const PANICKED: i32 = 101;

// SAFETY: 1. libc has both functions with these signatures (exit(3), memcpy(3) and its like
// are called by the compiler). 2. `exit` may be called at any time by a program of one thread.
#[link(name = "c")]
unsafe extern "C" {
    safe fn exit(status: i32) -> !;
}

/// libc's entry calls this.
// SAFETY: 1. no other function of the program has this name. 2. libc calls it once, with
// arguments that it doesn't look at.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    run().map_or_else(|wrong| wrong as i32, |()| 0)
}

/// The toolchain's `alloc` is made for programs that unwind, and names this; nobody calls it.
// SAFETY: 1. no other function of the program has this name. 2. it is only called while a
// panic unwinds, and here a panic ends the program.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    exit(PANICKED)
}
