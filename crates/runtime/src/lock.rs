//! Locks with ranks.
//!
//! | rank | lock | guards | never done under it |
//! |---|---|---|---|
//! | 1 | `catalog` | which file is which object (in the crate `faultless`) | faults on managed memory |
//! | 2 | `engine` | all decisions | system calls that can sleep, I/O, calls of pagers |
//! | 3 | `pagers` | the pager of each object | anything but a look-up |
//! | 3 | `workers` | workers that are at rest | anything but a push or a pop |
//! | 3 | `handoff` | runs that handlers are to read | anything but a push or a pop |
//! | 3 | `flushes` | ranges that the keeper is to write | anything but a look, a push or a pop |
//! | 3 | `kept` | what forked children may still read | anything but a push or a look |
//! | 3 | `joins` | threads to be waited for at the end | anything but a push, or taking all |
//!
//! A thread takes locks of rising rank only; debug builds check it. (The machine's
//! own lock, around its slots, is below all of these and taken with none of them.)

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, TryLockError};
use std::time::Duration;

use crate::sync::{Condvar, Mutex, MutexGuard, spin_loop, thread_local, yield_now};

thread_local! {
    /// A bit for each rank that this thread holds.
    static HELD: Cell<u8> = const { Cell::new(0) };
}

/// A lock's place in the order; see the [module](self).
#[derive(Clone, Copy, Debug)]
pub struct Rank(pub u8);

/// Looks at a lock that somebody has, before the thread sleeps. (Fewer where every order of
/// looks is tried.)
const SPINS: u32 = if cfg!(test) { 1 } else { 100 };

/// Looks after those, between which others may have the processor.
const YIELDS: u32 = if cfg!(test) { 1 } else { 20 };

/// The engine's.
pub const ENGINE: Rank = Rank(2);
/// Those of look-ups and queues.
pub const LEAF: Rank = Rank(3);

/// A mutex that knows its rank.
pub struct Ranked<T> {
    rank: Rank,
    waits: AtomicU64,
    mutex: Mutex<T>,
}

/// Access to what a [`Ranked`] guards.
pub struct Guard<'a, T> {
    rank: Rank,
    inner: Option<MutexGuard<'a, T>>,
}

impl<T> Ranked<T> {
    pub fn new(rank: Rank, value: T) -> Ranked<T> {
        Ranked { rank, waits: AtomicU64::new(0), mutex: Mutex::new(value) }
    }

    /// Waits for the lock.
    pub fn lock(&self) -> Guard<'_, T> {
        note_taken(self.rank);
        // A thread that panics here has left the state between two decisions at
        // worst; the others go on and `check_invariants` is for tests.
        let inner = match self.mutex.try_lock() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.waits.fetch_add(1, Ordering::Relaxed);
                let inner = self.look_again();
                inner.unwrap_or_else(|| self.mutex.lock().unwrap_or_else(PoisonError::into_inner))
            }
        };
        Guard { rank: self.rank, inner: Some(inner) }
    }

    /// Whoever has the lock has it for less than a microsecond, unless its processor has been
    /// taken from it, which it is then let have. To sleep, and to be woken, takes longer.
    fn look_again(&self) -> Option<MutexGuard<'_, T>> {
        (0..SPINS + YIELDS).find_map(|look| {
            if look < SPINS {
                spin_loop();
            } else {
                yield_now();
            }
            self.mutex.try_lock().ok()
        })
    }

    /// How often it was taken already when somebody came.
    pub fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }
}

fn note_taken(rank: Rank) {
    if cfg!(debug_assertions) {
        HELD.with(|held| {
            let above = held.get() >> rank.0;
            assert_eq!(above, 0, "a lock of rank {} is taken out of order", rank.0);
            held.set(held.get() | 1 << rank.0);
        });
    }
}

fn note_released(rank: Rank) {
    if cfg!(debug_assertions) {
        HELD.with(|held| held.set(held.get() & !(1 << rank.0)));
    }
}

/// Asserts, in debug builds, that this thread holds no lock: it is about to sleep.
pub fn assert_none_held() {
    if cfg!(debug_assertions) {
        HELD.with(|held| assert_eq!(held.get(), 0, "a lock is held over a call that may sleep"));
    }
}

impl<'a, T> Guard<'a, T> {
    /// Sleeps until `condvar` is notified; the lock is free meanwhile.
    pub fn wait(mut self, condvar: &Condvar) -> Guard<'a, T> {
        let inner = self.inner.take().expect("a guard holds its lock");
        note_released(self.rank);
        let inner = condvar.wait(inner).unwrap_or_else(PoisonError::into_inner);
        note_taken(self.rank);
        self.inner = Some(inner);
        self
    }

    /// As [`wait`](Self::wait), no longer than `timeout`.
    pub fn wait_for(mut self, condvar: &Condvar, timeout: Duration) -> Guard<'a, T> {
        let inner = self.inner.take().expect("a guard holds its lock");
        note_released(self.rank);
        let (inner, _) =
            condvar.wait_timeout(inner, timeout).unwrap_or_else(PoisonError::into_inner);
        note_taken(self.rank);
        self.inner = Some(inner);
        self
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        if self.inner.take().is_some() {
            note_released(self.rank);
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.inner.as_deref().expect("a guard holds its lock")
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_deref_mut().expect("a guard holds its lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "out of order")]
    fn taking_a_lower_rank_second_is_a_bug() {
        let wrong = || {
            let (engine, leaf) = (Ranked::new(ENGINE, ()), Ranked::new(LEAF, ()));
            let _leaf = leaf.lock();
            let _engine = engine.lock();
        };
        shuttle::check_random(wrong, 1);
    }

    #[test]
    fn who_waits_is_counted() {
        let waits = std::sync::Arc::new(AtomicU64::new(0));
        let all = waits.clone();
        let contend = move || {
            let lock = std::sync::Arc::new(Ranked::new(LEAF, ()));
            let other = lock.clone();
            let held = lock.lock();
            let thread = shuttle::thread::spawn(move || drop(other.lock()));
            shuttle::thread::yield_now();
            drop(held);
            thread.join().unwrap();
            assert!(lock.waits() <= 1);
            all.fetch_add(lock.waits(), Ordering::Relaxed);
        };
        shuttle::check_random(contend, 100);
        let waits = waits.load(Ordering::Relaxed);
        assert!((1..100).contains(&waits), "{waits} of 100 orders");
    }

    #[test]
    fn rising_ranks_are_fine_and_released_ones_forgotten() {
        let right = || {
            let (engine, leaf) = (Ranked::new(ENGINE, ()), Ranked::new(LEAF, ()));
            {
                let _engine = engine.lock();
                let _leaf = leaf.lock();
            }
            assert_none_held();
            let _engine = engine.lock();
        };
        shuttle::check_random(right, 1);
    }
}
