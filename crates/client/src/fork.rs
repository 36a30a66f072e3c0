//! Forks: a child of the C library's fork is served what its parent is.
//!
//! ```text
//!   parent                                        child
//!   prepare: inside, served ranges inheritable
//!   fork ─────────────────────────────────────────► a socket and a userfaultfd of its own
//!   waits until the child is attached               Hello { parent }, and each Region
//!     (10 s at most), so that nothing changes ◄────── closes the pipe
//!   ranges not inheritable again                    ranges not inheritable again
//! ```
//!
//! Memory of the program's own is not inheritable, for parent and child would share it: the
//! child maps other memory at the same addresses, of which the broker knows that it holds what
//! the parent's does. So between the kernel's fork and that moment it has nothing there, which
//! is why our handlers are registered before any others (`preload/src/fork.rs`); and what other threads of the parent
//! store meanwhile the child may see.
//!
//! Without regions there is nothing to be served, and the child connects when it has to.

#![allow(unsafe_code)]

use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use faultless_protocol::{Reply, Request};
use faultless_sys::Errno;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use rustix::pipe::PipeFlags;

use crate::descriptor::close;
use crate::enter::{Inside, enter};
use crate::kernel::{self, Answer, Mmap};
use crate::map::register;
use crate::own;
use crate::regions::{Region, Traits};
use crate::say;

/// How long a parent waits for its child to be attached. It may be stopped by a debugger; and
/// where it is to have much memory of its own, that takes some time.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// A fork under way. Of the thread that forks, as is the lock.
struct Fork {
    kept: (u64, i32),
    /// Closed for writing once the child is attached, or dead.
    pipe: Option<(OwnedFd, OwnedFd)>,
}

/// The fork under way, between its handlers.
static UNDER_WAY: Slot = Slot(std::cell::UnsafeCell::new(None));

struct Slot(std::cell::UnsafeCell<Option<Fork>>);

// SAFETY: 1. only the handlers touch it: `before` while it is inside, and the other two in
// the thread that has stayed inside, or in the child's only thread.
unsafe impl Sync for Slot {}

/// Has the C library call us around each fork; once. Before there is a broker nothing comes of
/// it.
pub fn register_handlers() -> Result<(), Errno> {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if REGISTERED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    // SAFETY: 1. the three are functions that live as long as the program; 2. in the child
    // they do nothing but system calls, and what needs no lock of the C library's.
    match unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) } {
        0 => Ok(()),
        errno => Err(Errno::from_raw_os_error(errno)),
    }
}

/// A fork that the C library knows nothing of: `call` is a system call that returns in the
/// child as well, whose memory is a copy.
pub fn forked(call: impl FnOnce() -> Answer) -> Answer {
    before();
    let answer = call();
    match answer {
        Ok(0) => in_child(),
        _ => in_parent(),
    }
    answer
}

extern "C" fn before() {
    let Some(mut inside) = enter() else { return };
    let mut pipe = None;
    let here = &raw const pipe as usize;
    if inside.regions.own_within(here..here + 1).is_some() {
        say::child_without_stack();
    }
    if inside.regions.all().iter().any(is_own) {
        // What has been unmapped and moved until now, the broker has heard when it answers.
        inside.ask_plainly(Request::Region { index: u64::MAX }, None);
    }
    if !inside.regions.all().is_empty() {
        for region in inherited(&inside) {
            advise(&region.range(), libc::MADV_DOFORK);
        }
        pipe = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).ok();
    }
    let fork = Fork { kept: inside.stay(), pipe };
    // SAFETY: 1. this thread is inside, and stays so.
    unsafe { *UNDER_WAY.0.get() = Some(fork) };
}

/// The fork that this thread has begun.
fn under_way() -> Option<Fork> {
    // SAFETY: 1. called by the handlers after a fork only, for which this thread has stayed
    // inside, or which found it inside already; then there is none.
    unsafe { (*UNDER_WAY.0.get()).take() }
}

