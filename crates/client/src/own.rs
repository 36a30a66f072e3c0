//! Memory of the program's own (private and anonymous), where it is another thing than a
//! file's: madvise, growth, and what a child of fork is given.
//!
//! For the kernel it is shared memory that only this process maps. So what private memory has
//! and shared memory hasn't, the broker does: zeros after `MADV_DONTNEED`, and copies for
//! children.

#![allow(unsafe_code)]

use std::ops::Range;

use faultless_addr::PAGE_SIZE;
use faultless_protocol::{Reply, Request};
use faultless_sys::Errno;

use crate::enter::{Inside, enter};
use crate::kernel::{self, Answer, Mmap};
use crate::map::pages;
use crate::regions::{Region, Traits};

/// Advice by which what is in memory is lost. With the kernel's names where it has them.
const LOSES: [i32; 4] =
    [libc::MADV_DONTNEED, libc::MADV_FREE, libc::MADV_DONTNEED_LOCKED, GUARD_INSTALL];

/// `MADV_GUARD_INSTALL` (Linux 6.13).
const GUARD_INSTALL: i32 = 102;

/// Is advice for memory of the program's own another thing than what the kernel does to it?
pub(crate) fn is_special(advice: i32) -> bool {
    LOSES.contains(&advice) || [libc::MADV_WIPEONFORK, libc::MADV_KEEPONFORK].contains(&advice)
}

/// madvise(2), of a range that has memory of the program's own and maybe other; part by part,
/// as the kernel goes on area by area.
///
/// # Safety
/// As madvise(2).
pub(crate) unsafe fn advise(range: Range<usize>, advice: i32) -> Answer {
    let (mut at, mut done) = (range.start, Ok(0));
    while at < range.end {
        let own = enter().and_then(|inside| inside.regions.own_within(at..range.end));
        let start = own.map_or(range.end, |own| own.start);
        let end = own.map_or(range.end, |own| own.end);
        let mut part = Ok(0);
        if start > at {
            // SAFETY: the caller's promise is ours.
            part = unsafe { kernel::madvise(at, start - at, advice) };
        }
        if let Some(own) = own.filter(|_| matches!(part, Ok(_) | Err(Errno::NOMEM))) {
            // SAFETY: the caller's promise is ours.
            part = part.and(unsafe { advise_own(&own.range(), advice) });
        }
        match part {
            // What isn't mapped is told when the rest is done.
            Err(Errno::NOMEM) => done = part,
            part => drop(part?),
        }
        at = end;
    }
    done
}

/// # Safety
/// As madvise(2).
unsafe fn advise_own(range: &Range<usize>, advice: i32) -> Answer {
    let change = |change: fn(Traits) -> Traits| {
        let Some(mut inside) = enter() else { return Err(Errno::AGAIN) };
        inside.regions.reserve()?;
        inside.regions.change(range, change);
        Ok(0)
    };
    match advice {
        libc::MADV_WIPEONFORK => return change(|traits| traits.with(Traits::WIPED)),
        libc::MADV_KEEPONFORK => return change(|traits| traits.without(Traits::WIPED)),
        _ => {}
    }
    // Shared memory can't be given up until it is needed; whether it is locked is seen so.
    let kernels = if advice == libc::MADV_FREE { libc::MADV_DONTNEED } else { advice };
    // Not with our lock: the kernel tells the broker, and waits until that has heard.
    // SAFETY: the caller's promise is ours.
    let answer = unsafe { kernel::madvise(range.start, range.len(), kernels)? };
    if let Some(mut inside) = enter() {
        let (start, len, advice) = (range.start as u64, range.len() as u64, libc::MADV_DONTNEED);
        inside.ask_plainly(Request::Advise { start, len, advice }, None);
    }
    Ok(answer)
}

/// mremap's arguments.
#[derive(Clone, Copy)]
pub(crate) struct Growth {
    pub addr: usize,
    pub old: usize,
    pub new: usize,
    pub flags: i32,
    pub to: usize,
}

