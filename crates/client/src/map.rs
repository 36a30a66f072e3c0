//! mmap, munmap, mprotect, mremap: the kernel does them, on other memory where it is served.
//!
//! The lock is held from before the kernel changes addresses until the regions say so:
//! else another thread could be given addresses in between that are then taken from it.

#![allow(unsafe_code)]

use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use faultless_addr::{PAGE_SIZE, VirtAddr, VirtRange};
use faultless_protocol::{How, Reason, Reply, Request};
use faultless_sys::Errno;
use faultless_sys::uffd::{Features, Userfaultfd};
use rustix::fs::FileType;

use crate::board;
use crate::descriptor::{borrow, close, file_id};
use crate::enter::{Inside, enter};
use crate::kernel::{self, Answer, Mmap};
use crate::own::Growth;
use crate::regions::{Region, Traits, may_be_served};
use crate::state::{min_bytes, serves_anonymous};
use crate::trace::{By, Call, traced, traced_at};

/// Flags that the kernel is to see when it maps an object's memory: those that say where.
const PLACE: i32 = libc::MAP_FIXED
    | libc::MAP_FIXED_NOREPLACE
    | libc::MAP_32BIT
    | libc::MAP_NORESERVE
    | libc::MAP_STACK;

/// Flags with which a mapping is never served.
const KERNELS: i32 = libc::MAP_HUGETLB | libc::MAP_GROWSDOWN | libc::MAP_SYNC;

/// All flags that the kernel had before it looked at them (`LEGACY_MAP_MASK`): a
/// `MAP_SHARED_VALIDATE` with others is the kernel's to refuse.
const KNOWN: i32 = PLACE & !libc::MAP_FIXED_NOREPLACE
    | KERNELS
    | libc::MAP_TYPE
    | libc::MAP_ANONYMOUS
    | libc::MAP_POPULATE
    | libc::MAP_LOCKED
    | libc::MAP_NONBLOCK
    | libc::MAP_DENYWRITE
    | libc::MAP_EXECUTABLE;

/// mmap(2).
///
/// # Safety
/// As mmap(2).
pub unsafe fn mmap(map: Mmap) -> Answer {
    // SAFETY: the caller's promise is ours.
    traced(Call::Mmap(map), || unsafe { mapped(map) })
}

/// mmap(2), and who has done it.
///
/// # Safety
/// As mmap(2).
unsafe fn mapped(map: Mmap) -> (Answer, By) {
    let range = pages(map.addr, map.len);
    let inside = kernels(&map).map_or_else(|| enter().ok_or(Reason::Nested), Err);
    let reason = match inside {
        // SAFETY: the caller's promise is ours.
        Ok(mut inside) => match unsafe { inside.map(&map) } {
            Ok(answer) => {
                drop(inside);
                if let Ok(start) = answer {
                    // SAFETY: 1. the range has just been mapped.
                    unsafe { fill(&map, start) };
                }
                return (answer, By::Faultless);
            }
            Err(reason) => {
                // SAFETY: the caller's promise is ours.
                let answer = unsafe { inside.change(&map.fixed_range(), || map.call()) };
                return (answer, By::Kernel(reason));
            }
        },
        Err(reason) => reason,
    };
    let answer = match map.flags & libc::MAP_FIXED {
        // SAFETY: the caller's promise is ours.
        0 => unsafe { map.call() },
        // SAFETY: as above.
        _ => unsafe { replacing(&range, || map.call()) },
    };
    (answer, By::Kernel(reason))
}

/// munmap(2).
///
/// # Safety
/// As munmap(2).
pub unsafe fn munmap(addr: usize, len: usize) -> Answer {
    let range = pages(addr, len);
    traced_at(Call::Munmap { addr, len }, &range, || {
        // SAFETY: the caller's promise is ours.
        unsafe { replacing(&range, || kernel::munmap(addr, len)) }
    })
}

/// mprotect(2).
///
/// # Safety
/// As mprotect(2).
pub unsafe fn mprotect(addr: usize, len: usize, prot: i32) -> Answer {
    let call = Call::Mprotect { addr, len, prot };
    // SAFETY: the caller's promise is ours.
    traced_at(call, &pages(addr, len), || unsafe { protected(addr, len, prot) })
}

