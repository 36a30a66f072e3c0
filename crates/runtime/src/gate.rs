//! The gate: who is at work in the runtime, so that a fork can wait until nobody is.
//!
//! A forked child has copies of all locks and all that is half done, and none of the
//! threads that would let go and go on. So a fork happens while nobody is at work: no
//! lock is taken, no page on its way, no verb between two of its steps.
//!
//! ```text
//!            close                still                open
//!   open ───────────► closing ───────────► still ───────────► open
//!    who comes         waits, but not for   waits until the
//!    goes in           ever: somebody who   fork is over
//!                      is in may need him
//! ```
//!
//! It is one number that is never locked, because a child inherits that, too. Who waits
//! looks again and again: a fork is over in milliseconds.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::say::say;

/// How many are at work, and two bits.
static GATE: AtomicU32 = AtomicU32::new(0);
const CLOSING: u32 = 1 << 31;
const STILL: u32 = 1 << 30;
const COUNT: u32 = STILL - 1;

/// So long somebody waits at a closing gate. Who is at work may be waiting for him.
const COURTESY: Duration = Duration::from_millis(20);

/// How often those who wait look.
const LOOK: Duration = Duration::from_micros(50);

thread_local! {
    /// How many [`Active`]s this thread has.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// It is in the middle of a fork.
    static FORKING: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, its thread is at work, and no fork happens.
#[derive(Debug)]
pub struct Active {
    /// It is of the thread that made it.
    not_send: PhantomData<*const ()>,
}

impl Active {
    /// Goes in, when no fork is in the way.
    pub fn enter() -> Active {
        let depth = DEPTH.get();
        if depth == 0 && GATE.fetch_add(1, Ordering::SeqCst) & (CLOSING | STILL) != 0 {
            GATE.fetch_sub(1, Ordering::SeqCst);
            wait_to_enter();
        }
        DEPTH.set(depth + 1);
        Active { not_send: PhantomData }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let depth = DEPTH.get() - 1;
        DEPTH.set(depth);
        if depth == 0 {
            GATE.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cold]
fn wait_to_enter() {
    if FORKING.get() {
        say(format_args!(
            "memory of a Vm was touched, or a Vm called, by a pthread_atfork handler"
        ));
        std::process::abort();
    }
    let since = Instant::now();
    loop {
        let now = GATE.load(Ordering::SeqCst);
        let waits = now & STILL != 0 || (now & CLOSING != 0 && since.elapsed() < COURTESY);
        if waits {
            std::thread::sleep(LOOK);
        } else if GATE.compare_exchange(now, now + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            return;
        }
    }
}

/// Is somebody waiting to fork? Then nothing is begun that can wait.
pub fn is_closing() -> bool {
    GATE.load(Ordering::Relaxed) & (CLOSING | STILL) != 0
}

/// Is this thread at work?
pub fn is_active() -> bool {
    DEPTH.get() > 0
}

/// Closes the gate and waits until nobody is at work; false, and it is open again, where
/// that takes longer than `patience`. This thread must not be.
pub fn close(patience: Duration) -> bool {
    debug_assert!(!is_active(), "it would wait for itself");
    let since = Instant::now();
    GATE.fetch_or(CLOSING, Ordering::SeqCst);
    FORKING.set(true);
    let mut looks = 0;
    while GATE.compare_exchange(CLOSING, STILL, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        if since.elapsed() > patience {
            open();
            return false;
        }
        looks += 1;
        if looks < 20 { std::thread::yield_now() } else { std::thread::sleep(LOOK) }
    }
    true
}

/// Opens it again.
pub fn open() {
    FORKING.set(false);
    GATE.fetch_and(COUNT, Ordering::SeqCst);
}

/// In a child: nobody but this thread is at work, if it is, and the gate is as it was.
/// Those who were just coming in are in the parent.
pub fn forget_others() {
    let gate = GATE.load(Ordering::SeqCst) & (CLOSING | STILL);
    GATE.store(gate | u32::from(is_active()), Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// One test, as there is one gate.
    #[test]
    fn a_closed_gate_is_still_and_nobody_starves() {
        // Nested entries go in at once, also while it is closing.
        let outer = Active::enter();
        let closer = std::thread::spawn(|| close(Duration::from_secs(20)));
        while !is_closing() {
            std::thread::yield_now();
        }
        let nested = Instant::now();
        drop(Active::enter());
        assert!(nested.elapsed() < COURTESY);
        // Another thread is let in after a while, as we may need it.
        std::thread::spawn(|| drop(Active::enter())).join().unwrap();
        drop(outer);
        assert!(closer.join().unwrap());
        // Still: nobody comes in.
        static CAME_IN: AtomicBool = AtomicBool::new(false);
        let comer = std::thread::spawn(|| {
            let _active = Active::enter();
            CAME_IN.store(true, Ordering::SeqCst);
        });
        std::thread::sleep(3 * COURTESY);
        assert!(!CAME_IN.load(Ordering::SeqCst));
        open();
        comer.join().unwrap();
        assert!(CAME_IN.load(Ordering::SeqCst));
        // Somebody who stays is not waited for without end.
        let stayer = std::thread::spawn(|| {
            let _active = Active::enter();
            std::thread::sleep(Duration::from_millis(200));
        });
        while GATE.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        assert!(!close(Duration::from_millis(50)));
        assert!(!is_closing());
        stayer.join().unwrap();
    }
}
