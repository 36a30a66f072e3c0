//! Loads and stores that may be refused, and what refused them; memory of the real kernel
//! beside memory of a `Vm`.

#![allow(dead_code, reason = "each test uses a part")]

use std::arch::asm;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use faultless::{Delivery, Vm};

pub const PAGE: usize = 4096;

pub const DELIVERIES: [Delivery; 2] = [Delivery::Thread, Delivery::Inline];

/// What ended an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub signal: i32,
    pub code: i32,
    /// The address in `siginfo_t`.
    pub addr: usize,
}

/// `si_code` of SIGSEGV.
pub const MAPERR: i32 = 1;
pub const ACCERR: i32 = 2;

pub fn denied(addr: *const u8) -> Refused {
    Refused { signal: libc::SIGSEGV, code: ACCERR, addr: addr as usize }
}

thread_local! {
    static REFUSED: Cell<Option<Refused>> = const { Cell::new(None) };
    static PROBING: Cell<bool> = const { Cell::new(false) };
}

/// Every instruction of a probe has so many bytes.
const INSTRUCTION_BYTES: i64 = 3;

extern "C" fn skip(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if !PROBING.get() {
        // SAFETY: the default action is no pointer; the access ends the process.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    }
    // SAFETY: both are those of this signal.
    unsafe {
        let (code, addr) = ((*info).si_code, (*info).si_addr() as usize);
        REFUSED.set(Some(Refused { signal, code, addr }));
        let context = &mut *context.cast::<libc::ucontext_t>();
        context.uc_mcontext.gregs[libc::REG_RIP as usize] += INSTRUCTION_BYTES;
    }
}

/// Before any `Vm`, whose own handler passes on what is not its own.
pub fn catch_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: a zeroed action is valid; `skip` has the type SA_SIGINFO asks for.
            unsafe {
                let action = action.assume_init_mut();
                action.sa_sigaction = skip as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                assert_eq!(libc::sigaction(signal, action, std::ptr::null_mut()), 0);
            }
        }
    });
}

fn probing(access: impl FnOnce()) -> Result<(), Refused> {
    REFUSED.set(None);
    PROBING.set(true);
    access();
    PROBING.set(false);
    REFUSED.take().map_or(Ok(()), Err)
}

/// A load by an instruction.
pub fn load(at: *const u8) -> Result<u8, Refused> {
    let mut byte: u32 = 0;
    // SAFETY: whatever the address, the handler goes on behind the instruction.
    probing(|| unsafe { asm!("movzx eax, byte ptr [rdi]", in("rdi") at, inout("eax") byte) })?;
    Ok(byte as u8)
}

/// A store by an instruction.
pub fn store(at: *mut u8, byte: u8) -> Result<(), Refused> {
    // SAFETY: as above; that the byte may be changed is the test's business.
    probing(|| unsafe { asm!("mov byte ptr [rdi], sil", in("rdi") at, in("sil") byte) })
}

/// A load by a system call.
pub fn load_by_call(at: *const u8) -> Result<u8, i32> {
    let (mut ends, mut byte) = ([0; 2], [0u8]);
    // SAFETY: a pipe of this function's own; the kernel checks the address.
    unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        let result = match libc::write(ends[1], at.cast(), 1) {
            1 => {
                assert_eq!(libc::read(ends[0], byte.as_mut_ptr().cast(), 1), 1);
                Ok(byte[0])
            }
            _ => Err(*libc::__errno_location()),
        };
        libc::close(ends[0]);
        libc::close(ends[1]);
        result
    }
}

/// Memory of the real kernel.
pub struct Kernel {
    pub start: *mut u8,
    pub len: usize,
}

/// Where nothing is placed by itself, so that holes stay holes.
static NEXT: AtomicUsize = AtomicUsize::new(16 << 40);

impl Kernel {
    pub fn anonymous(len: usize) -> Kernel {
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let hint = NEXT.fetch_add(1 << 30, Ordering::Relaxed) as *mut libc::c_void;
        // SAFETY: new memory, where nothing is.
        let start = unsafe { libc::mmap(hint, len, prot, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        Kernel { start: start.cast(), len }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // SAFETY: it is this value's own.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// The error number of a call that failed.
pub fn errno_of(result: libc::c_int) -> Result<(), i32> {
    // SAFETY: the place of this thread's number.
    if result == 0 { Ok(()) } else { Err(unsafe { *libc::__errno_location() }) }
}

pub fn swap_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

pub fn vm(memory: u64, swap: u64) -> Vm {
    catch_signals();
    Vm::builder().memory(memory).swap(swap_dir(), swap).build().unwrap()
}

/// The least budget, and swap.
pub fn small_vm() -> Vm {
    vm(Vm::MEMORY_MIN, 16 << 20)
}

/// A file of `pages` pages, each full of `byte(page)`.
pub fn file(pages: usize) -> std::fs::File {
    use std::io::Write as _;
    let mut file = tempfile::tempfile_in(swap_dir()).unwrap();
    for page in 0..pages {
        file.write_all(&[byte(page); PAGE]).unwrap();
    }
    file.sync_all().unwrap();
    file
}

pub fn byte(page: usize) -> u8 {
    (page * 7 + 3) as u8
}
