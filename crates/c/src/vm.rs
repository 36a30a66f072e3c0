//! A budget of memory, and the threads that keep it.

use std::ffi::{CStr, c_char, c_int};
use std::path::PathBuf;
use std::sync::Mutex;
use std::{ptr, slice};

use faultless::{PolicyKind, Vm};

use crate::error::{Failed, Result, answer};

/// A budget of memory. All that is mapped in it holds no more than that.
#[derive(Debug)]
pub struct FaultlessVm(pub(crate) Vm);

/// How a vm is to be. What is 0 or NULL is left to Faultless.
#[repr(C)]
#[derive(Debug)]
pub struct FaultlessOptions {
    /// The budget in bytes. It has to be said.
    pub memory: u64,
    /// The directory of the swap file, for anonymous memory and private copies beyond the
    /// budget; the file has no name there.
    pub swap_dir: *const c_char,
    /// How long the swap file may be.
    pub swap: u64,
    /// Who leaves first: "two-list", "clock", "sieve" or "s3-fifo".
    pub policy: *const c_char,
    /// Threads that serve faults.
    pub handlers: u32,
}

/// What a vm has done and holds, in pages of 4096 bytes.
#[repr(C)]
#[derive(Debug)]
pub struct FaultlessStats {
    /// Faults that had to read.
    pub faults_major: u64,
    /// Faults on pages that were held already.
    pub faults_minor: u64,
    /// Pages that were read because somebody waited for them.
    pub pages_demanded: u64,
    /// Pages that were read ahead.
    pub pages_ahead: u64,
    /// Pages that were written.
    pub pages_written: u64,
    /// Pages that left memory.
    pub evictions: u64,
    /// Reads that failed.
    pub read_errors: u64,
    /// Writes that failed.
    pub write_errors: u64,
    /// The budget.
    pub frames_total: u64,
    /// Pages held now.
    pub frames_used: u64,
    /// The most that were held at a time.
    pub frames_used_max: u64,
    /// Pages that differ from their file, or from swap.
    pub pages_dirty: u64,
    /// Pages in swap.
    pub swap_used: u64,
}

/// A vm with a budget of `memory` bytes. NULL and errno where it can't be had (ENOSYS: the
/// system doesn't let us serve page faults).
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub extern "C" fn faultless_vm_new(memory: u64) -> *mut FaultlessVm {
    answer(Vm::with_memory(memory).map(given).map_err(Failed::from), ptr::null_mut())
}

/// A vm as `options` say. NULL and errno where it can't be had.
///
/// # Safety
/// `options` can be read, and its strings end in a zero.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn faultless_vm_build(options: *const FaultlessOptions) -> *mut FaultlessVm {
    // SAFETY: the caller's promise is ours.
    answer(unsafe { build(options) }, ptr::null_mut())
}

/// Gives a vm back. What is mapped in it stays mapped, and keeps what it needs.
///
/// # Safety
/// `vm` is NULL, or from a function of this library, which is not called with it again.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn faultless_vm_free(vm: *mut FaultlessVm) {
    if !vm.is_null() {
        // SAFETY: 1. by the caller's promise it is a box of `given` that nobody else has.
        drop(unsafe { Box::from_raw(vm) });
    }
}

/// The vm of `faultless_mmap`, made when it is first needed: its budget is what the
/// environment variable FAULTLESS_MEMORY says in bytes ("268435456"), else a quarter of the
/// machine's memory. NULL and errno where it can't be had. It is not to be freed.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub extern "C" fn faultless_vm_default() -> *const FaultlessVm {
    answer(default_vm().map(ptr::from_ref), ptr::null())
}

/// What `vm` has done and holds; with NULL, the default vm. 0, or -1 and errno.
///
/// # Safety
/// `vm` is NULL or alive; `stats` can be written.
// SAFETY: 1. no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn faultless_stats(
    vm: *const FaultlessVm,
    stats: *mut FaultlessStats,
) -> c_int {
    // SAFETY: the caller's promise is ours.
    let vm = unsafe { chosen(vm) };
    let filled = vm.map(|vm| {
        let now = vm.stats();
        // SAFETY: the caller's promise is ours.
        unsafe { stats.write(FaultlessStats::from(now)) };
        0
    });
    answer(filled, -1)
}

