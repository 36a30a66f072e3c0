//! A SIGSEGV or SIGBUS with a kernel's code, for the thread whose access raised SIGBUS.
//!
//! What the kernel tells of an absent or a poisoned page is SIGBUS, but the page may be one
//! that is SIGSEGV. Linux lets a thread queue a signal with a kernel's code to itself, and
//! to nobody else (rt_tgsigqueueinfo(2): EPERM). So the SIGBUS handler of the accessing thread
//! blocks the true signal, queues it and returns: the mask of the instruction is back, and
//! the signal's own handler runs with the context of the faulting instruction.
//!
//! If that handler returns, the instruction faults again. As with a real fault, a
//! thread that blocks or ignores the signal dies by it.

use std::mem::MaybeUninit;
use std::ptr;

use faultless_addr::VirtAddr;

use crate::process;

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
    fn signal_and_code(self) -> (libc::c_int, libc::c_int) {
        match self {
            Trap::Unmapped => (libc::SIGSEGV, 1), // SEGV_MAPERR
            Trap::Denied => (libc::SIGSEGV, 2),   // SEGV_ACCERR
            Trap::NoPage => (libc::SIGBUS, libc::BUS_ADRERR),
        }
    }
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
    queue(target, &Info::new(target, code, addr));
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

/// The kernel's `siginfo_t` of 64-bit Linux, with what we use of it.
#[repr(C, align(8))]
struct Info {
    signal: i32,
    errno: i32,
    code: i32,
    _padding: i32,
    /// `si_addr`.
    addr: u64,
    _rest: [u64; 13],
}

const _: () = assert!(size_of::<Info>() == size_of::<libc::siginfo_t>());

impl Info {
    fn new(signal: i32, code: i32, addr: VirtAddr) -> Info {
        Info { signal, errno: 0, code, _padding: 0, addr: addr.0, _rest: [0; 13] }
    }
}

fn queue(signal: libc::c_int, info: &Info) {
    // SAFETY: 1. `info` is a live structure of the kernel's size (asserted above),
    // which it only reads; 2. what a signal does to this thread is its handler's.
    unsafe {
        libc::syscall(
            libc::SYS_rt_tgsigqueueinfo,
            process::process_id(),
            process::thread_id(),
            signal,
            ptr::from_ref(info),
        );
    }
}
