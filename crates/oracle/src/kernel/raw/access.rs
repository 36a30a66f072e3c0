//! Loads, stores and calls at any address, that end with a report where a signal
//! would have ended the process.
//!
//! The copy routine is a few instructions between two labels. The handler of
//! SIGSEGV and SIGBUS notes what happened and, where the instruction pointer is
//! between the labels, lets the routine return 1.

use std::cell::UnsafeCell;
use std::mem::zeroed;
use std::ptr::null_mut;

use crate::call::PAGE;

/// What the handler noted.
#[derive(Clone, Copy, Default)]
pub struct Noted {
    pub number: i32,
    pub code: i32,
    pub addr: u64,
}

/// Memory that the handler and the worker's one thread share.
struct Shared<T>(UnsafeCell<T>);

// SAFETY: a worker has one thread; the handler runs on it, and only while the
// thread is inside the routines below, which don't touch what is noted.
unsafe impl<T> Sync for Shared<T> {}

static NOTED: Shared<Noted> = Shared(UnsafeCell::new(Noted { number: 0, code: 0, addr: 0 }));
static FETCHING: Shared<u64> = Shared(UnsafeCell::new(0));

const STACK_LEN: usize = 32 << 10;
static STACK: Shared<[u8; STACK_LEN]> = Shared(UnsafeCell::new([0; STACK_LEN]));

// The first byte is touched by itself, so that the address told is that byte's.
std::arch::global_asm!(
    ".text",
    "faultless_oracle_copy:",
    "faultless_oracle_copy_first:",
    "mov al, [rsi]",
    "mov [rdi], al",
    "mov rcx, rdx",
    "rep movsb",
    "faultless_oracle_copy_last:",
    "xor eax, eax",
    "ret",
    "faultless_oracle_fault:",
    "mov eax, 1",
    "ret",
    "faultless_oracle_fetch:",
    "call rdi",
    "xor eax, eax",
    "ret",
);

// SAFETY: as written above: `copy(to, from, len)` and `fetch(addr)` follow the C
// calling convention and answer 0 or, by way of the handler, 1.
unsafe extern "C" {
    fn faultless_oracle_copy(to: u64, from: u64, len: u64) -> u64;
    fn faultless_oracle_fetch(addr: u64) -> u64;
    static faultless_oracle_copy_first: u8;
    static faultless_oracle_copy_last: u8;
    static faultless_oracle_fault: u8;
}

/// Takes SIGSEGV and SIGBUS, on a stack of its own.
pub fn install() {
    // SAFETY: 1. the stack is a static that nothing else uses. 2. The handler has
    // the form that SA_SIGINFO asks for. 3. It does only what a handler may.
    unsafe {
        let stack = libc::stack_t { ss_sp: STACK.0.get().cast(), ss_flags: 0, ss_size: STACK_LEN };
        libc::sigaltstack(&stack, null_mut());
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGSEGV, &action, null_mut());
        libc::sigaction(libc::SIGBUS, &action, null_mut());
        let mut none: libc::sigset_t = zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, null_mut());
        // Whoever ends the harness closes the channels, and that ends the workers.
        for number in [libc::SIGPIPE, libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::signal(number, libc::SIG_IGN);
        }
    }
}

extern "C" fn handler(number: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: 1. the kernel passes a valid siginfo and context to a handler with
    // SA_SIGINFO, and both are ours until we return. 2. Statics as at `Shared`.
    // 3. The new instruction pointer is the routine's own error exit, with the
    // stack as at its entry: the copy pushes nothing, the call pushed one word.
    unsafe {
        *NOTED.0.get() = Noted { number, code: (*info).si_code, addr: (*info).si_addr() as u64 };
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let at = registers[libc::REG_RIP as usize] as u64;
        let first = &raw const faultless_oracle_copy_first as u64;
        let last = &raw const faultless_oracle_copy_last as u64;
        if at == *FETCHING.0.get() {
            registers[libc::REG_RSP as usize] += 8;
        } else if !(first..last).contains(&at) {
            libc::_exit(99);
        }
        registers[libc::REG_RIP as usize] = &raw const faultless_oracle_fault as i64;
    }
}

/// Copies, page by page; one side is the worker's own memory.
///
/// # Safety
/// The worker's own side must hold `len` bytes; the other may be anything but
/// memory that Rust uses.
pub unsafe fn copy(to: u64, from: u64, len: u64, foreign: u64) -> Result<(), Noted> {
    let mut done = 0;
    while done < len {
        let piece = (PAGE - (foreign + done) % PAGE).min(len - done);
        // SAFETY: the caller's promise; a fault comes back as 1.
        if unsafe { faultless_oracle_copy(to + done, from + done, piece) } != 0 {
            return Err(noted());
        }
        done += piece;
    }
    Ok(())
}

/// Calls the instruction at an address.
///
/// # Safety
/// If it can be executed, it must be a return.
pub unsafe fn fetch(addr: u64) -> Result<(), Noted> {
    // SAFETY: the caller's promise; a fault comes back as 1. The static as at `Shared`.
    let failed = unsafe {
        *FETCHING.0.get() = addr;
        let failed = faultless_oracle_fetch(addr) != 0;
        *FETCHING.0.get() = 0;
        failed
    };
    if failed { Err(noted()) } else { Ok(()) }
}

fn noted() -> Noted {
    // SAFETY: as at `Shared`.
    unsafe { *NOTED.0.get() }
}

/// The number of the last failed call, negated.
pub fn last_error() -> i64 {
    // SAFETY: the thread's own errno.
    -i64::from(unsafe { *libc::__errno_location() })
}
