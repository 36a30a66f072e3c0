//! madvise and msync: the kernel does what it does to any mapping, and the broker what only
//! it can.

#![allow(unsafe_code)]

use std::ops::Range;

use faultless_addr::PAGE_SIZE;
use faultless_protocol::{Reply, Request};
use faultless_sys::Errno;

use crate::enter::{Inside, enter};
use crate::kernel::{self, Answer};
use crate::map::pages;
use crate::regions::{Traits, may_be_served};
use crate::trace::{Call, traced_at};

/// madvise(2).
///
/// # Safety
/// As madvise(2).
pub unsafe fn madvise(addr: usize, len: usize, advice: i32) -> Answer {
    let call = Call::Madvise { addr, len, advice };
    // SAFETY: the caller's promise is ours.
    traced_at(call, &pages(addr, len), || unsafe { advised(addr, len, advice) })
}

/// posix_madvise(3), which leaves `POSIX_MADV_DONTNEED` be.
///
/// # Safety
/// As posix_madvise(3).
pub unsafe fn posix_madvise(addr: usize, len: usize, advice: i32) -> Answer {
    let call = Call::PosixMadvise { addr, len, advice };
    traced_at(call, &pages(addr, len), || match advice {
        libc::POSIX_MADV_DONTNEED => Ok(0),
        // SAFETY: the caller's promise is ours.
        _ => unsafe { advised(addr, len, advice) },
    })
}

/// # Safety
/// As madvise(2).
unsafe fn advised(addr: usize, len: usize, advice: i32) -> Answer {
    // SAFETY: the caller's promise is ours.
    let call = || unsafe { kernel::madvise(addr, len, advice) };
    let range = pages(addr, len);
    let concerned = addr.is_multiple_of(PAGE_SIZE) && may_be_served(&range);
    let Some(mut inside) = concerned.then(enter).flatten() else { return call() };
    if inside.regions.first_within(range.clone()).is_none() {
        drop(inside);
        return call();
    }
    let own = inside.regions.own_within(range.clone()).is_some();
    match advice {
        advice if own && crate::own::is_special(advice) => {
            drop(inside);
            // SAFETY: the caller's promise is ours.
            unsafe { crate::own::advise(range, advice) }
        }
        libc::MADV_NORMAL | libc::MADV_RANDOM | libc::MADV_SEQUENTIAL | libc::MADV_WILLNEED => {
            let answer = call();
            inside.advise(range, advice);
            answer
        }
        // SAFETY: the caller's promise is ours.
        libc::MADV_REMOVE => unsafe { inside.punch(range) },
        // Huge pages would make pages look filled that aren't: it stays without.
        libc::MADV_HUGEPAGE => Ok(0),
        libc::MADV_COLLAPSE => Err(Errno::INVAL),
        libc::MADV_DONTFORK => inside.inherit(range, |traits| traits.with(Traits::NOT_INHERITED)),
        libc::MADV_DOFORK => inside.inherit(range, |traits| traits.without(Traits::NOT_INHERITED)),
        // Dropped pages are told to the broker by the kernel, which waits for it: not with
        // our lock, since it may be some time.
        _ => {
            drop(inside);
            // What the broker can't have is poison to the kernel.
            call().map_err(|errno| if errno == Errno::HWPOISON { Errno::FAULT } else { errno })
        }
    }
}

/// msync(2).
///
/// # Safety
/// As msync(2).
pub unsafe fn msync(addr: usize, len: usize, flags: i32) -> Answer {
    let call = Call::Msync { addr, len, flags };
    // SAFETY: the caller's promise is ours.
    traced_at(call, &pages(addr, len), || unsafe { synced(addr, len, flags) })
}

