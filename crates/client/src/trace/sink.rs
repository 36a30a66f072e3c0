//! Where lines go, and where they are counted.
//!
//! The file was made by who runs the program; here it is opened anew by its path, to append,
//! under a high number. A program that closes what it finds may close that, past the C
//! library, too: then it is known by its file to be gone, and opened once more.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering};

use faultless_protocol::{FileId, TALLY_BYTES, Tally};
use faultless_sys::Errno;
use rustix::fs::{Mode, OFlags};
use rustix::time::{ClockId, clock_gettime};

use super::line::Line;
use crate::descriptor::{borrow, close, file_id, move_up};
use crate::kernel::{self, Mmap};

/// Are lines to be written?
static OPEN: AtomicBool = AtomicBool::new(false);

/// When the trace began, in nanoseconds of `CLOCK_MONOTONIC`.
static START: AtomicU64 = AtomicU64::new(0);

/// The descriptor's number, or -1.
static FD: AtomicI32 = AtomicI32::new(-1);

/// The file that it is of, if it is still ours.
static DEVICE: AtomicU64 = AtomicU64::new(0);
static INODE: AtomicU64 = AtomicU64::new(0);

/// The tally that all processes share; null where it can't be had.
static SHARED: AtomicPtr<Tally> = AtomicPtr::new(ptr::null_mut());

/// What is counted then, for nobody.
static PRIVATE: Tally = Tally::new();

/// Bytes of the longest path, with its zero.
const PATH_MAX: usize = libc::PATH_MAX as usize;

/// The file's path: the environment's memory is the program's, which may write over it.
struct Path(UnsafeCell<[u8; PATH_MAX]>);

// SAFETY: 1. it is written by `start` alone, before there are threads, and before `OPEN` says
// that it may be read.
unsafe impl Sync for Path {}

static PATH: Path = Path(UnsafeCell::new([0; PATH_MAX]));

/// From now on each call about mappings is a line in the file at `path`, which is there, and
/// is counted in the [`Tally`] that the file at `tally` holds. Times are since `start`, in
/// nanoseconds. To be called once, before there are threads. What can't be opened now is
/// tried again with each line.
pub fn start(path: &CStr, tally: Option<&CStr>, start: u64) {
    let bytes = path.to_bytes_with_nul();
    if bytes.len() > PATH_MAX || OPEN.load(Ordering::Acquire) {
        return;
    }
    // SAFETY: 1. nobody reads it yet, and nobody else is here.
    unsafe { (&mut *PATH.0.get())[..bytes.len()].copy_from_slice(bytes) };
    START.store(start, Ordering::Relaxed);
    if let Some(shared) = tally.and_then(map) {
        SHARED.store(shared, Ordering::Release);
    }
    OPEN.store(true, Ordering::Release);
    let _ = open_anew(-1);
}

/// Maps the tally that a file holds.
fn map(path: &CStr) -> Option<*mut Tally> {
    let fd = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let is_long_enough =
        rustix::fs::fstat(&fd).is_ok_and(|stat| stat.st_size >= TALLY_BYTES as i64);
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    let map = Mmap { addr: 0, len: TALLY_BYTES, prot, flags, fd: fd.as_raw_fd(), offset: 0 };
    // SAFETY: 1. the kernel chooses an address where nothing is.
    let start = is_long_enough.then(|| unsafe { map.call() });
    close(fd);
    start?.ok().map(|start| start as *mut Tally)
}

fn tally() -> &'static Tally {
    // SAFETY: 1. null, or memory of a page that `map` has mapped for good, which who gives it
    // away never shortens; 2. any bytes are a `Tally`, which all change by atomic operations.
    unsafe { SHARED.load(Ordering::Acquire).as_ref() }.unwrap_or(&PRIVATE)
}

/// Are lines to be written? One load.
pub(super) fn is_open() -> bool {
    OPEN.load(Ordering::Acquire)
}

/// Microseconds since the trace began.
pub(super) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let now = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
    now.saturating_sub(START.load(Ordering::Relaxed)) / 1000
}

/// The number of the descriptor, or -1.
pub(crate) fn descriptor() -> RawFd {
    FD.load(Ordering::Relaxed)
}

/// Writes a line, all of it at once, or counts it as lost.
pub(super) fn put(line: &Line) {
    match write(line) {
        Ok(()) => tally().wrote(),
        Err(errno) => tally().lost(errno.raw_os_error()),
    }
}

fn write(line: &Line) -> Result<(), Errno> {
    let whole = line.bytes().ok_or(Errno::MSGSIZE)?;
    let fd = opened().or_else(open_anew)?;
    let bytes = match tally().mend() {
        true => line.bytes_on_a_new_line().unwrap_or(whole),
        false => whole,
    };
    let written = kernel::write_quietly(fd, bytes);
    match written {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => {
            tally().tore();
            Err(Errno::NOSPC)
        }
        Err(errno) => {
            if bytes.len() > whole.len() {
                tally().tore();
            }
            Err(errno)
        }
    }
}

/// The descriptor; or the number that it had, if that is no longer ours.
fn opened<'fd>() -> Result<BorrowedFd<'fd>, RawFd> {
    let number = FD.load(Ordering::Acquire);
    let fd = borrow(number).ok_or(number)?;
    let stat = rustix::fs::fstat(fd).map_err(|_| number)?;
    let (device, inode) = (DEVICE.load(Ordering::Relaxed), INODE.load(Ordering::Relaxed));
    if file_id(&stat) == (FileId { device, inode }) { Ok(fd) } else { Err(number) }
}

/// Opens the file in the place of a descriptor that is gone.
fn open_anew<'fd>(before: RawFd) -> Result<BorrowedFd<'fd>, Errno> {
    // SAFETY: 1. nobody writes it any more; 2. it ends in a zero, as it was a C string.
    let path = unsafe { CStr::from_ptr(PATH.0.get().cast()) };
    // A pipe that nobody empties loses lines; it doesn't hold the program up.
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = move_up(rustix::fs::open(path, flags, Mode::empty())?)?;
    let is = file_id(&rustix::fs::fstat(&fd)?);
    DEVICE.store(is.device, Ordering::Relaxed);
    INODE.store(is.inode, Ordering::Relaxed);
    match FD.compare_exchange(before, fd.as_raw_fd(), Ordering::AcqRel, Ordering::Relaxed) {
        Ok(_) => borrow(fd.into_raw_fd()).ok_or(Errno::BADF),
        Err(_) => {
            // Another thread has been quicker.
            close(fd);
            opened().map_err(|_| Errno::BADF)
        }
    }
}
