//! Reserving addresses, and dropping pages.

use std::os::fd::{AsRawFd, IntoRawFd};
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use faultless_addr::{VirtAddr, VirtRange};

use crate::fork::{self, Birthplace, Plug};
use crate::{Errno, last_errno};

/// Addresses that belong to us: private anonymous memory that costs nothing until
/// it is touched.
///
/// It has no huge pages, is not in core dumps, and is not inherited, unless it is
/// [lent](Self::lend): a forked child gets SIGBUS there ([`crate::fork`]). Unmapped on
/// drop.
#[derive(Debug)]
pub struct Reservation {
    range: VirtRange,
    birthplace: Birthplace,
    /// Dropped by hand, before the addresses are given back.
    plug: Option<Plug>,
}

impl Reservation {
    /// Reserves `len` bytes, whole pages. ENOMEM where the address space or
    /// RLIMIT_AS has no room.
    pub fn new(len: usize) -> Result<Reservation, Errno> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: 1. no address is given, so the kernel picks one where nothing is.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(last_errno());
        }
        let start = VirtAddr(start as u64);
        let range = VirtRange { start, end: VirtAddr(start.0 + len as u64) };
        let mut reservation = Reservation { range, birthplace: Birthplace::here(), plug: None };
        // A process that locks its future memory (MCL_FUTURE) has the kernel fill what
        // can be accessed and is locked: so first the lock goes, then access comes.
        // SAFETY: 1. the range is ours; 2. it has no bytes.
        unsafe { libc::munlock(start.0 as *const _, len) };
        // SAFETY: as above.
        unsafe { set_rights(range, Rights::ReadWrite)? };
        // A kernel without huge pages answers EINVAL, and needs no advice.
        reservation.advise(libc::MADV_NOHUGEPAGE).ok();
        reservation.advise(libc::MADV_DONTDUMP)?;
        reservation.advise(libc::MADV_DONTFORK)?;
        reservation.plug = Some(Plug::new(range)?);
        Ok(reservation)
    }

    /// From now on it has huge pages where the kernel has some, and [`fill`](Self::fill) is how
    /// pages come to be there.
    pub fn prefer_huge(&self) -> Result<(), Errno> {
        self.advise(libc::MADV_HUGEPAGE)
    }

    /// Makes pages of zeros for what is absent of a part of it.
    pub fn fill(&self, part: VirtRange) -> Result<(), Errno> {
        assert!(self.range.encloses(part), "{part:?} of {:?}", self.range);
        // SAFETY: 1. the range is ours; 2. no byte changes.
        unsafe { madvise(part, POPULATE_WRITE) }
    }

    /// The addresses.
    pub fn range(&self) -> VirtRange {
        self.range
    }

    /// The first byte.
    pub fn as_ptr(&self) -> *mut u8 {
        self.range.start.0 as *mut u8
    }

    /// The next child has a copy of the pages, and calls [`adopt`](Self::adopt) or
    /// [`renounce`](Self::renounce) at once.
    pub fn lend(&self) -> Result<(), Errno> {
        self.advise(libc::MADV_DOFORK)?;
        self.set_inherited(true);
        Ok(())
    }

    /// Ends [`lend`](Self::lend), in the parent.
    pub fn end_lending(&self) {
        self.set_inherited(false);
        // Should it be refused, a child is plugged all the same, around its copy.
        self.advise(libc::MADV_DONTFORK).ok();
    }

    /// In a child: the copy is this process's reservation.
    pub fn adopt(&self) -> Result<(), Errno> {
        self.advise(libc::MADV_DONTFORK)?;
        self.birthplace.move_here();
        self.plug.iter().for_each(Plug::adopt);
        Ok(())
    }

    /// In a child: any access to the copy is SIGBUS from now on.
    pub fn renounce(&self) -> Result<(), Errno> {
        // SAFETY: 1. the range is the copy of ours; 2. its bytes are reached by raw
        // pointers only, whose users are prepared for SIGBUS.
        let renounced = self.plug.iter().try_for_each(|plug| unsafe { plug.renounce() });
        self.birthplace.leave();
        renounced
    }

    fn set_inherited(&self, inherited: bool) {
        self.plug.iter().for_each(|plug| plug.set_inherited(inherited));
    }

    fn advise(&self, advice: libc::c_int) -> Result<(), Errno> {
        // SAFETY: 1. the range is ours; 2. none of the advices used here changes bytes.
        unsafe { madvise(self.range, advice) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // In a child the addresses are the plug's, or somebody else's.
        if !self.birthplace.is_here() {
            return;
        }
        // First: a child forked in between must not plug what is no longer ours.
        self.plug = None;
        // SAFETY: 1. the range came from mmap in `new`, and only this drop unmaps it;
        // 2. whoever has pointers into it has promised (where they were made) not to
        // use them after the reservation.
        unsafe { libc::munmap(self.as_ptr().cast(), self.range.len() as usize) };
    }
}

