//! A SIGSEGV or SIGBUS for another thread, as if its own access had raised it.
//!
//! The thread that reads fault messages decides that an access is an error, but it
//! is another thread that must get the signal, with `si_code` and `si_addr` as the
//! kernel would have set them. Linux lets a thread queue a signal with a kernel's
//! code only to itself (rt_tgsigqueueinfo(2): EPERM). So it goes in two steps:
//!
//! ```text
//! fault thread                    faulting thread, waiting for its page
//!     │  SIGBUS, SI_QUEUE,               │
//!     │  our mark, code, address         │
//!     ├─────────────────────────────────►│ the SIGBUS hook knows the mark,
//!     │                                  │ blocks SIGSEGV, queues SIGSEGV with the
//!     │                                  │ true code and address to itself, returns
//!     │                                  │ ── the mask of the instruction is back ──
//!     │                                  │ SIGSEGV's own handler runs, with the
//!     │                                  │ context of the faulting instruction
//! ```
//!
//! If that handler returns, the instruction faults again. As with a real fault, a
//! thread that blocks or ignores the signal dies by it.
//!
//! It interrupts a wait for a page only in user mode: while a *system call* waits
//! for one, no signal but a deadly one is delivered; poison the page instead, and
//! the call answers EFAULT.

use std::mem::MaybeUninit;

use faultless_addr::VirtAddr;

use crate::signal::Verdict;
use crate::{Errno, last_errno, process, signal};

/// What an access is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// SIGSEGV: there is no area at the address.
    Unmapped,
    /// SIGSEGV: the area's rights don't allow the access.
    Denied,
    /// SIGBUS: the area's object has no such page, or can't give it.
    NoPage,
}

impl Trap {
    const ALL: [Trap; 3] = [Trap::Unmapped, Trap::Denied, Trap::NoPage];

    fn signal_and_code(self) -> (libc::c_int, libc::c_int) {
        match self {
            Trap::Unmapped => (libc::SIGSEGV, 1), // SEGV_MAPERR
            Trap::Denied => (libc::SIGSEGV, 2),   // SEGV_ACCERR
            Trap::NoPage => (libc::SIGBUS, libc::BUS_ADRERR),
        }
    }
}

/// Raises `trap` in `thread` of this process, which waits in user mode for the page
/// at `addr`. Returns when the signal is queued; ESRCH if there is no such thread.
pub fn raise(thread: i32, addr: VirtAddr, trap: Trap) -> Result<(), Errno> {
    signal::install_handler()?;
    let (target, code) = trap.signal_and_code();
    if thread == process::thread_id() {
        return queue(thread, target, Info::new(target, code, addr, 0));
    }
    let mark = MARK | Trap::ALL.iter().position(|&other| other == trap).unwrap_or(0) as u64;
    queue(thread, libc::SIGBUS, Info::new(libc::SIGBUS, libc::SI_QUEUE, addr, mark))
}

/// In the SIGBUS handler: if this signal is ours by its mark, queues what it stands
/// for and answers [`Verdict::Retry`].
///
/// # Safety
/// The arguments are those of an SA_SIGINFO handler for SIGBUS.
pub(crate) unsafe fn relay(info: *mut libc::siginfo_t, context: *mut libc::c_void) -> Verdict {
    // SAFETY: 1. `info` is alive and 128 bytes long, as `Info` is; 2. `Info` has only
    // integers, so every bit pattern is a value; 3. both are 8-aligned.
    let queued = unsafe { info.cast::<Info>().read() };
    if queued.code != libc::SI_QUEUE || queued.mark & !0xff != MARK {
        return Verdict::Pass;
    }
    let Some(trap) = Trap::ALL.get((queued.mark & 0xff) as usize) else { return Verdict::Pass };
    // SAFETY: 1. by the caller's promise `context` is this signal's.
    unsafe { here(*trap, VirtAddr(queued.addr), context) };
    Verdict::Retry
}

/// In the SIGBUS handler: queues `trap` to this thread, for when the handler returns.
///
/// # Safety
/// `context` is that of the signal being handled.
pub(crate) unsafe fn here(trap: Trap, addr: VirtAddr, context: *mut libc::c_void) {
    let (target, code) = trap.signal_and_code();
    // SAFETY: 1. `context` is alive; the mask in it becomes the thread's when the
    // handler returns; 2. the calls are async-signal-safe.
    unsafe {
        let mask = &raw mut (*context.cast::<libc::ucontext_t>()).uc_sigmask;
        force(target, mask);
    }
    block(target);
    // Queueing to oneself is always permitted; with a full queue the access faults again.
    let _ = queue(process::thread_id(), target, Info::new(target, code, addr, 0));
}

/// Does as the kernel does for a real fault: where the signal is blocked or ignored
/// its default action is restored, and it is unblocked.
///
/// # Safety
/// `mask` can be read and written.
unsafe fn force(target: libc::c_int, mask: *mut libc::sigset_t) {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: 1. `mask` by the caller's promise; 2. `action` is written by a call that
    // succeeded before it is read; 3. the default action is no pointer.
    unsafe {
        let blocked = libc::sigismember(mask, target) == 1;
        let asked = libc::sigaction(target, std::ptr::null(), action.as_mut_ptr()) == 0;
        let ignored = asked && action.assume_init_ref().sa_sigaction == libc::SIG_IGN;
        if blocked || ignored {
            libc::signal(target, libc::SIG_DFL);
            libc::sigdelset(mask, target);
        }
    }
}

/// Blocks `target` in this thread until the running handler returns.
fn block(target: libc::c_int) {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: 1. sigemptyset initializes `set`; 2. no old mask is asked for.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), target);
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// "Faultles" in the bytes after the address; the lowest byte is the trap.
const MARK: u64 = 0x4661_756c_746c_6500;

/// The kernel's `siginfo_t` of 64-bit Linux, with what we use of it.
#[repr(C, align(8))]
struct Info {
    signal: i32,
    errno: i32,
    code: i32,
    _padding: i32,
    /// `si_addr`; for SI_QUEUE the place of `si_pid` and `si_uid`.
    addr: u64,
    /// For SI_QUEUE the place of `si_value`; 0 for real codes.
    mark: u64,
    _rest: [u64; 12],
}

const _: () = assert!(size_of::<Info>() == size_of::<libc::siginfo_t>());

impl Info {
    fn new(signal: i32, code: i32, addr: VirtAddr, mark: u64) -> Info {
        Info { signal, errno: 0, code, _padding: 0, addr: addr.0, mark, _rest: [0; 12] }
    }
}

fn queue(thread: i32, signal: libc::c_int, info: Info) -> Result<(), Errno> {
    // SAFETY: 1. `info` is a live structure of the kernel's size (asserted above),
    // which it only reads; 2. what a signal does to this process is its handler's.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_tgsigqueueinfo,
            process::process_id(),
            thread,
            signal,
            &raw const info,
        )
    };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}