impl Inside {
    /// mremap(2) that makes a region of the program's own longer: in its place if the homes
    /// behind it are free, else in new memory, to which the broker carries what it holds.
    ///
    /// # Safety
    /// As mremap(2).
    pub(crate) unsafe fn grow(&mut self, own: &Region, growth: Growth) -> Answer {
        let Growth { addr, old, new, flags, to } = growth;
        let (from, fixed) = (pages(addr, old), flags & libc::MREMAP_FIXED != 0);
        let aim = pages(to, new);
        let (old, new) = (from.len(), pages(addr, new).len());
        let may_move = flags & libc::MREMAP_MAYMOVE != 0;
        let apart = aim.end <= from.start || from.end <= aim.start;
        let fits = addr.is_multiple_of(PAGE_SIZE) && new <= isize::MAX as usize;
        if !fits || fixed && !(may_move && to.is_multiple_of(PAGE_SIZE) && apart) {
            return Err(Errno::INVAL);
        }
        if own.start != from.start || own.end < from.end {
            return Err(Errno::FAULT);
        }
        if !fixed {
            // SAFETY: the caller's promise is ours.
            match unsafe { self.grow_here(own, old, new) } {
                Ok(()) => return Ok(addr),
                Err(errno) if !may_move => return Err(errno),
                Err(_) => {}
            }
        }
        let place = if fixed { (to, libc::MAP_FIXED) } else { (0, 0) };
        // SAFETY: the caller's promise is ours.
        unsafe { self.grow_elsewhere(own, &from, new, place) }
    }

    /// # Safety
    /// As mremap(2).
    unsafe fn grow_here(&mut self, own: &Region, old: usize, new: usize) -> Result<(), Errno> {
        self.regions.reserve()?;
        let start = own.start as u64;
        let told = |new: usize| Request::Grown { start, old: old as u64, new: new as u64 };
        let grow = Request::Grow { start, old: old as u64, new: new as u64 };
        done(self.ask_plainly(grow, None))?;
        // SAFETY: the caller's promise is ours.
        if let Err(errno) = unsafe { kernel::mremap(own.start, old, new, 0, 0) } {
            self.ask_plainly(told(old), None);
            return Err(errno);
        }
        if let Err(errno) = done(self.ask_plainly(told(new), None)) {
            // SAFETY: 1. what is behind the old end has been mapped just now.
            let _ = unsafe { kernel::munmap(own.start + old, new - old) };
            return Err(errno);
        }
        self.regions.insert(own.start + old..own.start + new, own.traits);
        Ok(())
    }

    /// # Safety
    /// As mremap(2).
    unsafe fn grow_elsewhere(
        &mut self,
        own: &Region,
        from: &Range<usize>,
        new: usize,
        (addr, fixed): (usize, i32),
    ) -> Answer {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | fixed;
        let map = Mmap { addr, len: new, prot: own.traits.rights(), flags, fd: -1, offset: 0 };
        // SAFETY: 1. where it is fixed, the caller has said what may be replaced.
        let start = unsafe { self.map(&map) }.unwrap_or(Err(Errno::NOMEM))?;
        self.regions.reserve()?;
        self.regions.change(&(start..start + new), |_| own.traits);
        let carry =
            Request::Carry { from: from.start as u64, to: start as u64, len: from.len() as u64 };
        let carried = done(self.ask_plainly(carry, None));
        let gone = if carried.is_ok() { from.clone() } else { start..start + new };
        // SAFETY: 1. nothing is there any more, by the caller's promise; or nothing is there
        // yet.
        let unmapped = self.change(&gone, || unsafe { kernel::munmap(gone.start, gone.len()) });
        carried.and(unmapped)?;
        Ok(start)
    }

    /// In a forked child, to which the kernel has given nothing of this region: maps memory
    /// there that holds what the parent's does.
    pub(crate) fn adopt_own(&mut self, region: &Region) -> Result<(), Errno> {
        // Nobody has been promised memory for both.
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        let (addr, len, prot) = (region.start, region.len(), libc::PROT_NONE);
        let map = Mmap { addr, len, prot, flags, fd: -1, offset: 0 };
        // SAFETY: 1. the parent has the memory there, and the child nothing but what keeps
        // others away.
        unsafe { self.map(&map) }.unwrap_or(Err(Errno::NOMEM))?;
        self.regions.reserve()?;
        self.regions.change(&region.range(), |_| region.traits);
        if !region.traits.has(Traits::WIPED) {
            let (start, len) = (region.start as u64, region.len() as u64);
            done(self.ask_plainly(Request::Inherit { start, len }, None))?;
        }
        // SAFETY: 1. from here on the bytes are those that the parent had.
        unsafe { kernel::mprotect(addr, len, region.traits.rights())? };
        Ok(())
    }
}

/// Keeps others away from addresses of a region that is not there yet.
pub(crate) fn hold(region: &Region) -> Answer {
    let flags =
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    let (addr, len, prot) = (region.start, region.len(), libc::PROT_NONE);
    // SAFETY: 1. nothing that is there is replaced.
    unsafe { Mmap { addr, len, prot, flags, fd: -1, offset: 0 }.call() }
}

fn done(reply: Option<Reply>) -> Result<(), Errno> {
    match reply {
        Some(Reply::Done { .. }) => Ok(()),
        Some(Reply::Error { errno }) => Err(Errno::from_raw_os_error(errno)),
        _ => Err(Errno::NOMEM),
    }
}