/// # Safety
/// As mprotect(2).
unsafe fn protected(addr: usize, len: usize, prot: i32) -> Answer {
    let range = pages(addr, len);
    let concerned = addr.is_multiple_of(PAGE_SIZE) && may_be_served(&range);
    let inside = concerned.then(enter).flatten();
    // SAFETY: the caller's promise is ours.
    let call = |len: usize| unsafe { kernel::mprotect(addr, len, prot) };
    let Some(mut inside) = inside else { return call(len) };
    let stores = prot & libc::PROT_WRITE != 0;
    let never = |region: &Region| stores && region.traits.has(Traits::SHARED_READ_ONLY);
    let refused = inside.regions.within(range.clone()).find(never);
    let changed = range.start..refused.map_or(range.end, |refused| refused.start);
    if inside.regions.own_within(changed.clone()).is_none() && refused.is_none() {
        drop(inside);
        return call(len);
    }
    inside.regions.reserve()?;
    if !changed.is_empty() {
        // Also what lies before a region that refuses has changed, as it has with the kernel.
        call(changed.len())?;
        inside.regions.change(&changed, |traits| match traits.has(Traits::OWN) {
            true => traits.with_rights(prot),
            false => traits,
        });
    }
    if refused.is_some() { Err(Errno::ACCESS) } else { Ok(0) }
}

/// mremap(2).
///
/// # Safety
/// As mremap(2).
pub unsafe fn mremap(addr: usize, old: usize, new: usize, flags: i32, to: usize) -> Answer {
    let call = Call::Mremap { addr, old, new, flags, to };
    // SAFETY: the caller's promise is ours.
    traced_at(call, &pages(addr, old.max(1)), || unsafe { remapped(addr, old, new, flags, to) })
}

/// # Safety
/// As mremap(2).
unsafe fn remapped(addr: usize, old: usize, new: usize, flags: i32, to: usize) -> Answer {
    // SAFETY: the caller's promise is ours.
    let call = || unsafe { kernel::mremap(addr, old, new, flags, to) };
    let (from, aim) = (pages(addr, old.max(1)), pages(to, new));
    let fixed = flags & libc::MREMAP_FIXED != 0;
    let concerned = may_be_served(&from) || fixed && may_be_served(&aim);
    let Some(mut inside) = concerned.then(enter).flatten() else { return call() };
    let served = inside.regions.first_within(from.clone());
    // Linux before 5.13 has the one for private memory only, so programs know how to do without;
    // the other, a second map of a shared one, isn't done here.
    if served.is_some() && (old == 0 || flags & libc::MREMAP_DONTUNMAP != 0) {
        return Err(Errno::INVAL);
    }
    if let Some(own) = served.filter(|served| served.traits.has(Traits::OWN))
        && pages(addr, new).len() > from.len()
    {
        // SAFETY: the caller's promise is ours.
        return unsafe { inside.grow(&own, Growth { addr, old, new, flags, to }) };
    }
    inside.regions.reserve()?;
    let start = match call() {
        Err(Errno::FAULT) if served.is_some() && fixed && from.len() == aim.len() => {
            // SAFETY: the caller's promise is ours.
            return unsafe { inside.move_all(&from, to) };
        }
        answer => answer?,
    };
    if fixed {
        inside.regions.remove(&aim);
    }
    let (old, new) = (from.len(), pages(start, new).len());
    if let Some(served) = served {
        inside.moved(&from, start..start + new, served.traits);
        if new > old {
            let grown = Request::Grown { start: start as u64, old: old as u64, new: new as u64 };
            inside.ask_plainly(grown, None);
        }
    } else if start != addr || new < old {
        inside.regions.remove(&from);
    }
    Ok(start)
}

/// Does `call`, after which none of `range` is served.
///
/// # Safety
/// The caller answers for what the call does.
unsafe fn replacing(range: &Range<usize>, call: impl FnOnce() -> Answer) -> Answer {
    match may_be_served(range).then(enter).flatten() {
        Some(mut inside) => inside.change(range, call),
        None => call(),
    }
}

