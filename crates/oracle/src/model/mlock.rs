//! mlock(2), mlock2(2), munlock(2), mlockall(2), munlockall(2).

use crate::call::{Addr, PAGE, ProcessId};
use crate::flags::{LockAllFlags, LockFlags};
use crate::outcome::Errno;

use super::Model;
use super::allowed::{Allowed, Answer};
use super::page::Lock;
use super::process::{Pages, Process, round_up};

/// All pages that an address and a length touch.
fn touched(addr: Addr, len: u64) -> Result<Pages, Errno> {
    let len = round_up(len.wrapping_add(addr.bytes % PAGE));
    let start = addr.bytes / PAGE;
    match (start * PAGE).checked_add(len) {
        Some(end) => Ok(start..end / PAGE),
        None => Err(Errno::EINVAL),
    }
}

impl Model {
    /// May a process lock so many pages more?
    pub(super) fn may_lock(&self, process: &Process, pages: u64) -> bool {
        self.is_exempt() || process.locked() + pages <= process.locked_max / PAGE
    }

    fn can_lock(&self, process: ProcessId) -> Result<(), Errno> {
        let any = self.is_exempt() || self.process(process).locked_max > 0;
        if any { Ok(()) } else { Err(Errno::EPERM) }
    }

    pub(super) fn mlock2(
        &mut self,
        process: ProcessId,
        addr: Addr,
        len: u64,
        flags: LockFlags,
    ) -> Answer {
        match flags {
            LockFlags::ONFAULT => self.mlock(process, addr, len, Lock::OnFault),
            _ if flags.is_empty() => self.mlock(process, addr, len, Lock::Full),
            _ => Err(Errno::EINVAL),
        }
    }

    pub(super) fn mlock(&mut self, p: ProcessId, addr: Addr, len: u64, lock: Lock) -> Answer {
        self.can_lock(p)?;
        let range = touched(addr, len);
        let pages = round_up(len.wrapping_add(addr.bytes % PAGE)) / PAGE;
        let process = self.process(p);
        let already = range.clone().map_or(0, |range| {
            let there = process.pages.range(range);
            there.filter(|(_, page)| page.traits.lock != Lock::No).count() as u64
        });
        if !self.is_exempt() && process.locked() + pages - already > process.locked_max / PAGE {
            return Err(Errno::ENOMEM);
        }
        let range = range?;
        self.set_lock(p, range.clone(), lock)?;
        for number in range {
            if self.populate(p, number).is_err() {
                return Err(Errno::ENOMEM);
            }
        }
        Ok(Allowed::DONE)
    }

    pub(super) fn munlock(&mut self, process: ProcessId, addr: Addr, len: u64) -> Answer {
        self.set_lock(process, touched(addr, len)?, Lock::No)?;
        Ok(Allowed::DONE)
    }

    /// Up to the first hole.
    fn set_lock(&mut self, process: ProcessId, range: Pages, lock: Lock) -> Result<(), Errno> {
        let pages = &mut self.process_mut(process).pages;
        let hole = range.clone().find(|number| !pages.contains_key(number));
        let done = range.start..hole.unwrap_or(range.end);
        pages.range_mut(done.clone()).for_each(|(_, page)| page.traits.set_lock(lock));
        self.rebirth(process, done);
        hole.map_or(Ok(()), |_| Err(Errno::ENOMEM))
    }

    pub(super) fn mlockall(&mut self, process: ProcessId, flags: LockAllFlags) -> Answer {
        let known = LockAllFlags::CURRENT | LockAllFlags::FUTURE | LockAllFlags::ONFAULT;
        if flags.is_empty() || !known.contains(flags) || flags == LockAllFlags::ONFAULT {
            return Err(Errno::EINVAL);
        }
        self.can_lock(process)?;
        let current = flags.contains(LockAllFlags::CURRENT);
        // The addresses that the harness takes are far more than any limit.
        if current && !self.is_exempt() {
            return Err(Errno::ENOMEM);
        }
        let on_fault = flags.contains(LockAllFlags::ONFAULT);
        let lock = if on_fault { Lock::OnFault } else { Lock::Full };
        let future = flags.contains(LockAllFlags::FUTURE);
        self.process_mut(process).future = if future { lock } else { Lock::No };
        if current {
            self.lock_everything(process, lock);
        }
        Ok(Allowed::DONE)
    }

    fn lock_everything(&mut self, process: ProcessId, lock: Lock) {
        let pages = &self.process(process).pages;
        let range = pages.keys().next().copied().zip(pages.keys().next_back().copied());
        let Some((first, last)) = range else { return };
        let everything = first..last + 1;
        let pages = &mut self.process_mut(process).pages;
        pages.values_mut().for_each(|page| page.traits.set_lock(lock));
        self.rebirth(process, everything.clone());
        if lock != Lock::No {
            self.populate_quietly(process, everything);
        }
    }

    pub(super) fn munlockall(&mut self, process: ProcessId) -> Answer {
        self.process_mut(process).future = Lock::No;
        self.lock_everything(process, Lock::No);
        Ok(Allowed::DONE)
    }
}
