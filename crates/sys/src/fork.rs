//! Forks: what a child sees of addresses that its parent serves, and who is told.
//!
//! A page that isn't there is answered by a thread or a handler of the parent; a
//! child has neither. Left alone it would read zeros, or die by SIGSEGV, or find
//! somebody else's mapping. So the ranges are kept out of children
//! (`MADV_DONTFORK`, see [`Reservation`](crate::memory::Reservation)), and a child's
//! first act is to map over each of them the pages of an empty file: any access is
//! SIGBUS there, for good.
//!
//! Who can go on serving them in the child asks to be told ([`Hooks`]), and lets them be
//! inherited for the one fork:
//!
//! ```text
//!             prepare            fork        child              adopt
//!   DONTFORK ─────────► DOFORK ────────► copied, unserved ─────────────► served, DONTFORK
//!                          │                      │ renounce
//!                          │ parent               ▼
//!                          └─► DONTFORK         SIGBUS
//! ```
//!
//! A child made without `pthread_atfork` handlers (a bare `clone`) finds nothing
//! mapped there, until it maps something itself. `vfork` and `posix_spawn` children
//! share the parent's memory and are not concerned.

use std::os::fd::{AsFd, AsRawFd, IntoRawFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use faultless_addr::{PAGE_BYTES, VirtAddr, VirtRange};

use crate::Errno;

/// How many ranges a process can plug at a time.
pub const PLUGS: usize = 256;

/// Counts forks from process to process: a child's is its parent's plus one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// How many forks this process is from the first.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// The empty file, or -1.
static EMPTY_FILE: AtomicI32 = AtomicI32::new(-1);

static TABLE: [Entry; PLUGS] = [const { Entry::FREE }; PLUGS];

/// `start` is 0 where the entry is free, and `len` is 0 until the range counts.
struct Entry {
    start: AtomicU64,
    len: AtomicU64,
    /// The next child has the range, and somebody who sees to it.
    inherited: AtomicBool,
}

impl Entry {
    #[allow(clippy::declare_interior_mutable_const, reason = "each use is an entry of its own")]
    const FREE: Entry = Entry {
        start: AtomicU64::new(0),
        len: AtomicU64::new(0),
        inherited: AtomicBool::new(false),
    };

    fn free(&self) {
        self.inherited.store(false, Ordering::Relaxed);
        self.len.store(0, Ordering::Release);
        self.start.store(0, Ordering::Release);
    }
}

/// The process that has a thing, to tell a child that inherited it.
#[derive(Debug)]
pub struct Birthplace(AtomicU32);

impl Birthplace {
    /// This process.
    pub fn here() -> Birthplace {
        Birthplace(AtomicU32::new(GENERATION.load(Ordering::Relaxed)))
    }

    /// Is this still the process that it was taken in, not a forked child of it?
    ///
    /// Two loads; async-signal-safe.
    #[inline]
    pub fn is_here(&self) -> bool {
        GENERATION.load(Ordering::Relaxed) == self.0.load(Ordering::Relaxed)
    }

    /// The child has taken over what it has inherited: from now on it is this process's.
    pub fn move_here(&self) {
        self.0.store(GENERATION.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// It is the parent's after all.
    pub fn leave(&self) {
        self.0.store(GENERATION.load(Ordering::Relaxed).wrapping_sub(1), Ordering::Relaxed);
    }
}

/// What is called around each fork(2) of the C library: `prepare` before it in the thread
/// that forks, `parent` after it in the parent (also where it failed), `child` in the
/// child, whose only thread runs it, after what isn't inherited has become SIGBUS.
#[derive(Debug)]
pub struct Hooks {
    /// Before.
    pub prepare: fn(),
    /// After, in the parent.
    pub parent: fn(),
    /// After, in the child.
    pub child: fn(),
}

/// Or null.
static HOOKS: AtomicPtr<Hooks> = AtomicPtr::new(ptr::null_mut());

/// Has `hooks` called from now on.
pub fn set_hooks(hooks: &'static Hooks) -> Result<(), Errno> {
    are_noticed()?;
    HOOKS.store(ptr::from_ref(hooks).cast_mut(), Ordering::Release);
    Ok(())
}

fn hooks() -> Option<&'static Hooks> {
    // SAFETY: 1. null, or from the reference that `set_hooks` was given for good.
    unsafe { HOOKS.load(Ordering::Acquire).as_ref() }
}

/// How many descriptors children can be told to close; what is more stays open there.
const CLOSED: usize = 1024;

/// One more than the number of each descriptor that a child is to close at once, because
/// it does things to its parent; or 0. No lock: a child could inherit it taken.
static CLOSED_IN_CHILDREN: [AtomicI32; CLOSED] = [const { AtomicI32::new(0) }; CLOSED];

/// While this lives, children begin by closing their copy of a descriptor.
#[derive(Debug)]
pub(crate) struct ClosedInChildren(Option<usize>);

impl ClosedInChildren {
    pub fn new(fd: RawFd) -> ClosedInChildren {
        let free = |entry: &AtomicI32| {
            entry.compare_exchange(0, fd + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        ClosedInChildren(CLOSED_IN_CHILDREN.iter().position(free))
    }
}

impl Drop for ClosedInChildren {
    fn drop(&mut self) {
        if let Some(entry) = self.0 {
            CLOSED_IN_CHILDREN[entry].store(0, Ordering::Release);
        }
    }
}

/// While this lives, forked children get SIGBUS in its range.
#[derive(Debug)]
pub struct Plug {
    entry: usize,
    birthplace: Birthplace,
}

impl Plug {
    /// Plugs `range`, which must not be inherited (`MADV_DONTFORK`), in children to
    /// come. ENOSPC when there are [`PLUGS`] already.
    ///
    /// What a child has mapped within the range by other means stays as it is.
    pub fn new(range: VirtRange) -> Result<Plug, Errno> {
        are_noticed()?;
        make_empty_file()?;
        let birthplace = Birthplace::here();
        for (entry, slot) in TABLE.iter().enumerate() {
            let free =
                slot.start.compare_exchange(0, range.start.0, Ordering::AcqRel, Ordering::Relaxed);
            if free.is_ok() {
                // A fork in another thread sees the length only after the start.
                slot.len.store(range.len(), Ordering::Release);
                return Ok(Plug { entry, birthplace });
            }
        }
        Err(Errno::NOSPC)
    }
}

impl Plug {
    /// Says whether the next children have the range and see to it themselves, or are
    /// plugged.
    pub(crate) fn set_inherited(&self, inherited: bool) {
        TABLE[self.entry].inherited.store(inherited, Ordering::Release);
    }

    /// In a child that has inherited the range: it is the child's, and will be plugged in
    /// its children.
    pub(crate) fn adopt(&self) {
        self.set_inherited(false);
        self.birthplace.move_here();
    }

    /// In a child that has inherited the range: any access is SIGBUS there from now on,
    /// whatever was there.
    ///
    /// # Safety
    /// The range is the caller's, and nothing refers to its bytes.
    pub(crate) unsafe fn renounce(&self) -> Result<(), Errno> {
        let entry = &TABLE[self.entry];
        let (start, len) = (&entry.start, &entry.len);
        let start = VirtAddr(start.load(Ordering::Acquire));
        // SAFETY: the caller's promise is ours.
        let mapped = unsafe { map_empty(start, len.load(Ordering::Acquire), libc::MAP_FIXED) };
        entry.free();
        self.birthplace.leave();
        mapped
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        // In a child the entry is free, or another's.
        if self.birthplace.is_here() {
            TABLE[self.entry].free();
        }
    }
}

/// Registers the handlers, before `main` and before there are threads: so no fork is in the
/// middle of it, and those who register later run before ours in `prepare`, and after ours
/// in the child, where addresses are served by then.
// SAFETY: 1. the loader calls what is in this section as C functions, before `main`; ours
// is one, and uses nothing of `std` that `main` sets up.
#[used]
#[unsafe(link_section = ".init_array")]
static REGISTER: extern "C" fn() = {
    extern "C" fn register() {
        // SAFETY: 1. the three are functions that live as long as the program; 2. what
        // they do in the child of a threaded process is allowed there: loads, stores of
        // atomics, mmap(2) and close(2). (What hooks do beyond that, they answer for.)
        let refused =
            unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
        REFUSED.store(refused, Ordering::Release);
    }
    register
};

/// What pthread_atfork(3) has answered.
static REFUSED: AtomicI32 = AtomicI32::new(libc::ENOSYS);

/// Are forks noticed?
fn are_noticed() -> Result<(), Errno> {
    match REFUSED.load(Ordering::Acquire) {
        0 => Ok(()),
        errno => Err(Errno::from_raw_os_error(errno)),
    }
}

/// Makes the empty file, if there is none. No lock: a child could inherit it taken.
fn make_empty_file() -> Result<(), Errno> {
    if EMPTY_FILE.load(Ordering::Acquire) >= 0 {
        return Ok(());
    }
    let file = rustix::fs::memfd_create("faultless-plug", rustix::fs::MemfdFlags::CLOEXEC)?;
    // A descriptor that outlives everything: children map it.
    let file = rustix::io::fcntl_dupfd_cloexec(file.as_fd(), 3)?;
    let ours = file.as_raw_fd();
    // Whoever was quicker has made the same; then ours is closed.
    if EMPTY_FILE.compare_exchange(-1, ours, Ordering::AcqRel, Ordering::Acquire).is_ok() {
        let _ = file.into_raw_fd();
    }
    Ok(())
}

extern "C" fn before() {
    if let Some(hooks) = hooks() {
        (hooks.prepare)();
    }
}

extern "C" fn in_parent() {
    if let Some(hooks) = hooks() {
        (hooks.parent)();
    }
}

/// Runs in the child, in its only thread, before fork returns. Until the hook it takes no
/// lock and allocates nothing.
extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    for entry in &TABLE {
        let len = entry.len.load(Ordering::Acquire);
        if len != 0 && !entry.inherited.load(Ordering::Acquire) {
            plug(entry.start.load(Ordering::Acquire), len);
            // The child's own children inherit the file's pages there.
            entry.free();
        }
    }
    for entry in &CLOSED_IN_CHILDREN {
        if let fd @ 0.. = entry.swap(0, Ordering::AcqRel) - 1 {
            // SAFETY: 1. it is the child's copy of a descriptor whose owner knows that it is
            // not here (`Ring`'s drop), so nobody uses the number.
            unsafe { libc::close(fd) };
        }
    }
    if let Some(hooks) = hooks() {
        (hooks.child)();
    }
}

/// Maps the empty file over what is free of the range. Something may have been put
/// into it already, by a child handler that ran before ours: that is left alone, by
/// halving the range around it.
fn plug(start: u64, len: u64) {
    // SAFETY: 1. MAP_FIXED_NOREPLACE maps only where nothing is, so no memory that
    // anything refers to changes.
    let mapped = unsafe { map_empty(VirtAddr(start), len, libc::MAP_FIXED_NOREPLACE) };
    if mapped.is_ok() || len <= PAGE_BYTES {
        return;
    }
    let half = (len / 2).next_multiple_of(PAGE_BYTES);
    plug(start, half);
    plug(start + half, len - half);
}

/// # Safety
/// With `MAP_FIXED`, the range is the caller's, and nothing refers to its bytes.
unsafe fn map_empty(at: VirtAddr, len: u64, fixed: libc::c_int) -> Result<(), Errno> {
    // SAFETY: 1. what is replaced is the caller's, by its promise; 2. mmap(2) is a system
    // call without hidden state.
    let mapped = unsafe {
        libc::mmap(
            at.0 as *mut libc::c_void,
            len as usize,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_NORESERVE | fixed,
            EMPTY_FILE.load(Ordering::Acquire),
            0,
        )
    };
    match mapped {
        libc::MAP_FAILED => Err(crate::last_errno()),
        _ => Ok(()),
    }
}
