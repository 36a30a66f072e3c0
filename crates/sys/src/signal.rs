//! The SIGBUS hook.
//!
//! One handler per process, chained to the one that was there before it: a fault
//! that the hook's function declines is the earlier handler's, and where there was
//! none the process dies as it would have.
//!
//! It runs on the stack of the faulting thread, not on an alternate one, because
//! serving a fault may take more stack than those have. It doesn't block SIGBUS, so
//! the function may itself touch memory that faults. `errno` is preserved.
//!
//! Whoever installs a handler for SIGBUS later takes its place. If that handler
//! calls the one it found, all works on; if it doesn't, faults of inline mappings
//! reach it instead of us, as do those that poison ends.

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use faultless_addr::{Access, VirtAddr};

use crate::raise::Trap;
use crate::{Errno, last_errno, raise};

/// A memory access that raised SIGBUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was touched.
    pub addr: VirtAddr,
    /// How, where the processor's error code is known to us (x86-64).
    pub access: Option<Access>,
    /// `si_code`: `BUS_ADRERR` for an absent page of an inline mapping; for a
    /// poisoned one `BUS_MCEERR_AR`, or `BUS_ADRERR` as well where the kernel was
    /// built without CONFIG_MEMORY_FAILURE.
    pub code: i32,
}

/// What the hook's function made of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The access can be tried again.
    Retry,
    /// The access is to be told this signal, after the hook has returned and in the
    /// context of the faulting instruction.
    Trap(Trap),
    /// Not ours: the earlier handler's.
    Pass,
}

/// Why the hook could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Another function is installed already, for good.
    #[error("another function has this process's SIGBUS hook")]
    Taken,
    /// sigaction(2) failed.
    #[error("sigaction(SIGBUS): {0}")]
    Refused(Errno),
}

/// The function, or null.
static FUNCTION: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// What was there before us. Set before our handler is installed.
static EARLIER: OnceLock<libc::sigaction> = OnceLock::new();

/// Calls `function` for every SIGBUS that an access of this process raises, from now
/// to the process's end. Installing the same function again does nothing.
///
/// `function` runs in the faulting thread, between two of its instructions: it must
/// not take a lock that the thread may hold while it touches such memory.
pub fn install(function: fn(&Fault) -> Verdict) -> Result<(), InstallError> {
    let new = function as *mut ();
    match FUNCTION.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {}
        Err(old) if old == new => {}
        Err(_) => return Err(InstallError::Taken),
    }
    install_handler().map_err(InstallError::Refused)
}

/// Puts our handler in place, once.
fn install_handler() -> Result<(), Errno> {
    static INSTALLED: OnceLock<Result<(), Errno>> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        // Asked first and kept first: the handler may run before sigaction(2) returns.
        let earlier = swap_action(None)?;
        EARLIER.set(earlier).ok();
        // SAFETY: 1. all-zero bytes are a value of this C structure.
        let mut ours: libc::sigaction = unsafe { std::mem::zeroed() };
        ours.sa_sigaction = handler as *const () as usize;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER | libc::SA_RESTART;
        swap_action(Some(&ours)).map(drop)
    })
}

fn swap_action(new: Option<&libc::sigaction>) -> Result<libc::sigaction, Errno> {
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: 1. all-zero bytes are a value of this C structure.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: 1. `new` is null or a live structure whose handler is `handler`, which
    // has the signature of SA_SIGINFO and lives as long as the program; 2. `old` is ours.
    match unsafe { libc::sigaction(libc::SIGBUS, new, &mut old) } {
        0 => Ok(old),
        _ => Err(last_errno()),
    }
}

extern "C" fn handler(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: 1. the C library's errno is this thread's own, always readable.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: 1. the kernel calls an SA_SIGINFO handler with pointers to the signal's
    // information and context, alive until it returns.
    unsafe { dispatch(signal, info, context) };
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// # Safety
/// The arguments are those of an SA_SIGINFO handler for SIGBUS.
unsafe fn dispatch(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: 1. `info` is alive; 2. every member read is plain integers.
    let code = unsafe { (*info).si_code };
    if is_access(code) {
        let function = FUNCTION.load(Ordering::Acquire);
        if !function.is_null() {
            // SAFETY: 1. only `install` stores here, and only `fn(&Fault) -> Verdict`.
            let function =
                unsafe { std::mem::transmute::<*mut (), fn(&Fault) -> Verdict>(function) };
            // SAFETY: 1. a positive code of SIGBUS comes with an address.
            let addr = VirtAddr(unsafe { (*info).si_addr() } as u64);
            // SAFETY: 1. `context` is this signal's.
            let access = unsafe { access_of(context) };
            match function(&Fault { addr, access, code }) {
                Verdict::Retry => return,
                // SAFETY: 1. `context` is this signal's.
                Verdict::Trap(trap) => return unsafe { raise::here(trap, addr, context) },
                Verdict::Pass => {}
            }
        }
    }
    // SAFETY: by the caller's promise.
    unsafe { pass_on(signal, info, context, code) };
}

/// Was it an instruction of this thread, which is tried again when we return?
fn is_access(code: i32) -> bool {
    matches!(code, libc::BUS_ADRALN | libc::BUS_ADRERR | libc::BUS_OBJERR | libc::BUS_MCEERR_AR)
}

/// Does what would have been done without us.
///
/// # Safety
/// As for [`dispatch`].
unsafe fn pass_on(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
    code: i32,
) {
    let (action, flags) = match EARLIER.get() {
        Some(earlier) => (earlier.sa_sigaction, earlier.sa_flags),
        None => (libc::SIG_DFL, 0),
    };
    match action {
        // The kernel doesn't let an access be ignored: it kills as by default.
        libc::SIG_IGN if !is_access(code) => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: 1. the default action is no pointer; both calls are
            // async-signal-safe.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                // An access faults again after we return; anything else is gone.
                if !is_access(code) {
                    libc::raise(signal);
                }
            }
        }
        function if flags & libc::SA_SIGINFO != 0 => {
            type Action = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            // SAFETY: 1. neither SIG_DFL nor SIG_IGN, so it is a function; 2. with
            // SA_SIGINFO it has this signature; 3. we call it in the place of the kernel.
            let function = unsafe { std::mem::transmute::<usize, Action>(function) };
            function(signal, info, context);
        }
        function => {
            // SAFETY: 1., 3. as above; 2. without SA_SIGINFO it has this signature.
            let function =
                unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(function) };
            function(signal);
        }
    }
}

/// What the instruction did, from the processor's page-fault error code.
///
/// # Safety
/// `context` is the `ucontext_t` of a signal that an access has raised.
#[cfg(target_arch = "x86_64")]
unsafe fn access_of(context: *mut libc::c_void) -> Option<Access> {
    /// The access was a store.
    const WRITE: i64 = 1 << 1;
    /// The access was an instruction fetch.
    const FETCH: i64 = 1 << 4;
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: 1. by the caller's promise it is alive and of this type; 2. the kernel
    // has stored the error code in this register's place.
    let error = unsafe { (*context).uc_mcontext.gregs[libc::REG_ERR as usize] };
    Some(match error {
        error if error & WRITE != 0 => Access::Write,
        error if error & FETCH != 0 => Access::Execute,
        _ => Access::Read,
    })
}

/// # Safety
/// As on x86-64; the context is not read.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn access_of(_context: *mut libc::c_void) -> Option<Access> {
    None
}
