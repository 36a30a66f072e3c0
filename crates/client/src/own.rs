//! Memory of the program's own (private: anonymous, or stored to in place of a file's pages),
//! where it is another thing than a file's: madvise, growth, and what a child of fork is given.
//!
//! For the kernel it is shared memory that only this process maps. So what private memory has
//! and shared memory hasn't, the broker does: zeros or the file's bytes after `MADV_DONTNEED`,
//! and copies for children.

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
            part = part.and(unsafe { advise_own(&own, advice) });
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
unsafe fn advise_own(own: &Region, advice: i32) -> Answer {
    let range = &own.range();
    let change = |change: fn(Traits) -> Traits| {
        let Some(mut inside) = enter() else { return Err(Errno::AGAIN) };
        inside.regions.reserve()?;
        inside.regions.change(range, change);
        Ok(0)
    };
    match advice {
        // A file's bytes can't be had by giving up what they have become.
        libc::MADV_WIPEONFORK | libc::MADV_FREE if own.traits.has(Traits::BACKED) => {
            return Err(Errno::INVAL);
        }
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
        // A seal says so.
        // SAFETY: 1. the rights are those that it has.
        unsafe { kernel::mprotect(from.start, old, own.traits.rights())? };
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
        unsafe { self.carry(&from, new, place) }
    }

    /// mremap(2) of several areas to a fixed address, where the kernel can't: these are, for
    /// it, of shared memory that is served.
    ///
    /// # Safety
    /// As mremap(2).
    pub(crate) unsafe fn move_all(&mut self, from: &Range<usize>, to: usize) -> Answer {
        let own = self.regions.within(from.clone()).filter(|it| it.traits.has(Traits::OWN));
        let aim = to..to + from.len();
        let apart = aim.end <= from.start || from.end <= aim.start;
        if own.map(|region| region.len()).sum::<usize>() < from.len() || !apart {
            return Err(Errno::FAULT);
        }
        // SAFETY: the caller's promise is ours.
        unsafe { self.carry(from, from.len(), (to, libc::MAP_FIXED)) }
    }

    /// Where the homes behind it are free, it stays one area for the kernel; else what is new
    /// is another one.
    ///
    /// # Safety
    /// As mremap(2).
    unsafe fn grow_here(&mut self, own: &Region, old: usize, new: usize) -> Result<(), Errno> {
        self.regions.reserve()?;
        let (start, behind) = (own.start as u64, own.start + old..own.start + new);
        let told = |new: usize| Request::Grown { start, old: old as u64, new: new as u64 };
        let grow = Request::Grow { start, old: old as u64, new: new as u64 };
        if done(self.ask_plainly(grow, None)).is_err() {
            // SAFETY: the caller's promise is ours.
            return unsafe { self.map_behind(own, &behind) };
        }
        // Of its last page, for it may be several areas already.
        let last = behind.start - PAGE_SIZE;
        // SAFETY: the caller's promise is ours.
        let grown = unsafe { kernel::mremap(last, PAGE_SIZE, PAGE_SIZE + behind.len(), 0, 0) };
        if let Err(errno) = grown {
            self.ask_plainly(told(old), None);
            return Err(errno);
        }
        if let Err(errno) = done(self.ask_plainly(told(new), None)) {
            // SAFETY: 1. what is behind the old end has been mapped just now.
            let _ = unsafe { kernel::munmap(behind.start, behind.len()) };
            return Err(errno);
        }
        self.regions.insert(behind, own.traits);
        Ok(())
    }

    /// # Safety
    /// As mremap(2).
    unsafe fn map_behind(&mut self, own: &Region, behind: &Range<usize>) -> Result<(), Errno> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let (addr, len, prot) = (behind.start, behind.len(), own.traits.rights());
        let map = Mmap { addr, len, prot, flags, fd: -1, offset: 0 };
        // SAFETY: 1. nothing that is there is replaced.
        match unsafe { self.map(&map) } {
            Ok(Ok(_)) => {}
            Ok(Err(Errno::EXIST)) | Err(_) => return Err(Errno::NOMEM),
            Ok(Err(errno)) => return Err(errno),
        }
        self.regions.reserve()?;
        self.regions.change(behind, |_| own.traits);
        self.follow(own, behind, behind.start).inspect_err(|_| {
            let unmap = || {
                // SAFETY: 1. it has been mapped just now.
                unsafe { kernel::munmap(behind.start, behind.len()) }
            };
            let _ = self.change(behind, unmap);
        })
    }

    /// What has just been mapped goes on where `own` ends: with the file's pages that follow,
    /// if there is one.
    fn follow(&mut self, own: &Region, new: &Range<usize>, after: usize) -> Result<(), Errno> {
        if !own.traits.has(Traits::BACKED) || new.is_empty() {
            return Ok(());
        }
        let (start, len, after) = (new.start as u64, new.len() as u64, after as u64);
        done(self.ask_plainly(Request::Follow { start, len, after }, None))
    }

    /// Has what is at `from` be in new memory, as long or longer; the rest has the rights of
    /// the last part.
    ///
    /// # Safety
    /// As mremap(2).
    unsafe fn carry(
        &mut self,
        from: &Range<usize>,
        new: usize,
        (addr, fixed): (usize, i32),
    ) -> Answer {
        let first = self.regions.own_within(from.clone()).ok_or(Errno::FAULT)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | fixed;
        let map = Mmap { addr, len: new, prot: first.traits.rights(), flags, fd: -1, offset: 0 };
        // SAFETY: 1. where it is fixed, the caller has said what may be replaced.
        let start = unsafe { self.map(&map) }.unwrap_or(Err(Errno::NOMEM))?;
        let (mut ready, mut at, moved) = (Ok(()), from.start, |at: usize| at - from.start + start);
        while let Some(part) = self.regions.own_within(at..from.end).filter(|_| ready.is_ok()) {
            let end = if part.end == from.end { start + new } else { moved(part.end) };
            let (to, rights) = (moved(part.start)..end, part.traits.rights());
            // SAFETY: 1. nobody knows of the new addresses yet; 2. the rights are those of the
            // part that is there now.
            ready = unsafe { kernel::mprotect(to.start, to.len(), rights).map(drop) };
            ready = ready.and(self.regions.reserve());
            if ready.is_ok() {
                self.regions.change(&to, |_| part.traits);
            }
            if part.end == from.end && ready.is_ok() {
                ready = self.follow(&part, &(start + from.len()..start + new), from.end);
            }
            at = part.end;
        }
        let carry =
            Request::Carry { from: from.start as u64, to: start as u64, len: from.len() as u64 };
        let carried = ready.and_then(|()| done(self.ask_plainly(carry, None)));
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
