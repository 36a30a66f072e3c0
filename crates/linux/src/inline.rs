//! From a SIGBUS to the machine whose arena was touched.
//!
//! The signal handler can't take a lock that the interrupted code may hold, so the
//! table of arenas is made of atomics.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use faultless_addr::{Access, VirtAddr, VirtRange};
use faultless_machine::Segv;
use faultless_sys::fork::Birthplace;
use faultless_sys::raise::Trap;
use faultless_sys::signal::{self, Fault, Verdict};

use crate::error::NewError;

/// What a hook made of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// The access can be tried again.
    Yes,
    /// The access is a segmentation fault.
    Segv(Segv),
    /// There is nothing to show: the fault goes to the SIGBUS handler that was there
    /// before, or ends the process.
    NotOurs,
}

/// Serves a SIGBUS of an arena, in the thread that faults and on its stack,
/// between two of its instructions: it may take locks (none that a thread may hold
/// while it touches the arena) and do I/O. It must not unwind.
///
/// The access is `None` where the processor's error code isn't known.
pub type InlineHook = Box<dyn Fn(VirtAddr, Option<Access>) -> Resolved + Send + Sync>;

/// How many machines of a process can serve inline at a time.
pub(crate) const MACHINES: usize = 64;

/// Both arenas of each machine.
const ARENAS: usize = 2 * MACHINES;

static TABLE: [Entry; ARENAS] = [const { Entry::new() }; ARENAS];

struct Hook {
    serve: InlineHook,
    /// A forked child inherits the table, but nobody there can serve a fault.
    birthplace: Birthplace,
}

/// Free where `hook` is null. Addresses are written before the hook.
struct Entry {
    taken: AtomicUsize,
    start: AtomicU64,
    end: AtomicU64,
    hook: AtomicPtr<Hook>,
    /// Handlers that may be using the hook.
    running: AtomicUsize,
}

impl Entry {
    const fn new() -> Entry {
        Entry {
            taken: AtomicUsize::new(0),
            start: AtomicU64::new(0),
            end: AtomicU64::new(0),
            hook: AtomicPtr::new(ptr::null_mut()),
            running: AtomicUsize::new(0),
        }
    }

    fn has(&self, addr: VirtAddr) -> bool {
        self.start.load(Ordering::Relaxed) <= addr.0 && addr.0 < self.end.load(Ordering::Relaxed)
    }
}

/// An arena's place in the table; leaving it waits for the handlers inside.
#[derive(Debug)]
pub(crate) struct Registration {
    entry: usize,
    birthplace: Birthplace,
}

impl Registration {
    /// From now on faults in `range` are `hook`'s.
    pub fn new(range: VirtRange, hook: InlineHook) -> Result<Registration, NewError> {
        signal::install(on_sigbus)?;
        for (entry, slot) in TABLE.iter().enumerate() {
            let free = slot.taken.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
            if free.is_ok() {
                slot.start.store(range.start.0, Ordering::Relaxed);
                slot.end.store(range.end.0, Ordering::Relaxed);
                let hook = Box::new(Hook { serve: hook, birthplace: Birthplace::here() });
                slot.hook.store(Box::into_raw(hook), Ordering::SeqCst);
                return Ok(Registration { entry, birthplace: Birthplace::here() });
            }
        }
        Err(NewError::TooMany)
    }

    /// In a child whose only thread this is: the hook serves here, too.
    pub fn adopt(&self) {
        let slot = &TABLE[self.entry];
        // The handlers that were running were other threads'.
        slot.running.store(0, Ordering::SeqCst);
        // SAFETY: 1. not null as long as the registration lives, and from `new`; 2. nobody
        // else is here.
        unsafe { &*slot.hook.load(Ordering::SeqCst) }.birthplace.move_here();
        self.birthplace.move_here();
    }
}

/// A handler that has not come back after this long never will: it has jumped out.
const PATIENCE: Duration = Duration::from_secs(1);

impl Drop for Registration {
    fn drop(&mut self) {
        let slot = &TABLE[self.entry];
        let hook = slot.hook.swap(ptr::null_mut(), Ordering::SeqCst);
        let since = Instant::now();
        while slot.running.load(Ordering::SeqCst) != 0 {
            // In a forked child the handlers' threads are gone.
            if since.elapsed() > PATIENCE || !self.birthplace.is_here() {
                return; // The hook and the place in the table are given up for good.
            }
            std::thread::yield_now();
        }
        // SAFETY: 1. `hook` came from `Box::into_raw` in `new`, and only this swap took
        // it out; 2. a handler reads the pointer only between its increment and its
        // decrement of `running`, all of SeqCst: `running` was 0 after the pointer was
        // gone, so no handler has it, and later ones read null.
        drop(unsafe { Box::from_raw(hook) });
        slot.taken.store(0, Ordering::Release);
    }
}

/// The process's SIGBUS function.
fn on_sigbus(fault: &Fault) -> Verdict {
    for entry in &TABLE {
        if !entry.has(fault.addr) {
            continue;
        }
        entry.running.fetch_add(1, Ordering::SeqCst);
        let hook = entry.hook.load(Ordering::SeqCst);
        let mut verdict = Verdict::Pass;
        // Asked again: the place may have gone to another machine in between.
        if !hook.is_null() && entry.has(fault.addr) {
            // SAFETY: 1. not null, so it is from `Registration::new`; 2. `running` keeps
            // it alive (see `Registration::drop`).
            let hook = unsafe { &*hook };
            if hook.birthplace.is_here() {
                verdict = match (hook.serve)(fault.addr, fault.access) {
                    Resolved::Yes => Verdict::Retry,
                    Resolved::Segv(why) => Verdict::Trap(trap(why)),
                    Resolved::NotOurs => Verdict::Pass,
                };
            }
        }
        entry.running.fetch_sub(1, Ordering::SeqCst);
        if verdict != Verdict::Pass {
            return verdict;
        }
    }
    Verdict::Pass
}

/// The signal for a segmentation fault.
fn trap(why: Segv) -> Trap {
    match why {
        Segv::MapErr => Trap::Unmapped,
        Segv::AccErr => Trap::Denied,
    }
}
