//! [`enter`]: the way to the client's state: by one thread at a time, and by nobody who is
//! inside already.
//!
//! A hook may be called anywhere: in an allocator, in a signal handler, between fork and
//! exec. So whoever is inside gets no signals and isn't cancelled; who comes in again (by a
//! function of the C library that is a hook) is let past; and the lock is a word that holds
//! its owner's thread, in a page that a child without our fork handlers finds empty:
//!
//! | who | its memory | the page | so |
//! |---|---|---|---|
//! | a thread | the same | the same | waits for the lock |
//! | `vfork`, `posix_spawn` | the same | the same | waits as a thread does; if it dies inside, the next one goes on |
//! | `fork`; `syscall(SYS_clone, …)` | a copy | empty | [`fork`](crate::fork) attaches it |
//! | a bare `clone` | a copy without served ranges | empty | begins anew |

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use faultless_addr::PAGE_SIZE;
use faultless_sys::Errno;
use rustix::process::{Pid, test_kill_process};
use rustix::thread::futex;

use crate::kernel;
use crate::state::State;

/// What a process shares with its threads and those who borrow its memory, and with nobody
/// else.
pub(crate) struct Page {
    /// 0, or the thread that is inside; with [`WAITERS`].
    owner: AtomicU32,
    /// 1 while a request is out.
    pub asking: AtomicU32,
    /// 0 in a process that hasn't been seen to begin.
    pub known: AtomicU32,
}

/// Somebody may sleep. (Thread ids have 22 bits.)
const WAITERS: u32 = 1 << 31;

/// How long to sleep before looking whether the owner lives.
const PATIENCE: futex::Timespec = futex::Timespec { tv_sec: 1, tv_nsec: 0 };

static PAGE: AtomicPtr<Page> = AtomicPtr::new(ptr::null_mut());

struct Shared(UnsafeCell<State>);

// SAFETY: 1. the state is reached by `Inside` only, of which there is one at a time.
unsafe impl Sync for Shared {}

static STATE: Shared = Shared(UnsafeCell::new(State::new()));

/// Makes the page. Before it is there, nobody gets in.
pub(crate) fn open() -> Result<(), Errno> {
    let start = kernel::private_memory(PAGE_SIZE)?;
    // SAFETY: 1. the page is ours, and empty anyway.
    unsafe { kernel::madvise(start, PAGE_SIZE, libc::MADV_WIPEONFORK)? };
    PAGE.store(start as *mut Page, Ordering::Release);
    Ok(())
}

/// Is there a way in at all?
pub(crate) fn is_open() -> bool {
    page().is_some()
}

fn page() -> Option<&'static Page> {
    // SAFETY: 1. null, or the page that `open` has made for good; 2. any bytes are a `Page`.
    unsafe { PAGE.load(Ordering::Acquire).as_ref() }
}

/// Being inside.
pub(crate) struct Inside {
    pub page: &'static Page,
    signals: u64,
    cancellation: i32,
}

/// Goes in, or waits for whoever is. `None` before [`open`], and where the calling thread is
/// inside already: then the kernel is to do what was asked for.
pub(crate) fn enter() -> Option<Inside> {
    let page = page()?;
    let signals = kernel::block_signals();
    let me = rustix::thread::gettid().as_raw_nonzero().get() as u32;
    if page.owner.load(Ordering::Relaxed) & !WAITERS == me {
        kernel::set_blocked(signals);
        return None;
    }
    page.lock(me);
    let cancellation = kernel::hold_cancellation(kernel::NO_CANCELLATION);
    let mut inside = Inside { page, signals, cancellation };
    let known = page.known.load(Ordering::Relaxed) != 0;
    if !known {
        inside.begin_anew();
        page.known.store(1, Ordering::Relaxed);
    }
    if page.asking.swap(0, Ordering::Relaxed) != 0 {
        inside.discard_answer();
    }
    Some(inside)
}

impl Page {
    fn lock(&self, me: u32) {
        let mut mine = me;
        loop {
            match self.owner.compare_exchange(0, mine, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return,
                Err(owner) => {
                    let waited = owner | WAITERS;
                    let changed = self.owner.compare_exchange(
                        owner,
                        waited,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                    if changed.is_err() {
                        continue;
                    }
                    let flags = futex::Flags::PRIVATE;
                    let slept = futex::wait(&self.owner, flags, waited, Some(&PATIENCE));
                    if slept == Err(Errno::TIMEDOUT) && !lives(owner & !WAITERS) {
                        // Only one of those who see it dead is quick enough.
                        let _ = self.owner.compare_exchange(
                            waited,
                            0,
                            Ordering::Relaxed,
                            Ordering::Relaxed,
                        );
                    }
                    // Who has slept can't know whether others do.
                    mine = me | WAITERS;
                }
            }
        }
    }

    fn unlock(&self) {
        if self.owner.swap(0, Ordering::Release) & WAITERS != 0 {
            let _ = futex::wake(&self.owner, futex::Flags::PRIVATE, 1);
        }
    }
}

/// Is there such a thread, here or in a process that borrows our memory?
fn lives(thread: u32) -> bool {
    let Some(thread) = Pid::from_raw(thread as i32) else { return false };
    test_kill_process(thread) != Err(Errno::SRCH)
}

impl Inside {
    /// Stays inside over a fork: the state is nobody's until [`Inside::back`].
    pub fn stay(self) -> (u64, i32) {
        let kept = (self.signals, self.cancellation);
        std::mem::forget(self);
        kept
    }

    /// Goes on after [`stay`](Self::stay), in the thread that was inside; in a child the page
    /// has been emptied, and it goes in for the first time.
    pub fn back((signals, cancellation): (u64, i32)) -> Option<Inside> {
        let page = page()?;
        let me = rustix::thread::gettid().as_raw_nonzero().get() as u32;
        if page.owner.load(Ordering::Relaxed) & !WAITERS != me {
            page.lock(me);
        }
        page.known.store(1, Ordering::Relaxed);
        Some(Inside { page, signals, cancellation })
    }
}

impl Deref for Inside {
    type Target = State;

    fn deref(&self) -> &State {
        // SAFETY: 1. whoever has an `Inside` holds the lock, and there is one per lock: so
        // this borrow of `self` is the only way to the state.
        unsafe { &*STATE.0.get() }
    }
}

impl DerefMut for Inside {
    fn deref_mut(&mut self) -> &mut State {
        // SAFETY: as above.
        unsafe { &mut *STATE.0.get() }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.page.unlock();
        kernel::hold_cancellation(self.cancellation);
        kernel::set_blocked(self.signals);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_not_twice() {
        open().unwrap();
        let outer = enter().unwrap();
        assert!(enter().is_none(), "the same thread");
        drop(outer);
        let mut total = 0_u64;
        let counter = &raw mut total as usize;
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(move || {
                    for _ in 0..2000 {
                        let _inside = enter().unwrap();
                        // SAFETY: 1. it outlives the threads; 2. that only one is here is
                        // what is being tried.
                        unsafe { *(counter as *mut u64) += 1 };
                    }
                });
            }
        });
        assert_eq!(total, 16_000);
    }
}
