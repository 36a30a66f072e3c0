//! Locks, as the place that the heap runs in has them.

#![allow(unsafe_code)]

use core::cell::{Cell, UnsafeCell};

/// A lock without contents.
///
/// The heap has one for each group of size classes and one for the segment, in this
/// rank. Under them it touches no memory that it gives out and waits for nothing
/// but [`Pages`](crate::Pages).
///
/// # Safety
/// While `hold` runs its closure, no other call of `hold` on the same lock runs one,
/// in any thread or in the same; and what the closure did is seen by the next one.
pub unsafe trait Lock {
    /// A lock that nobody holds.
    const NEW: Self;

    /// Runs `f` while holding the lock. Must not allocate from the heap.
    fn hold<R>(&self, f: impl FnOnce() -> R) -> R;
}

/// The lock of a heap that one thread uses: it only checks that.
pub struct Alone(Cell<bool>);

// SAFETY: 1. the cell isn't Sync, so all calls are of one thread; 2. a call inside
// another finds the flag set and panics before its closure runs; 3. one thread sees
// what it did.
unsafe impl Lock for Alone {
    #[allow(clippy::declare_interior_mutable_const, reason = "each use is a lock of its own")]
    const NEW: Alone = Alone(Cell::new(false));

    fn hold<R>(&self, f: impl FnOnce() -> R) -> R {
        assert!(!self.0.replace(true), "the heap was called from inside itself");
        let result = f();
        self.0.set(false);
        result
    }
}

// SAFETY: 1. and 3. are what a mutex is; 2. locking it twice in one thread waits for
// ever or panics, and runs no closure.
#[cfg(feature = "std")]
unsafe impl Lock for std::sync::Mutex<()> {
    #[allow(clippy::declare_interior_mutable_const, reason = "each use is a lock of its own")]
    const NEW: Self = std::sync::Mutex::new(());

    fn hold<R>(&self, f: impl FnOnce() -> R) -> R {
        // On Linux this allocates nothing, also when it must wait.
        let _guard = self.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        f()
    }
}

/// A value that is only reached while holding its lock.
pub(crate) struct Locked<L, T> {
    lock: L,
    value: UnsafeCell<T>,
}

// SAFETY: 1. `with` is the only way to the value by a shared reference; 2. by the
// promise of `Lock` one thread at a time is in it; 3. the value may go from thread to
// thread.
unsafe impl<L: Lock + Sync, T: Send> Sync for Locked<L, T> {}

impl<L: Lock, T> Locked<L, T> {
    pub(crate) const fn new(value: T) -> Locked<L, T> {
        Locked { lock: L::NEW, value: UnsafeCell::new(value) }
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        self.lock.hold(|| {
            // SAFETY: 1. by the promise of `Lock` no other closure of this lock runs,
            // in this thread or another; 2. no reference leaves the closure, because
            // `f` takes one of any lifetime.
            f(unsafe { &mut *self.value.get() })
        })
    }

    /// The value, by those who alone have the lock.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "from inside itself")]
    fn one_thread_does_not_hold_it_twice() {
        let locked: Locked<Alone, u32> = Locked::new(1);
        locked.with(|_| locked.with(|value| *value += 1));
    }
}