impl From<faultless::Stats> for FaultlessStats {
    fn from(stats: faultless::Stats) -> FaultlessStats {
        FaultlessStats {
            faults_major: stats.faults_major,
            faults_minor: stats.faults_minor,
            pages_demanded: stats.pages_demanded,
            pages_ahead: stats.pages_ahead,
            pages_written: stats.pages_written,
            evictions: stats.evictions,
            read_errors: stats.read_errors,
            write_errors: stats.write_errors,
            frames_total: stats.frames_total,
            frames_used: stats.frames_used,
            frames_used_max: stats.frames_used_max,
            pages_dirty: stats.pages_dirty,
            swap_used: stats.swap_slots_used,
        }
    }
}

/// `vm`, or the default one for NULL.
///
/// # Safety
/// `vm` is NULL, or alive as long as the answer is used.
pub unsafe fn chosen<'a>(vm: *const FaultlessVm) -> Result<&'a Vm> {
    // SAFETY: the caller's promise is ours.
    match unsafe { vm.as_ref() } {
        Some(vm) => Ok(&vm.0),
        None => default_vm().map(|vm| &vm.0),
    }
}

fn given(vm: Vm) -> *mut FaultlessVm {
    Box::into_raw(Box::new(FaultlessVm(vm)))
}

/// # Safety
/// As for [`faultless_vm_build`].
unsafe fn build(options: *const FaultlessOptions) -> Result<*mut FaultlessVm> {
    // SAFETY: the caller's promise is ours.
    let Some(options) = (unsafe { options.as_ref() }) else {
        return Err(Failed::new(libc::EINVAL, "options are NULL"));
    };
    let mut builder = Vm::builder().memory(options.memory);
    // SAFETY: the caller's promise is ours.
    if let Some(policy) = unsafe { text(options.policy) } {
        let name = policy.to_string_lossy();
        let kind = PolicyKind::ALL.into_iter().find(|kind| kind.name() == name);
        let known = PolicyKind::ALL.map(PolicyKind::name).join(", ");
        builder = builder.policy(kind.ok_or_else(|| {
            Failed::new(libc::EINVAL, format!("no policy is called {name}; there are {known}"))
        })?);
    }
    // SAFETY: the caller's promise is ours.
    let dir = unsafe { text(options.swap_dir) };
    match (dir, options.swap) {
        (Some(dir), bytes) if bytes > 0 => builder = builder.swap(path(dir), bytes),
        (None, 0) => {}
        _ => {
            let why = "swap needs both a directory (swap_dir) and a length (swap)";
            return Err(Failed::new(libc::EINVAL, why));
        }
    }
    if options.handlers > 0 {
        builder = builder.handlers(options.handlers as usize);
    }
    Ok(given(builder.build()?))
}

/// # Safety
/// `text` is NULL, or ends in a zero and lives as long as the answer is used.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a CStr> {
    // SAFETY: the caller's promise is ours.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

fn path(dir: &CStr) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(dir.to_bytes()))
}

/// Made once; where that fails, the next call tries again.
fn default_vm() -> Result<&'static FaultlessVm> {
    static VM: Mutex<Option<&'static FaultlessVm>> = Mutex::new(None);
    let mut vm = VM.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if vm.is_none() {
        let made = FaultlessVm(Vm::with_memory(default_memory()?)?);
        *vm = Some(Box::leak(Box::new(made)));
    }
    Ok(vm.expect("it has just been made"))
}

fn default_memory() -> Result<u64> {
    let Some(said) = std::env::var_os("FAULTLESS_MEMORY") else {
        // SAFETY: 1. sysconf reads and writes no memory of ours.
        let (pages, bytes) =
            unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
        return Ok(pages.max(0) as u64 / 4 * bytes.max(0) as u64);
    };
    let number = said.to_str().and_then(|said| said.parse().ok());
    number.ok_or_else(|| {
        let why = format!("FAULTLESS_MEMORY is {said:?}: give a number of bytes, as 268435456");
        Failed::new(libc::EINVAL, why)
    })
}

/// `count` values from `start`; none where there are none, whatever `start` is.
///
/// # Safety
/// If `count` isn't 0, so many values can be read from `start` as long as the answer is used.
pub unsafe fn values<'a, T>(start: *const T, count: usize) -> &'a [T] {
    match count {
        0 => &[],
        // SAFETY: the caller's promise is ours.
        _ => unsafe { slice::from_raw_parts(start, count) },
    }
}