extern "C" fn in_parent() {
    let Some(fork) = under_way() else { return };
    let Some(inside) = Inside::back(fork.kept) else { return };
    if let Some((reader, writer)) = fork.pipe {
        close(writer);
        // It has come or gone when there is something to be read, if only the end.
        let mut polled = [PollFd::new(&reader, PollFlags::IN)];
        let _ = rustix::event::poll(&mut polled, Some(&PATIENCE));
        close(reader);
    }
    for region in inherited(&inside) {
        advise(&region.range(), libc::MADV_DONTFORK);
    }
}

extern "C" fn in_child() {
    let Some(fork) = under_way() else { return };
    let Some(mut inside) = Inside::back(fork.kept) else { return };
    inside.be_child();
    // Both ends, which tells the parent.
    if let Some((reader, writer)) = fork.pipe {
        close(reader);
        close(writer);
    }
}

/// What the kernel gives the child.
fn inherited(inside: &Inside) -> impl Iterator<Item = &Region> {
    let all = inside.regions.all().iter();
    all.filter(|region| region.traits.is_inherited() && !region.traits.has(Traits::OWN))
}

fn is_own(region: &Region) -> bool {
    region.traits.has(Traits::OWN)
}

fn advise(range: &Range<usize>, advice: i32) {
    // SAFETY: 1. whether a range is inherited changes no byte of it.
    let _ = unsafe { kernel::madvise(range.start, range.len(), advice) };
}

impl Inside {
    /// In a forked child, whose only thread this is.
    fn be_child(&mut self) {
        let parent = self.token;
        self.detach();
        self.forget_what_did_not_come();
        if self.regions.all().is_empty() {
            return;
        }
        for region in self.regions.all().iter().filter(|region| is_own(region)) {
            let _ = own::hold(region);
        }
        if let Err(errno) = self.attach(parent).and_then(|()| self.adopt()) {
            say::child_lost(errno);
            self.renounce();
        }
        for region in self.regions.all() {
            advise(&region.range(), libc::MADV_DONTFORK);
        }
    }

    fn forget_what_did_not_come(&mut self) {
        while let Some(region) =
            self.regions.all().iter().find(|region| !region.traits.is_inherited())
        {
            let range = region.range();
            self.regions.remove(&range);
        }
    }

    /// Has the broker serve what the parent had.
    fn adopt(&mut self) -> Result<(), Errno> {
        let uffd = self.connection().and_then(|connection| connection.userfaultfd());
        let uffd = uffd.ok_or(Errno::BADF)?;
        for region in self.regions.all().iter().filter(|region| !is_own(region)) {
            // SAFETY: 1. the range is a copy of one that was served; nothing has touched it
            // since the fork.
            unsafe { register(uffd, &region.range())? };
        }
        let mut at = 0;
        while let Some(region) = self.regions.own_within(at..usize::MAX) {
            self.adopt_own(&region)?;
            at = region.end;
        }
        for index in 0.. {
            match self.ask_plainly(Request::Region { index }, None) {
                Some(Reply::Region { .. }) => {}
                Some(Reply::Error { errno: libc::ENOENT }) => break,
                Some(Reply::Error { errno }) => return Err(Errno::from_raw_os_error(errno)),
                _ => return Err(Errno::PROTO),
            }
        }
        Ok(())
    }

    /// Nobody serves it: any access is SIGBUS, rather than zeros.
    fn renounce(&mut self) {
        let empty = rustix::fs::memfd_create("faultless-lost", MemfdFlags::CLOEXEC);
        for region in self.regions.all() {
            let (addr, len) = (region.start, region.len());
            let plugged = empty.as_ref().is_ok_and(|empty| {
                let (prot, flags) = (libc::PROT_READ, libc::MAP_SHARED | libc::MAP_FIXED);
                let fd = empty.as_raw_fd();
                let map = Mmap { addr, len, prot, flags, fd, offset: 0 };
                // SAFETY: 1. what is replaced was served, and can't be any more.
                unsafe { map.call() }.is_ok()
            });
            if !plugged {
                // SAFETY: as above.
                let _ = unsafe { kernel::munmap(addr, len) };
            }
        }
        self.regions.clear();
        empty.into_iter().for_each(close);
    }
}