/// Why it can't be served, if that can be seen without the lock, and without asking.
fn kernels(map: &Mmap) -> Option<Reason> {
    let kind = map.flags & libc::MAP_TYPE;
    let fits = map.len > 0
        && map.len <= isize::MAX as usize
        && map.offset >= 0
        && (map.offset as usize).is_multiple_of(PAGE_SIZE)
        && map.offset.checked_add(pages(0, map.len).end as i64).is_some()
        && (map.flags & libc::MAP_FIXED == 0 || map.addr.is_multiple_of(PAGE_SIZE));
    if !fits {
        return Some(Reason::Arguments);
    }
    if map.prot & libc::PROT_EXEC != 0 {
        return Some(Reason::Executable);
    }
    if map.flags & KERNELS != 0 {
        return Some(Reason::Flags);
    }
    if map.flags & libc::MAP_ANONYMOUS != 0 {
        let long = map.len as u64 >= min_bytes();
        let served = kind == libc::MAP_PRIVATE && serves_anonymous() && long;
        let stack = map.flags & libc::MAP_STACK != 0;
        return match served {
            false => Some(Reason::Anonymous),
            // Its owner may be a thread that forks, and needs it in the child at once.
            true => stack.then_some(Reason::Flags),
        };
    }
    match kind {
        libc::MAP_SHARED | libc::MAP_PRIVATE => {}
        libc::MAP_SHARED_VALIDATE if map.flags & !KNOWN == 0 => {}
        _ => return Some(Reason::Flags),
    }
    if min_bytes() == u64::MAX {
        return Some(Reason::NoBroker);
    }
    let Some(stat) = borrow(map.fd).and_then(|fd| rustix::fs::fstat(fd).ok()) else {
        return Some(Reason::Descriptor);
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let served = stat.st_size as u64 >= min_bytes() || board::may_serve(file_id(&stat));
            (!served).then_some(Reason::Short)
        }
        FileType::BlockDevice => None,
        _ => Some(Reason::SpecialFile),
    }
}

/// What mmap was asked to do besides, once all is in place. As with the kernel, it may fail
/// in silence.
///
/// # Safety
/// `start` is where `map` has been mapped.
unsafe fn fill(map: &Mmap, start: usize) {
    let len = pages(start, map.len).len();
    if map.flags & libc::MAP_LOCKED != 0 {
        // SAFETY: 1. locking changes no byte.
        let _ = unsafe { kernel::mlock(start, len) };
    } else if map.flags & libc::MAP_POPULATE != 0 && map.flags & libc::MAP_NONBLOCK == 0 {
        // Linux 5.14; a store to a private mapping is a copy.
        let stores =
            map.flags & libc::MAP_TYPE == libc::MAP_PRIVATE && map.prot & libc::PROT_WRITE != 0;
        let advice = if stores { libc::MADV_POPULATE_WRITE } else { libc::MADV_POPULATE_READ };
        // SAFETY: 1. touching pages changes no byte.
        let _ = unsafe { kernel::madvise(start, len, advice) };
    }
}

impl Mmap {
    /// What is replaced for sure.
    fn fixed_range(&self) -> Range<usize> {
        match self.flags & libc::MAP_FIXED {
            0 => 0..0,
            _ => pages(self.addr, self.len),
        }
    }
}

/// What the broker has said that is to be mapped.
struct Served {
    ticket: u64,
    offset: u64,
    how: How,
    memory: OwnedFd,
}

impl Inside {
    /// Does `call`; if it succeeds, none of `range` is served any more.
    pub(crate) fn change(&mut self, range: &Range<usize>, call: impl FnOnce() -> Answer) -> Answer {
        if range.is_empty() {
            return call();
        }
        self.regions.reserve()?;
        let answer = call();
        if answer.is_ok() {
            self.regions.remove(range);
        }
        answer
    }

    /// `from` is at `to` now, longer or shorter.
    fn moved(&mut self, from: &Range<usize>, to: Range<usize>, traits: Traits) {
        self.regions.remove(from);
        // Room has been made for one change; another one may need as much.
        if self.regions.reserve().is_ok() {
            self.regions.insert(to, traits);
        }
    }

    /// Asks the broker, and maps what it says; or answers why it is the kernel's after all.
    ///
    /// # Safety
    /// As mmap(2).
    pub(crate) unsafe fn map(&mut self, map: &Mmap) -> Result<Answer, Reason> {
        if let Err(errno) = self.regions.reserve() {
            return Ok(Err(errno));
        }
        let fd = match map.flags & libc::MAP_ANONYMOUS {
            0 => Some(borrow(map.fd).ok_or(Reason::Descriptor)?),
            _ => None,
        };
        let request = Request::Map {
            len: map.len as u64,
            offset: if fd.is_some() { map.offset as u64 } else { 0 },
            prot: map.prot,
            flags: map.flags,
        };
        match self.ask(request, fd).ok_or(Reason::NoBroker)? {
            (Reply::Error { errno }, _) => Ok(Err(Errno::from_raw_os_error(errno))),
            (Reply::Kernel { reason }, _) => Err(reason),
            (Reply::Served { ticket, offset, how }, Some(memory)) => {
                let served = Served { ticket, offset, how, memory };
                // SAFETY: the caller's promise is ours.
                let answer = unsafe { self.map_served(map, &served) };
                close(served.memory);
                answer.ok_or(Reason::Unregistered)
            }
            _ => Err(Reason::NoBroker),
        }
    }

