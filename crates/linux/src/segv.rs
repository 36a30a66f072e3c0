//! A held access that is a segmentation fault.
//!
//! | who accesses | where | how it ends |
//! |---|---|---|
//! | an instruction | anywhere | SIGSEGV with its code and address ([`raise`]) |
//! | a system call | on an absent page | the page is poison for a moment: EFAULT |
//! | a system call | storing to a protected page | the page is read-only to the kernel for a moment: EFAULT |
//! | who is awake again | anywhere | as a system call: an instruction then meets the error itself, and the machine's hook for marks says what it is |
//!
//! Signals don't end a wait in a system call: with one pending, the kernel would ask again
//! and again. A fault message doesn't tell which kind it is, but /proc does, while the thread
//! waits.
//!
//! A moment that was too short does no harm: the access is held again, and comes here
//! again.

use std::time::{Duration, Instant};

use faultless_addr::VirtRange;
use faultless_machine::{Held, Segv};
use faultless_sys::Errno;
use faultless_sys::memory::{Rights, dont_need, set_rights};
use faultless_sys::raise::raise;
use faultless_sys::uffd::Stopped;

use crate::arena::Arena;
use crate::error::{PageError, Verb};
use crate::inline::trap;

/// A woken thread has taken its error by then, if it gets a processor.
const MOMENT: Duration = Duration::from_millis(2);

/// See the [module's description](self).
pub(crate) fn end(arena: &Arena, held: &Held, why: Segv) -> Result<(), PageError> {
    let range = arena.pages(held.addr.page_start(), 1);
    let error = |errno| PageError::new(Verb::Poison, held.addr, errno);
    match where_is(held.thread) {
        Whereabouts::Gone => Ok(()),
        Whereabouts::Program => match raise(held.thread, held.addr, trap(why)) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(error(errno)),
        },
        now => refuse(arena, range, held, &now).map_err(error),
    }
}

/// Makes the page an error until the thread has seen it.
fn refuse(arena: &Arena, range: VirtRange, held: &Held, was: &Whereabouts) -> Result<(), Errno> {
    match arena.uffd.poison(range) {
        Ok(()) => {
            wait_until_moved(held.thread, was);
            // SAFETY: 1. the page is in our arena; 2. it was absent, and the driver
            // promises not to map a page while it ends an access to it.
            unsafe { dont_need(range) }
        }
        Err(Stopped { errno: Errno::EXIST, .. }) => {
            // SAFETY: 1. the page is in our arena; 2. loads go through, and stores are
            // what is to be refused.
            unsafe { set_rights(range, Rights::Read)? };
            arena.uffd.wake(range)?;
            wait_until_moved(held.thread, was);
            // SAFETY: 1. as it was before.
            unsafe { set_rights(range, Rights::ReadWrite)? };
            // Others may have been held meanwhile.
            arena.uffd.wake(range)
        }
        Err(stopped) => Err(stopped.errno),
    }
}

#[derive(PartialEq)]
enum Whereabouts {
    Gone,
    /// At an instruction of the program, waiting.
    Program,
    /// Not waiting: somebody else has woken it, or a signal has.
    Awake,
    /// The call's number, its arguments, and the stack and program counters.
    SystemCall(String),
}

fn where_is(thread: i32) -> Whereabouts {
    match std::fs::read_to_string(format!("/proc/self/task/{thread}/syscall")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Whereabouts::Gone,
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Whereabouts::Gone,
        Ok(text) if text.starts_with("running") => Whereabouts::Awake,
        // "-1 …" is a wait outside system calls.
        Ok(text) if text.starts_with(|c: char| c.is_ascii_digit()) => Whereabouts::SystemCall(text),
        // Where /proc isn't there, most accesses are by instructions.
        _ => Whereabouts::Program,
    }
}

fn wait_until_moved(thread: i32, was: &Whereabouts) {
    let since = Instant::now();
    while since.elapsed() < MOMENT && where_is(thread) == *was {
        std::thread::yield_now();
    }
}