/// Drops the pages of `range`: the next touch finds them absent.
///
/// # Safety
/// `range` lies in a [`Reservation`] of the caller, and its bytes may vanish: no
/// reference to them exists, and no transfer into them is under way.
pub unsafe fn dont_need(range: VirtRange) -> Result<(), Errno> {
    // SAFETY: the caller's promise is ours.
    unsafe { madvise(range, DROP) }
}

/// Makes the pages of `range`, all present and open to stores, this process's own where a
/// fork has left them shared: UFFDIO_MOVE refuses shared ones with EBUSY. (Linux 5.14.)
///
/// # Safety
/// `range` lies in a [`Reservation`] of the caller.
pub unsafe fn unshare(range: VirtRange) -> Result<(), Errno> {
    // SAFETY: the caller's promise is ours; no byte changes.
    unsafe { madvise(range, POPULATE_WRITE) }
}

/// `MADV_POPULATE_WRITE`: as if a byte of each page were stored to, but for the byte.
const POPULATE_WRITE: libc::c_int = 23;

/// Pages of locked areas go as well: whoever locks all memory of the process
/// (mlockall(2)) didn't mean those that are ours to give and to take.
const DROP: libc::c_int = linux_raw_sys::general::MADV_DONTNEED_LOCKED as libc::c_int;

/// What accesses a range of memory allows, to programs and to system calls alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Loads only: a store is SIGSEGV, or EFAULT where a system call makes it.
    Read,
    /// Loads and stores.
    ReadWrite,
}

/// Changes the rights of `range` with mprotect(2), which makes it a kernel area of its
/// own until they are again those of its neighbours.
///
/// # Safety
/// `range` lies in a [`Reservation`] of the caller, and whoever touches it is prepared
/// for what the rights forbid.
pub unsafe fn set_rights(range: VirtRange, rights: Rights) -> Result<(), Errno> {
    let rights = match rights {
        Rights::Read => libc::PROT_READ,
        Rights::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
    };
    // SAFETY: 1. the caller owns the range and answers for those who touch it.
    match unsafe { libc::mprotect(range.start.0 as *mut _, range.len() as usize, rights) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Drops the pages of many ranges with few system calls: neighbours in the slice
/// that are neighbours in memory become one, and up to [`VECTOR`] go together.
///
/// # Safety
/// As for [`dont_need`], for each range.
pub unsafe fn dont_need_many(ranges: &[VirtRange]) -> Result<(), Errno> {
    let mut vector = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; VECTOR];
    let mut used = 0;
    for range in ranges.iter().filter(|range| !range.is_empty()) {
        let start = range.start.0 as *mut libc::c_void;
        if let Some(last) = vector[..used].last_mut()
            && last.iov_base.wrapping_byte_add(last.iov_len) == start
        {
            last.iov_len += range.len() as usize;
            continue;
        }
        if used == VECTOR {
            // SAFETY: the caller's promise is ours.
            unsafe { drop_vector(&mut vector[..used])? };
            used = 0;
        }
        vector[used] = libc::iovec { iov_base: start, iov_len: range.len() as usize };
        used += 1;
    }
    // SAFETY: the caller's promise is ours.
    unsafe { drop_vector(&mut vector[..used]) }
}

/// Ranges in one process_madvise(2): half of the kernel's limit, 8 KiB of stack.
pub const VECTOR: usize = 512;

/// What the kernel lets a process do to itself by process_madvise(2).
static MANY: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const REFUSED: u8 = 1;

/// # Safety
/// As for [`dont_need`], for each part of the vector.
unsafe fn drop_vector(vector: &mut [libc::iovec]) -> Result<(), Errno> {
    let mut rest = vector;
    while rest.len() > 1 && MANY.load(Ordering::Relaxed) != REFUSED {
        let Some(pidfd) = self_pidfd() else { break };
        // SAFETY: 1. the vector is alive and as long as said; 2. for its ranges the
        // caller has promised that their bytes may vanish; 3. the descriptor means
        // this very process (`self_pidfd`).
        let advised = unsafe {
            libc::syscall(libc::SYS_process_madvise, pidfd, rest.as_ptr(), rest.len(), DROP, 0)
        };
        if advised < 0 {
            match last_errno() {
                Errno::INTR | Errno::AGAIN => continue,
                // Before Linux 6.13 this advice is refused, and a sandbox may refuse all.
                Errno::INVAL | Errno::NOSYS | Errno::PERM | Errno::BADF => {
                    MANY.store(REFUSED, Ordering::Relaxed);
                    break;
                }
                errno => return Err(errno),
            }
        }
        rest = skip(rest, advised as usize);
    }
    for part in rest {
        let start = VirtAddr(part.iov_base as u64);
        let range = VirtRange { start, end: VirtAddr(start.0 + part.iov_len as u64) };
        // SAFETY: the caller's promise is ours.
        unsafe { dont_need(range)? };
    }
    Ok(())
}

/// What is left of `vector` after `bytes` of it.
fn skip(vector: &mut [libc::iovec], mut bytes: usize) -> &mut [libc::iovec] {
    let mut whole = 0;
    for part in vector.iter_mut() {
        if bytes < part.iov_len {
            part.iov_base = part.iov_base.wrapping_byte_add(bytes);
            part.iov_len -= bytes;
            break;
        }
        bytes -= part.iov_len;
        whole += 1;
    }
    &mut vector[whole..]
}

/// A descriptor of this process; a child that has inherited its parent's gets its own.
fn self_pidfd() -> Option<i32> {
    /// One more than the generation of the process, and the descriptor; or 0.
    static PIDFD: AtomicU64 = AtomicU64::new(0);
    let generation = u64::from(fork::generation()) + 1;
    let known = PIDFD.load(Ordering::Acquire);
    if known >> 32 == generation {
        return Some(known as i32);
    }
    let flags = rustix::process::PidfdFlags::empty();
    let fd = rustix::process::pidfd_open(rustix::process::getpid(), flags).ok()?;
    let ours = generation << 32 | fd.as_raw_fd() as u64;
    match PIDFD.compare_exchange(known, ours, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) if known == 0 => Some(fd.into_raw_fd()),
        Ok(_) => {
            // SAFETY: 1. it is our copy of our parent's, which nobody here uses any more.
            unsafe { libc::close(known as i32) };
            Some(fd.into_raw_fd())
        }
        // Somebody was quicker, and ours is closed.
        Err(theirs) => Some(theirs as i32),
    }
}

