//! A held access that is a segmentation fault.
//!
//! For a moment the kernel itself refuses the page what the access asks for, and the thread
//! is woken to meet that:
//!
//! | why | for a moment the page is | an instruction gets | a system call |
//! |---|---|---|---|
//! | a store is denied | read-only | the kernel's SIGSEGV | EFAULT |
//! | a load is denied, or there is no area | poison | SIGBUS, of which the machine's hook for marks makes SIGSEGV | EFAULT |
//!
//! So who is told of an error is who meets it, and whoever may access the page goes on. A
//! signal sent to the thread could come late: it may have been let go meanwhile, by whoever
//! changed the page or by another handler that was told of the same wait, and be anywhere by
//! then.
//!
//! In a moment no page comes or goes: the kernel moves none into or out of one
//! that is read-only, and what came to an error would be lost with it.
//!
//! A moment that was too short does no harm: the access is held again, and comes here
//! again.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use faultless_addr::{Access, VirtRange};
use faultless_machine::{Held, Segv};
use faultless_sys::Errno;
use faultless_sys::memory::{Rights, dont_need, set_rights};
use faultless_sys::process::processor_time;
use faultless_sys::uffd::Stopped;

use crate::arena::Arena;
use crate::error::{PageError, Verb};

/// A woken thread has met its error by then, if it gets a processor.
const MOMENT: Duration = Duration::from_millis(2);
/// What it takes of a processor to come out of the wait and to try the access again.
const RETRY: Duration = Duration::from_micros(20);

/// See the [module's description](self).
pub(crate) fn end(
    arena: &Arena,
    moments: &Moments,
    held: &Held,
    why: Segv,
) -> Result<(), PageError> {
    let Some(turn) = Turn::begin(held.thread) else { return Ok(()) };
    let page = arena.pages(held.addr.page_start(), 1);
    let _moment = moments.begin();
    let refused = match (why, held.access) {
        (Segv::AccErr, Access::Write) => deny_stores(arena, page, &turn),
        (Segv::AccErr | Segv::MapErr, _) => poison(arena, page, &turn),
    };
    refused.map_err(|errno| PageError::new(Verb::Poison, held.addr, errno))
}

/// Makes the page an error until the thread has met it.
fn poison(arena: &Arena, page: VirtRange, turn: &Turn) -> Result<(), Errno> {
    match arena.uffd.poison(page) {
        Ok(()) => {
            turn.wait_until_over();
            // SAFETY: 1. the page is in our arena; 2. it was absent, and none is mapped in a
            // moment.
            unsafe { dont_need(page) }
        }
        // It has come meanwhile, or it is an error that is there for longer.
        Err(Stopped { errno: Errno::EXIST, .. }) => arena.uffd.wake(page),
        Err(stopped) => Err(stopped.errno),
    }
}

/// Makes the page read-only until the thread has met that; others may load it.
fn deny_stores(arena: &Arena, page: VirtRange, turn: &Turn) -> Result<(), Errno> {
    // SAFETY: 1. the page is in our arena; 2. what the access was denied, no other may do: the
    // driver promises that no verb gives a right while it ends an access.
    unsafe { set_rights(page, Rights::Read)? };
    let woken = arena.uffd.wake(page);
    if woken.is_ok() {
        turn.wait_until_over();
    }
    // SAFETY: 1. as it was before.
    unsafe { set_rights(page, Rights::ReadWrite)? };
    woken?;
    // Others may have been held meanwhile.
    arena.uffd.wake(page)
}

/// Keeps those who end accesses and those who move pages apart.
#[derive(Debug, Default)]
pub(crate) struct Moments(RwLock<()>);

impl Moments {
    fn begin(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until the end of what it answers there is none. To be held for a call of the kernel's,
    /// not while something is waited for.
    pub fn keep_off(&self) -> RwLockReadGuard<'_, ()> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread's next turn on a processor, in which it tries its access again.
///
/// Whether it waits isn't asked: while something is to be done for it that interrupts waits
/// (a signal, or what io_uring leaves to it), a thread in a system call doesn't sleep, but
/// tries again and again.
struct Turn {
    thread: i32,
    /// What it has had.
    before: Duration,
}

impl Turn {
    /// None where the thread is gone.
    fn begin(thread: i32) -> Option<Turn> {
        Some(Turn { thread, before: processor_time(thread)? })
    }

    /// Waits until it has had enough of a processor, or some and sleeps again: perhaps until
    /// we see to its next fault.
    fn wait_until_over(&self) {
        let since = Instant::now();
        let is_over = |had: Duration| had >= RETRY || !had.is_zero() && sleeps(self.thread);
        // Its number may be another thread's by now, which has had less.
        let had = || processor_time(self.thread).map(|time| time.saturating_sub(self.before));
        while since.elapsed() < MOMENT && !had().is_none_or(is_over) {
            std::thread::yield_now();
        }
    }
}

fn sleeps(thread: i32) -> bool {
    let said = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat"));
    // "1 (a name) S ...", where the name may be anything.
    said.is_ok_and(|said| said.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('R')))
}