/// # Safety
/// As msync(2).
unsafe fn synced(addr: usize, len: usize, flags: i32) -> Answer {
    // SAFETY: the caller's promise is ours.
    let answer = unsafe { kernel::msync(addr, len, flags) };
    let range = pages(addr, len);
    // A hole is an error only after all that lies around it.
    let done = matches!(answer, Ok(_) | Err(Errno::NOMEM));
    if !done || !may_be_served(&range) {
        return answer;
    }
    let Some(mut inside) = enter() else { return answer };
    let mut at = range.start;
    while let Some(region) = inside.regions.first_within(at..range.end) {
        at = region.end;
        if !region.traits.has(Traits::SHARED) {
            continue;
        }
        let (start, len) = (region.start as u64, region.len() as u64);
        let reply = match region.traits.has(Traits::LOST) {
            true => None,
            false => inside.ask_plainly(Request::Sync { start, len, flags }, None),
        };
        match reply {
            Some(Reply::Error { errno }) => return Err(Errno::from_raw_os_error(errno)),
            Some(_) => {}
            // The broker is gone, and what has been stored since it last wrote.
            None => return Err(Errno::IO),
        }
    }
    answer
}

impl Inside {
    /// Tells the broker of what is served of `range`; nothing comes of it if it is refused.
    fn advise(&mut self, range: Range<usize>, advice: i32) {
        let mut at = range.start;
        while let Some(region) = self.regions.first_within(at..range.end) {
            at = region.end;
            let (start, len) = (region.start as u64, region.len() as u64);
            self.ask_plainly(Request::Advise { start, len, advice }, None);
        }
    }

    /// What was an error, and needn't be one any more, is asked for again when it is touched. A
    /// page that may be there by now is still the broker's.
    pub(crate) fn give_up_healed(&mut self) {
        while let Some(Reply::Region { start, len }) = self.ask_plainly(Request::Healed, None) {
            for region in self.regions.within(pages(start as usize, len as usize)) {
                if region.traits.has(Traits::SHARED) || region.traits.has(Traits::OWN) {
                    // SAFETY: 1. the memory is shared, and the broker's to keep: no byte is lost.
                    let _ =
                        unsafe { kernel::madvise(region.start, region.len(), libc::MADV_DONTNEED) };
                }
            }
        }
    }

    /// `MADV_REMOVE`: a hole in the file. What lies between is the kernel's, in its turn.
    ///
    /// # Safety
    /// As madvise(2).
    unsafe fn punch(&mut self, range: Range<usize>) -> Answer {
        let mut at = range.start;
        let mut done = Ok(0);
        let mut kernels = |part: Range<usize>| {
            // SAFETY: the caller's promise is ours.
            match unsafe { kernel::madvise(part.start, part.len(), libc::MADV_REMOVE) } {
                // What isn't mapped is told when the rest is done.
                Err(Errno::NOMEM) => done = Err(Errno::NOMEM),
                answer => drop(answer?),
            }
            Ok(())
        };
        while let Some(region) = self.regions.first_within(at..range.end) {
            if region.start > at {
                kernels(at..region.start)?;
            }
            at = region.end;
            if region.traits.has(Traits::OWN) && !region.traits.has(Traits::BACKED) {
                return Err(Errno::INVAL);
            }
            let shared = region.traits.has(Traits::SHARED);
            if !shared || region.traits.has(Traits::SHARED_READ_ONLY) {
                return Err(Errno::ACCESS);
            }
            let (start, len) = (region.start as u64, region.len() as u64);
            let advice = libc::MADV_REMOVE;
            match self.ask_plainly(Request::Advise { start, len, advice }, None) {
                Some(Reply::Done { .. }) => {}
                Some(Reply::Error { errno }) => return Err(Errno::from_raw_os_error(errno)),
                _ => return Err(Errno::OPNOTSUPP),
            }
        }
        if at < range.end {
            kernels(at..range.end)?;
        }
        done
    }

    /// `MADV_DONTFORK` and `MADV_DOFORK`: for what is served, fork's handlers see to it.
    fn inherit(&mut self, range: Range<usize>, change: impl Fn(Traits) -> Traits) -> Answer {
        self.regions.reserve()?;
        self.regions.change(&range, change);
        Ok(0)
    }
}
