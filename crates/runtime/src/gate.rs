//! The gate: who is at work in the runtime, so that a fork can wait until nobody is.
//!
//! A forked child has copies of all locks and all that is half done, and none of the
//! threads that would let go and go on. So a fork happens while nobody is at work: no
//! lock is taken, no page on its way, no verb between two of its steps.
//!
//! ```text
//!            close                still                open
//!   open ───────────► closing ───────────► still ───────────► open
//!    who comes         waits, or is         waits until the
//!    goes in           admitted, in turns   fork is over
//! ```
//!
//! While it is closing, who comes is kept out, so that those who are in leave; and is
//! admitted, because one of those may need him to leave. The turns become longer: however
//! long it takes to leave, one is long enough, though everybody comes back at once. Handlers,
//! who are needed often, go in at once, but begin only what they are needed for.
//!
//! It is one number that is never locked, because a child inherits that, too. Who waits
//! looks again and again: a fork is over in milliseconds.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::say::say;

/// How many are at work, and three bits.
static GATE: AtomicU32 = AtomicU32::new(0);
const CLOSING: u32 = 1 << 31;
const STILL: u32 = 1 << 30;
/// It is closing, and who comes goes in all the same.
const ADMITS: u32 = 1 << 29;
const COUNT: u32 = ADMITS - 1;

/// So long who comes is kept out first.
const FIRST_TURN: Duration = Duration::from_millis(20);

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
        if depth == 0 && keeps_out(GATE.fetch_add(1, Ordering::SeqCst)) {
            GATE.fetch_sub(1, Ordering::SeqCst);
            wait_to_enter();
        }
        DEPTH.set(depth + 1);
        Active { not_send: PhantomData }
    }

    /// Goes in also where others are kept out: for those whom they may need to leave. They
    /// begin nothing that isn't needed so.
    pub fn enter_to_help() -> Active {
        debug_assert!(!is_active(), "it is in");
        while GATE.fetch_add(1, Ordering::SeqCst) & STILL != 0 {
            GATE.fetch_sub(1, Ordering::SeqCst);
            while GATE.load(Ordering::SeqCst) & STILL != 0 {
                std::thread::sleep(LOOK);
            }
        }
        DEPTH.set(1);
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
    loop {
        let now = GATE.load(Ordering::SeqCst);
        if keeps_out(now) {
            std::thread::sleep(LOOK);
        } else if GATE.compare_exchange(now, now + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            return;
        }
    }
}

fn keeps_out(gate: u32) -> bool {
    gate & (CLOSING | STILL) != 0 && gate & ADMITS == 0
}

/// Is it somebody's turn to come in, so long after a gate began to close? They are kept out
/// and admitted for 20 ms each, then for 40, 80 and so on.
fn is_admitting(closing: Duration) -> bool {
    let (mut turn, mut rest) = (FIRST_TURN, closing);
    while rest >= 2 * turn {
        rest -= 2 * turn;
        turn *= 2;
    }
    rest >= turn
}

/// Is somebody waiting to fork? Then nothing is begun that can wait.
pub fn is_closing() -> bool {
    GATE.load(Ordering::Relaxed) & (CLOSING | STILL) != 0
}

/// Are comers kept out?
pub fn is_shut() -> bool {
    keeps_out(GATE.load(Ordering::Relaxed))
}

/// Sleeps while comers are kept out, unless `needed` says that one has to go in and help.
/// This thread is not at work.
pub fn wait_outside(needed: impl Fn() -> bool) {
    debug_assert!(!is_active(), "others wait for it");
    loop {
        std::thread::sleep(LOOK);
        if !is_shut() || needed() {
            return;
        }
    }
}

/// Is this thread at work?
pub fn is_active() -> bool {
    DEPTH.get() > 0
}

/// Closes the gate and waits until nobody is at work; false, and it is open again, where
/// that takes longer than `patience`, counted from `since`, when the first try was made. This
/// thread must not be at work.
pub fn close(since: Instant, patience: Duration) -> bool {
    debug_assert!(!is_active(), "it would wait for itself");
    GATE.fetch_or(CLOSING, Ordering::SeqCst);
    FORKING.set(true);
    for looks in 0.. {
        for nobody in [CLOSING, CLOSING | ADMITS] {
            let still = GATE.compare_exchange(nobody, STILL, Ordering::SeqCst, Ordering::SeqCst);
            if still.is_ok() {
                return true;
            }
        }
        let closing = since.elapsed();
        if closing > patience {
            break;
        }
        match is_admitting(closing) {
            true => GATE.fetch_or(ADMITS, Ordering::SeqCst),
            false => GATE.fetch_and(!ADMITS, Ordering::SeqCst),
        };
        if looks < 20 { std::thread::yield_now() } else { std::thread::sleep(LOOK) }
    }
    open();
    false
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
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::*;

    /// One test at a time, as there is one gate.
    fn one() -> MutexGuard<'static, ()> {
        static ONE: Mutex<()> = Mutex::new(());
        ONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[test]
    fn a_closed_gate_is_still_and_nobody_starves() {
        let _one = one();
        // Nested entries go in at once, also while it is closing.
        let outer = Active::enter();
        let closer = std::thread::spawn(|| close(Instant::now(), Duration::from_secs(20)));
        while !is_closing() {
            std::thread::yield_now();
        }
        let nested = Instant::now();
        drop(Active::enter());
        assert!(nested.elapsed() < FIRST_TURN);
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
        std::thread::sleep(3 * FIRST_TURN);
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
        assert!(!close(Instant::now(), Duration::from_millis(50)));
        assert!(!is_closing());
        stayer.join().unwrap();
    }

    /// Calls that take longer than the first turn, as on a slow disk or a loaded machine.
    #[test]
    fn it_closes_on_long_calls_that_follow_each_other() {
        let _one = one();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for number in 0..4 {
                let over = &over;
                scope.spawn(move || {
                    // So that never all leave at a time.
                    std::thread::sleep(number * FIRST_TURN * 3 / 4);
                    while !over.load(Ordering::Relaxed) {
                        let _active = Active::enter();
                        std::thread::sleep(2 * FIRST_TURN);
                    }
                });
            }
            std::thread::sleep(4 * FIRST_TURN);
            let closed = close(Instant::now(), Duration::from_secs(10));
            over.store(true, Ordering::Relaxed);
            open();
            assert!(closed, "somebody was at work all the time");
        });
    }

    #[test]
    fn who_is_needed_goes_in_where_others_are_kept_out() {
        let _one = one();
        let outer = Active::enter();
        // A later turn, which is long.
        let since = Instant::now() - Duration::from_millis(5100);
        let closer = std::thread::spawn(move || close(since, Duration::from_secs(20)));
        while !is_shut() {
            std::thread::yield_now();
        }
        let helped = std::thread::spawn(|| {
            let _active = Active::enter_to_help();
            is_shut()
        });
        assert!(helped.join().unwrap(), "it had to wait for its turn");
        drop(outer);
        assert!(closer.join().unwrap());
        open();
    }

    #[test]
    fn turns_become_longer() {
        let admitting = |millis| is_admitting(Duration::from_millis(millis));
        let turns = [0..20, 20..40, 40..80, 80..120, 120..200, 200..280, 280..440, 440..600];
        for (number, turn) in turns.into_iter().enumerate() {
            assert!(turn.clone().all(|millis| admitting(millis) == (number % 2 == 1)), "{turn:?}");
        }
    }
}
