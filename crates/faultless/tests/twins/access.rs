//! Loads and stores at any address, which end with a report where a signal would have
//! ended the process.
//!
//! Each routine is a few instructions between two labels. The handler of SIGSEGV and
//! SIGBUS notes what happened and, where the instruction pointer is between the labels, has
//! the routine return 1. It is installed before any `Vm`, whose own handler passes on what
//! isn't its own.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::Once;

use super::PAGE;
use super::watch;

/// What ended an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub signal: i32,
    pub code: i32,
    /// The address in `siginfo_t`, or its distance from the start of a mapping.
    pub at: isize,
}

thread_local! {
    static NOTED: Cell<Option<Fault>> = const { Cell::new(None) };
}

// The first byte of a copy is touched by itself, so that the address told is that byte's.
std::arch::global_asm!(
    ".text",
    // The compiler may use them in other object files than this one.
    ".globl faultless_twins_first, faultless_twins_load_1, faultless_twins_load_2, faultless_twins_load_4",
    ".globl faultless_twins_load_8, faultless_twins_store_1, faultless_twins_store_2, faultless_twins_store_4",
    ".globl faultless_twins_store_8, faultless_twins_copy, faultless_twins_last, faultless_twins_fault",
    "faultless_twins_first:",
    "faultless_twins_load_1:",
    "movzx eax, byte ptr [rdi]",
    "jmp 2f",
    "faultless_twins_load_2:",
    "movzx eax, word ptr [rdi]",
    "jmp 2f",
    "faultless_twins_load_4:",
    "mov eax, [rdi]",
    "jmp 2f",
    "faultless_twins_load_8:",
    "mov rax, [rdi]",
    "2:",
    "mov [rsi], rax",
    "xor eax, eax",
    "ret",
    "faultless_twins_store_1:",
    "mov [rdi], sil",
    "xor eax, eax",
    "ret",
    "faultless_twins_store_2:",
    "mov [rdi], si",
    "xor eax, eax",
    "ret",
    "faultless_twins_store_4:",
    "mov [rdi], esi",
    "xor eax, eax",
    "ret",
    "faultless_twins_store_8:",
    "mov [rdi], rsi",
    "xor eax, eax",
    "ret",
    "faultless_twins_copy:",
    "mov al, [rsi]",
    "mov [rdi], al",
    "mov rcx, rdx",
    "rep movsb",
    "xor eax, eax",
    "faultless_twins_last:",
    "ret",
    "faultless_twins_fault:",
    "mov eax, 1",
    "ret",
);

// SAFETY: as written above: the routines follow the C calling convention, and answer 0 or,
// by way of the handler, 1.
unsafe extern "C" {
    fn faultless_twins_load_1(from: usize, to: *mut u64) -> u32;
    fn faultless_twins_load_2(from: usize, to: *mut u64) -> u32;
    fn faultless_twins_load_4(from: usize, to: *mut u64) -> u32;
    fn faultless_twins_load_8(from: usize, to: *mut u64) -> u32;
    fn faultless_twins_store_1(to: usize, value: u64) -> u32;
    fn faultless_twins_store_2(to: usize, value: u64) -> u32;
    fn faultless_twins_store_4(to: usize, value: u64) -> u32;
    fn faultless_twins_store_8(to: usize, value: u64) -> u32;
    fn faultless_twins_copy(to: usize, from: usize, len: usize) -> u32;
    static faultless_twins_first: u8;
    static faultless_twins_last: u8;
    static faultless_twins_fault: u8;
}

/// Before any `Vm`.
pub fn catch_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: a zeroed action is valid; `handler` has the type SA_SIGINFO asks for.
            unsafe {
                let action = action.assume_init_mut();
                action.sa_sigaction = handler as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                assert_eq!(libc::sigaction(signal, action, null_mut()), 0);
            }
        }
    });
}

extern "C" fn handler(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: 1. the kernel passes a valid siginfo and context to a handler with
    // SA_SIGINFO, and both are ours until we return. 2. The new instruction pointer is the
    // routines' own error exit; none of them pushes anything.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let at = registers[libc::REG_RIP as usize] as usize;
        let (code, addr) = ((*info).si_code, (*info).si_addr() as isize);
        let routines =
            &raw const faultless_twins_first as usize..&raw const faultless_twins_last as usize;
        if !routines.contains(&at) {
            watch::say_signal(signal, code, addr as usize, at);
            libc::signal(signal, libc::SIG_DFL);
            return;
        }
        NOTED.set(Some(Fault { signal, code, at: addr }));
        registers[libc::REG_RIP as usize] = &raw const faultless_twins_fault as i64;
    }
}

fn ended(answer: u32) -> Result<(), Fault> {
    match answer {
        0 => Ok(()),
        _ => Err(NOTED.take().expect("the handler has noted what it was")),
    }
}

/// Bytes that one instruction can load or store.
pub const SIZES: [usize; 4] = [1, 2, 4, 8];

/// A load of 1, 2, 4 or 8 bytes by one instruction.
pub fn load(from: usize, len: usize) -> Result<u64, Fault> {
    let routine = match len {
        1 => faultless_twins_load_1,
        2 => faultless_twins_load_2,
        4 => faultless_twins_load_4,
        _ => faultless_twins_load_8,
    };
    let mut value = 0;
    // SAFETY: whatever the address, a fault comes back as 1; the value is a local's.
    ended(unsafe { routine(from, &mut value) })?;
    Ok(value)
}

/// A store of 1, 2, 4 or 8 bytes by one instruction.
pub fn store(to: usize, len: usize, value: u64) -> Result<(), Fault> {
    let routine = match len {
        1 => faultless_twins_store_1,
        2 => faultless_twins_store_2,
        4 => faultless_twins_store_4,
        _ => faultless_twins_store_8,
    };
    // SAFETY: callers give addresses of twins, whose bytes are used in this way alone, or
    // that nothing has.
    ended(unsafe { routine(to, value) })
}

/// Loads many bytes, page by page; answers how many, in whole pieces of pages.
pub fn load_many(from: usize, into: &mut [u8]) -> (usize, Option<Fault>) {
    let to = into.as_mut_ptr() as usize;
    // SAFETY: as for `load`; the bytes copied to are the slice's.
    in_pieces(from, into.len(), |done, len| unsafe {
        faultless_twins_copy(to + done, from + done, len)
    })
}

/// Stores many bytes, page by page; answers how many, in whole pieces of pages.
pub fn store_many(to: usize, from: &[u8]) -> (usize, Option<Fault>) {
    let source = from.as_ptr() as usize;
    // SAFETY: as for `store`; the bytes copied from are the slice's.
    in_pieces(to, from.len(), |done, len| unsafe {
        faultless_twins_copy(to + done, source + done, len)
    })
}

fn in_pieces(
    at: usize,
    len: usize,
    mut copy: impl FnMut(usize, usize) -> u32,
) -> (usize, Option<Fault>) {
    let mut done = 0;
    while done < len {
        let piece = (PAGE - (at + done) % PAGE).min(len - done);
        if let Err(fault) = ended(copy(done, piece)) {
            return (done, Some(fault));
        }
        done += piece;
    }
    (done, None)
}