/// # Safety
/// The range lies in a [`Reservation`] of the caller; for [`DROP`] as for [`dont_need`].
unsafe fn madvise(range: VirtRange, advice: libc::c_int) -> Result<(), Errno> {
    loop {
        // SAFETY: 1. the caller owns the range; 2. of the advices used here only
        // DROP changes bytes, and its callers have promised that they may.
        let result =
            unsafe { libc::madvise(range.start.0 as *mut _, range.len() as usize, advice) };
        match result {
            0 => return Ok(()),
            _ => match last_errno() {
                Errno::INTR | Errno::AGAIN => {}
                errno => return Err(errno),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultless_addr::PAGE_BYTES;

    fn pages(start: VirtAddr, first: u64, count: u64) -> VirtRange {
        VirtRange::from_len(start.plus_pages(first), count * PAGE_BYTES).unwrap()
    }

    #[test]
    fn dropped_pages_are_zeros_and_the_others_stay() {
        let reservation = Reservation::new(4096 * 2048).unwrap();
        let start = reservation.range().start;
        let byte = |page: u64| start.plus_pages(page).0 as *mut u8;
        for page in 0..2048 {
            // SAFETY: 1. the reservation is ours, readable and writable.
            unsafe { byte(page).write_volatile(1) };
        }
        // More than one vector, with neighbours and gaps.
        let mut ranges: Vec<_> = (0..1500).map(|page| pages(start, page, 1)).collect();
        ranges.retain(|range| (range.start.0 >> 12) % 3 != 0);
        // SAFETY: 1. the reservation is ours and nobody refers to its bytes.
        unsafe { dont_need_many(&ranges).unwrap() };
        for page in 0..2048 {
            let dropped = ranges.contains(&pages(start, page, 1));
            // SAFETY: as above.
            assert_eq!(unsafe { byte(page).read_volatile() }, u8::from(!dropped), "page {page}");
        }
    }

    #[test]
    fn skip_leaves_the_tail() {
        let part = |base: usize, len| libc::iovec { iov_base: base as *mut _, iov_len: len };
        let mut vector = [part(0, 10), part(100, 10), part(200, 10)];
        let rest = skip(&mut vector, 13);
        assert_eq!(rest.len(), 2);
        assert_eq!((rest[0].iov_base as usize, rest[0].iov_len), (103, 7));
        assert!(skip(rest, 17).is_empty());
    }
}
