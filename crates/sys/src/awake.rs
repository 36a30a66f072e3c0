//! Waiting without sleep.
//!
//! Who sleeps has to be woken, on another processor by an interrupt; in a virtual machine that
//! and the start of a processor that rests take 20 µs and more each. What is known to come
//! sooner is better waited for awake, while others may have the processor (sched_yield(2)).

use std::time::{Duration, Instant};

/// About what it takes to sleep and to be woken twice.
pub const A_WHILE: Duration = Duration::from_micros(50);

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