    /// Maps the object's memory where the kernel has room for it, or where the program has
    /// said; has faults go to the broker; and then gives the rights.
    ///
    /// `None` if it can't be registered.
    ///
    /// # Safety
    /// As mmap(2).
    unsafe fn map_served(&mut self, map: &Mmap, served: &Served) -> Option<Answer> {
        let kind = match served.how {
            How::Shared | How::Own => libc::MAP_SHARED,
            How::Private => libc::MAP_PRIVATE,
        };
        let memory = Mmap {
            prot: libc::PROT_NONE,
            flags: map.flags & PLACE | kind,
            fd: served.memory.as_raw_fd(),
            offset: served.offset as i64,
            ..*map
        };
        // SAFETY: 1. as mmap(2) of the file would, it replaces what the program says and
        // nothing else; 2. nothing can be touched there yet.
        let start = match unsafe { memory.call() } {
            Ok(start) => start,
            Err(errno) => return Some(Err(errno)),
        };
        let range = pages(start, map.len);
        // SAFETY: 1. the range has been mapped just now, for this.
        let served = unsafe { self.serve(map, served, &range) };
        match served {
            Ok(traits) => {
                self.regions.insert(range, traits);
                Some(Ok(start))
            }
            Err(failed) => {
                // SAFETY: 1. it was mapped by us, and nobody has been told of it.
                let _ = unsafe { kernel::munmap(range.start, range.len()) };
                self.regions.remove(&map.fixed_range());
                match failed {
                    Failed::NotServed => None,
                    Failed::Refused(errno) => Some(Err(errno)),
                }
            }
        }
    }

    /// # Safety
    /// `range` is what [`map_served`](Self::map_served) has mapped.
    unsafe fn serve(
        &mut self,
        map: &Mmap,
        served: &Served,
        range: &Range<usize>,
    ) -> Result<Traits, Failed> {
        let uffd = self.connection().and_then(|connection| connection.userfaultfd());
        let uffd = uffd.ok_or(Failed::NotServed)?;
        // SAFETY: 1. nothing refers to the bytes of the range, which nobody can touch yet.
        unsafe { register(uffd, range).map_err(|_| Failed::NotServed)? };
        let mapped = Request::Mapped {
            ticket: served.ticket,
            start: range.start as u64,
            len: range.len() as u64,
            offset: served.offset,
        };
        match self.ask_plainly(mapped, None) {
            Some(Reply::Done { .. }) => {}
            Some(Reply::Error { errno }) => {
                return Err(Failed::Refused(Errno::from_raw_os_error(errno)));
            }
            _ => return Err(Failed::NotServed),
        }
        // SAFETY: 1. the range is ours as yet; 2. no byte of it changes.
        unsafe { kernel::madvise(range.start, range.len(), libc::MADV_DONTFORK)? };
        // SAFETY: 1. from here on the bytes are those of the file, as the program wants them.
        unsafe { kernel::mprotect(range.start, range.len(), map.prot)? };
        let is_private = map.flags & libc::MAP_TYPE == libc::MAP_PRIVATE;
        Ok(match served.how {
            How::Own if map.flags & libc::MAP_ANONYMOUS != 0 => Traits::OWN.with_rights(map.prot),
            How::Own => Traits::BACKED.with_rights(map.prot),
            _ if is_private => Traits::PRIVATE,
            How::Shared => Traits::SHARED,
            How::Private => Traits::SHARED_READ_ONLY,
        })
    }
}

/// Why a mapping that the broker would serve isn't there.
enum Failed {
    /// The kernel is to map the file.
    NotServed,
    /// mmap fails so.
    Refused(Errno),
}

impl From<Errno> for Failed {
    fn from(errno: Errno) -> Failed {
        Failed::Refused(errno)
    }
}

/// Has the faults of `range` go to the broker.
///
/// # Safety
/// The range is mapped from an object's memory, and bytes may appear there.
pub(crate) unsafe fn register(uffd: BorrowedFd<'_>, range: &Range<usize>) -> Result<(), Errno> {
    let at = |address: usize| VirtAddr(address as u64);
    let range = VirtRange { start: at(range.start), end: at(range.end) };
    // SAFETY: the caller's promise is ours.
    unsafe { Userfaultfd::register_with(uffd, Features::SHARED, range) }
}

/// The pages of `len` bytes from `addr` on; without end if that is beyond all addresses.
pub(crate) fn pages(addr: usize, len: usize) -> Range<usize> {
    let end = addr.checked_add(len).and_then(|end| end.checked_next_multiple_of(PAGE_SIZE));
    addr..end.unwrap_or(usize::MAX).max(addr)
}
