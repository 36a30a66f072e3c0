//! fork(2): bringing everything to rest before it, and going on after it on both sides.
//!
//! ```text
//!   prepare   one fork at a time ─► the gate is still, nothing is on its way
//!             ─► every heir prepares: its pages are copied with the process
//!   parent    every heir goes on; the gate opens
//!   child     every heir takes its copy over, or gives it up; the gate opens
//! ```
//!
//! What the process has of the runtime's is copied with it: engines, tables, the pages of
//! the pool. What isn't are threads, rings, and descriptors that mean the parent; an heir
//! makes them anew. Between `prepare` and the end nothing but the forking thread runs in
//! here, and it must not touch what the runtime manages: nobody would serve it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use faultless_sys::Errno;
use faultless_sys::fork::{Hooks, set_hooks};

use crate::gate;
use crate::inside::Inside;
use crate::say::say;

/// How long a fork waits for those who are at work. After that the child has nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// What wants to live on in forked children.
pub trait Heir: Send + Sync {
    /// Is nothing under way? Asked while nobody is at work. If something is, whoever sees
    /// to it is told.
    fn is_at_rest(&self) -> bool;

    /// A fork comes; `false` if the child is to have nothing of this, as if there were no
    /// heir.
    fn prepare(&self) -> bool;

    /// The fork is over, or has failed, in the parent.
    fn go_on(&self);

    /// In the child: takes over, or makes what was prepared SIGBUS.
    fn take_over(&self);
}

/// All that have asked. Locked by those who are at work, and by who forks.
static HEIRS: Mutex<Vec<Weak<dyn Heir>>> = Mutex::new(Vec::new());

/// Those who have prepared for the fork that is under way.
static PREPARED: Mutex<Vec<Arc<dyn Heir>>> = Mutex::new(Vec::new());

/// Some thread is forking.
static TURN: AtomicBool = AtomicBool::new(false);

/// From now on forks wait until nobody is at work.
pub fn watch_forks() -> Result<(), Errno> {
    static HOOKS: Hooks = Hooks { prepare, parent, child };
    set_hooks(&HOOKS)
}

/// From now on `heir` lives on in children. To be called after [`watch_forks`].
pub fn register_heir(heir: Weak<dyn Heir>) {
    let _inside = Inside::enter();
    let mut heirs = HEIRS.lock().unwrap_or_else(PoisonError::into_inner);
    heirs.retain(|heir| heir.strong_count() > 0);
    heirs.push(heir);
}

fn prepare() {
    while TURN.swap(true, Ordering::Acquire) {
        std::thread::sleep(Duration::from_micros(50));
    }
    // Whoever forks in the middle of a call (a pager that starts a program) can't wait for
    // its end: then children have nothing.
    if gate::is_active() || !come_to_rest() {
        say(format_args!(
            "a forked child has nothing of its parent's memory: calls were under way that did not end"
        ));
        return;
    }
    let _inside = Inside::at_rest();
    let ready = heirs().into_iter().filter(|heir| heir.prepare()).collect();
    *prepared() = ready;
}

/// Waits until nothing is under way, and closes the gate on that; false if it is open.
fn come_to_rest() -> bool {
    let since = Instant::now();
    loop {
        if !gate::close(since, PATIENCE) {
            return false;
        }
        let _inside = Inside::at_rest();
        let heirs = heirs();
        if heirs.iter().all(|heir| heir.is_at_rest()) {
            return true;
        }
        gate::open();
        if since.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn parent() {
    let gone = {
        let _inside = Inside::at_rest();
        let gone = std::mem::take(&mut *prepared());
        gone.iter().for_each(|heir| heir.go_on());
        gone
    };
    gate::open();
    TURN.store(false, Ordering::Release);
    // The last handle may have been dropped meanwhile.
    drop(gone);
}

fn child() {
    gate::forget_others();
    let gone = {
        let _inside = Inside::at_rest();
        let gone = std::mem::take(&mut *prepared());
        gone.iter().for_each(|heir| heir.take_over());
        gone
    };
    gate::open();
    TURN.store(false, Ordering::Release);
    drop(gone);
}

fn heirs() -> Vec<Arc<dyn Heir>> {
    HEIRS.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
}

fn prepared() -> std::sync::MutexGuard<'static, Vec<Arc<dyn Heir>>> {
    PREPARED.lock().unwrap_or_else(PoisonError::into_inner)
}
