//! The kernel's own calls, by number: what they do to memory is the caller's to answer for.

#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;

use faultless_sys::Errno;
use faultless_sys::call::call;

/// What a system call answers.
pub type Answer = Result<usize, Errno>;

/// mmap(2)'s arguments.
#[derive(Clone, Copy, Debug)]
pub struct Mmap {
    /// The address, or a hint.
    pub addr: usize,
    /// Bytes.
    pub len: usize,
    /// `PROT_*`.
    pub prot: i32,
    /// `MAP_*`.
    pub flags: i32,
    /// The file.
    pub fd: i32,
    /// Where in the file.
    pub offset: i64,
}

impl Mmap {
    /// Has the kernel do it.
    ///
    /// # Safety
    /// As mmap(2).
    pub unsafe fn call(&self) -> Answer {
        let Mmap { addr, len, prot, flags, fd, offset } = *self;
        let arguments = [addr, len, prot as usize, flags as usize, fd as usize, offset as usize];
        // SAFETY: the caller's promise is ours.
        unsafe { call(libc::SYS_mmap, arguments) }
    }
}

/// munmap(2).
///
/// # Safety
/// As munmap(2).
pub unsafe fn munmap(addr: usize, len: usize) -> Answer {
    // SAFETY: the caller's promise is ours.
    unsafe { call(libc::SYS_munmap, [addr, len, 0, 0, 0, 0]) }
}

/// mprotect(2).
///
/// # Safety
/// As mprotect(2).
pub unsafe fn mprotect(addr: usize, len: usize, prot: i32) -> Answer {
    // SAFETY: the caller's promise is ours.
    unsafe { call(libc::SYS_mprotect, [addr, len, prot as usize, 0, 0, 0]) }
}

/// mremap(2).
///
/// # Safety
/// As mremap(2).
pub unsafe fn mremap(addr: usize, old: usize, new: usize, flags: i32, to: usize) -> Answer {
    // SAFETY: the caller's promise is ours.
    unsafe { call(libc::SYS_mremap, [addr, old, new, flags as usize, to, 0]) }
}

/// madvise(2).
///
/// # Safety
/// As madvise(2).
pub unsafe fn madvise(addr: usize, len: usize, advice: i32) -> Answer {
    // SAFETY: the caller's promise is ours.
    unsafe { call(libc::SYS_madvise, [addr, len, advice as usize, 0, 0, 0]) }
}

/// msync(2).
///
/// # Safety
/// As msync(2).
pub unsafe fn msync(addr: usize, len: usize, flags: i32) -> Answer {
    // SAFETY: the caller's promise is ours.
    unsafe { call(libc::SYS_msync, [addr, len, flags as usize, 0, 0, 0]) }
}

/// mlock(2).
///
/// # Safety
/// As mlock(2).
pub(crate) unsafe fn mlock(addr: usize, len: usize) -> Answer {
    // SAFETY: the caller's promise is ours.
    unsafe { call(libc::SYS_mlock, [addr, len, 0, 0, 0, 0]) }
}

/// Memory of zeros for us alone, `len` bytes.
pub(crate) fn private_memory(len: usize) -> Answer {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let new = Mmap { addr: 0, len, prot, flags, fd: -1, offset: 0 };
    // SAFETY: 1. the kernel chooses addresses where nothing is.
    unsafe { new.call() }
}

/// Blocks all signals of this thread; answers those that were blocked.
pub(crate) fn block_signals() -> u64 {
    let (all, mut before) = (u64::MAX, 0_u64);
    let (new, old) = (&raw const all as usize, &raw mut before as usize);
    let arguments = [libc::SIG_SETMASK as usize, new, old, size_of::<u64>(), 0, 0];
    // SAFETY: 1. both sets are alive, and as long as said. (The kernel leaves out SIGKILL
    // and SIGSTOP by itself.)
    let blocked = unsafe { call(libc::SYS_rt_sigprocmask, arguments) };
    debug_assert_eq!(blocked, Ok(0));
    before
}

/// Blocks those signals, and no others.
pub(crate) fn set_blocked(signals: u64) {
    let new = &raw const signals as usize;
    let arguments = [libc::SIG_SETMASK as usize, new, 0, size_of::<u64>(), 0, 0];
    // SAFETY: as above.
    let _ = unsafe { call(libc::SYS_rt_sigprocmask, arguments) };
}

/// write(2), which sends this thread no signal, neither for a pipe that nobody reads
/// (SIGPIPE) nor for a file that is as long as it may be (SIGXFSZ).
pub(crate) fn write_quietly(fd: BorrowedFd<'_>, bytes: &[u8]) -> Answer {
    let before = block_signals();
    let others = pending_signals();
    let answer = rustix::io::write(fd, bytes);
    let sent = match answer {
        Err(Errno::PIPE) => bit_of(libc::SIGPIPE),
        Err(Errno::FBIG) => bit_of(libc::SIGXFSZ),
        _ => 0,
    };
    // One that was there before isn't of this call.
    if sent & !others != 0 {
        take_signal(sent);
    }
    set_blocked(before);
    answer
}

fn bit_of(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Those that wait to be let through.
fn pending_signals() -> u64 {
    let mut pending = 0_u64;
    let arguments = [&raw mut pending as usize, size_of::<u64>(), 0, 0, 0, 0];
    // SAFETY: 1. the set is alive, and as long as said.
    let _ = unsafe { call(libc::SYS_rt_sigpending, arguments) };
    pending
}

/// Takes one of these signals, which are blocked, if it waits.
fn take_signal(signals: u64) {
    let now = [0_i64; 2];
    let (set, now) = (&raw const signals as usize, &raw const now as usize);
    let arguments = [set, 0, now, size_of::<u64>(), 0, 0];
    // SAFETY: 1. the set and the time (two words on 64-bit machines) are alive, and as long
    // as said; 2. nothing is written.
    let _ = unsafe { call(libc::SYS_rt_sigtimedwait, arguments) };
}

/// Has this thread not be cancelled; answers what it was before.
pub(crate) fn hold_cancellation(state: i32) -> i32 {
    // SAFETY: 1. the declaration is that of <pthread.h>.
    unsafe extern "C" {
        fn pthread_setcancelstate(state: i32, before: *mut i32) -> i32;
    }
    let mut before = 0;
    // SAFETY: 1. it changes a word of the thread's own, and writes the earlier one to ours.
    unsafe { pthread_setcancelstate(state, &mut before) };
    before
}

/// `PTHREAD_CANCEL_DISABLE`.
pub(crate) const NO_CANCELLATION: i32 = 1;
