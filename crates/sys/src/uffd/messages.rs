//! Reading faults.

use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use faultless_addr::{Access, VirtAddr, VirtRange};
use linux_raw_sys::general as sys;

use super::Userfaultfd;
use crate::{Errno, last_errno};

/// Messages taken by one read(2) at most.
const BATCH: usize = 64;

/// Why an access faulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There is no page.
    Missing,
    /// The page is write-protected.
    WriteProtected,
    /// The page is in the page cache but not mapped.
    Minor,
}

/// A thread waits for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFault {
    /// What was touched; the start of its page without [`EXACT_ADDRESS`](super::Features::EXACT_ADDRESS).
    pub addr: VirtAddr,
    /// Load or store. An instruction fetch shows as a load.
    pub access: Access,
    /// What was in the way.
    pub cause: Cause,
    /// The thread, or 0 without [`THREAD_ID`](super::Features::THREAD_ID).
    pub thread: i32,
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A thread waits for a page.
    PageFault(PageFault),
    /// Addresses mean nothing any more: they were unmapped, or something else is there.
    Unmap(VirtRange),
    /// The pages of `from` have been moved to `to`, as they were (mremap(2)).
    Remap {
        /// Where they were.
        from: VirtRange,
        /// Where they are.
        to: VirtRange,
    },
    /// The pages of a range have been dropped (madvise(2)).
    Remove(VirtRange),
    /// An event that nobody has asked for, by its number.
    Other(u8),
}

impl Userfaultfd {
    /// Takes up to `out.len()` messages and answers how many; 0 if there are none now. Never
    /// waits, even where another process that has the descriptor has made reading wait.
    ///
    /// Each message goes to one reader only, so a reader that takes many keeps them
    /// from others who could serve them at the same time.
    pub fn read_messages(&self, out: &mut [Event]) -> Result<usize, Errno> {
        let mut raw = [const { MaybeUninit::<sys::uffd_msg>::uninit() }; BATCH];
        let wanted = out.len().min(BATCH);
        if wanted == 0 {
            return Ok(0);
        }
        let mut never_waits = true;
        let bytes = loop {
            let room = libc::iovec {
                iov_base: raw.as_mut_ptr().cast(),
                iov_len: wanted * size_of::<sys::uffd_msg>(),
            };
            let flags = if never_waits { libc::RWF_NOWAIT } else { 0 };
            // SAFETY: 1. `raw` is ours, alive, and holds `wanted` messages; 2. the
            // kernel writes at most the length given.
            let read = unsafe { libc::preadv2(self.as_raw_fd(), &raw const room, 1, -1, flags) };
            if read >= 0 {
                break read as usize;
            }
            match last_errno() {
                Errno::INTR => {}
                Errno::AGAIN => return Ok(0),
                // Before Linux 6.10 it depends on the descriptor's flags.
                Errno::OPNOTSUPP if never_waits => never_waits = false,
                errno => return Err(errno),
            }
        };
        let count = bytes / size_of::<sys::uffd_msg>();
        for (slot, message) in out.iter_mut().zip(&raw[..count]) {
            // SAFETY: 1. read(2) filled the first `count` messages; 2. every bit
            // pattern is a value of the structure's integers.
            *slot = decode(unsafe { message.assume_init_ref() });
        }
        Ok(count)
    }
}

/// The range of an unmap or a remove.
fn removed(message: &sys::uffd_msg) -> VirtRange {
    // SAFETY: 1. the event says that `remove` is the member the kernel filled; it is copied.
    let range = unsafe { message.arg.remove };
    VirtRange { start: VirtAddr(range.start), end: VirtAddr(range.end) }
}

fn remapped(message: &sys::uffd_msg) -> Event {
    // SAFETY: 1. the event says that `remap` is the member the kernel filled; it is copied.
    let remap = unsafe { message.arg.remap };
    let range = |start| VirtRange { start: VirtAddr(start), end: VirtAddr(start + remap.len) };
    Event::Remap { from: range(remap.from), to: range(remap.to) }
}

fn decode(message: &sys::uffd_msg) -> Event {
    match u32::from(message.event) {
        sys::UFFD_EVENT_PAGEFAULT => {}
        sys::UFFD_EVENT_UNMAP => return Event::Unmap(removed(message)),
        sys::UFFD_EVENT_REMOVE => return Event::Remove(removed(message)),
        sys::UFFD_EVENT_REMAP => return remapped(message),
        _ => return Event::Other(message.event),
    }
    // SAFETY: 1. the event says that `pagefault` is the member the kernel filled;
    // 2. `ptid` is its union's only member. Both are copied, so their alignment in
    // the packed structure is of no matter.
    let (flags, address, thread) = unsafe {
        let fault = message.arg.pagefault;
        (fault.flags as u32, fault.address, fault.feat.ptid)
    };
    let cause = if flags & sys::UFFD_PAGEFAULT_FLAG_WP != 0 {
        Cause::WriteProtected
    } else if flags & sys::UFFD_PAGEFAULT_FLAG_MINOR != 0 {
        Cause::Minor
    } else {
        Cause::Missing
    };
    let access = if flags & sys::UFFD_PAGEFAULT_FLAG_WRITE != 0 || cause == Cause::WriteProtected {
        Access::Write
    } else {
        Access::Read
    };
    Event::PageFault(PageFault { addr: VirtAddr(address), access, cause, thread: thread as i32 })
}
