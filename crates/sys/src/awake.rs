//! Waiting without sleep.
//!
//! Who sleeps has to be woken, on another processor by an interrupt; in a virtual machine that
//! and the start of a processor that rests take 20 µs and more each. What is known to come
//! sooner is better waited for awake, while others may have the processor (sched_yield(2)).

use std::time::{Duration, Instant};

/// About what it takes to sleep and to be woken twice.
pub const A_WHILE: Duration = Duration::from_micros(50);

/// As [`awake`], for what is cheap to look at: others may have the processor only after each
/// `turn`, as to let them is a system call, too.
pub fn awake_in_turns(limit: Duration, turn: Duration, mut came: impl FnMut() -> bool) -> bool {
    awake(limit, || {
        let begun = Instant::now();
        loop {
            if (0..16).any(|_| {
                std::hint::spin_loop();
                came()
            }) {
                return true;
            }
            if begun.elapsed() >= turn {
                return false;
            }
        }
    })
}

/// Looks again and again whether it `came`, so long at most; was it in time?
pub fn awake(limit: Duration, mut came: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !came() {
        if begun.elapsed() >= limit {
            return false;
        }
        rustix::thread::sched_yield();
    }
    true
}
