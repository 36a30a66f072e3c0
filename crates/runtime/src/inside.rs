//! Which threads are *inside* the runtime: its own, and those in one of its calls.
//!
//! Whoever is inside may be what others wait for. If an allocator serves the whole
//! process with memory of this runtime, it must give those threads other memory, or a
//! handler could wait for itself. This flag is how it tells.
//!
//! Who is inside for a call is also at work ([`Active`]), and a fork waits for the end of
//! that. The runtime's own threads are inside for good, and say themselves when they rest.

use std::cell::Cell;
use std::marker::PhantomData;

use crate::gate::Active;

thread_local! {
    /// How many [`Inside`]s this thread has. It has no destructor, so it can be read
    /// as long as the thread runs, and reading it allocates nothing.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// While it lives, its thread is inside.
#[derive(Debug)]
pub struct Inside {
    /// It is of the thread that made it.
    not_send: PhantomData<*const ()>,
    _active: Option<Active>,
}

impl Inside {
    /// From now on this thread is inside, and at work.
    pub fn enter() -> Inside {
        Inside::with(Some(Active::enter()))
    }

    /// From now on this thread is inside, but a fork doesn't wait for it: it is one that
    /// says itself when it is at work.
    pub fn at_rest() -> Inside {
        Inside::with(None)
    }

    fn with(active: Option<Active>) -> Inside {
        DEPTH.set(DEPTH.get() + 1);
        Inside { not_send: PhantomData, _active: active }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Is this thread inside?
pub fn is_inside() -> bool {
    DEPTH.get() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_nests_and_is_of_one_thread() {
        assert!(!is_inside());
        let outer = Inside::enter();
        drop((Inside::enter(), Inside::at_rest()));
        assert!(is_inside());
        std::thread::spawn(|| assert!(!is_inside())).join().unwrap();
        drop(outer);
        assert!(!is_inside());
    }
}
