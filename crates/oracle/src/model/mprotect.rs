//! mprotect(2): area by area, up to the first that can't be.

use crate::call::{Addr, PAGE, ProcessId};
use crate::flags::Prot;
use crate::outcome::Errno;

use super::Model;
use super::allowed::{Allowed, Answer};
use super::page::{Lock, Traits};
use super::process::{Pages, RIGHTS, is_aligned, number, round_up};

/// A right that is for semaphores on other machines, and ignored.
const SEM: Prot = Prot::from_bits_retain(8);
const GROWS: Prot = Prot::GROWSDOWN.union(Prot::GROWSUP);

impl Model {
    pub(super) fn mprotect(
        &mut self,
        process: ProcessId,
        addr: Addr,
        len: u64,
        prot: Prot,
    ) -> Answer {
        if prot.contains(GROWS) || !is_aligned(addr) {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(Allowed::DONE);
        }
        let pages = round_up(len) / PAGE;
        let end = addr.bytes.checked_add(pages * PAGE).filter(|end| *end > addr.bytes);
        let end = end.ok_or(Errno::ENOMEM)? / PAGE;
        if !(RIGHTS | SEM).contains(prot - GROWS) {
            return Err(Errno::EINVAL);
        }
        let start = self.first_to_protect(process, number(addr)..end, prot)?;
        for (run, traits) in self.process(process).runs(start..end) {
            let traits = traits.ok_or(Errno::ENOMEM)?;
            self.protect(process, run, traits, prot & RIGHTS)?;
        }
        Ok(Allowed::DONE)
    }

    /// With GROWSDOWN: the first page of the area that grows down.
    fn first_to_protect(&self, p: ProcessId, range: Pages, prot: Prot) -> Result<u64, Errno> {
        let process = self.process(p);
        let traits = |number| process.traits(number);
        if prot.contains(Prot::GROWSUP) && traits(range.start).is_some() {
            return Err(Errno::EINVAL);
        }
        if !prot.contains(Prot::GROWSDOWN) {
            return Ok(range.start);
        }
        let next = process.pages.range(range).next();
        let (mut start, page) = next.map(|(n, page)| (*n, page)).ok_or(Errno::ENOMEM)?;
        if !page.traits.grows_down() {
            return Err(Errno::EINVAL);
        }
        while let Some(below) = traits(start - 1).filter(|_| start > 0) {
            if traits(start).is_none_or(|here| below.ends_before(here) || below.birth != here.birth)
            {
                break;
            }
            start -= 1;
        }
        Ok(start)
    }

    fn protect(&mut self, p: ProcessId, run: Pages, old: Traits, prot: Prot) -> Result<(), Errno> {
        if !old.may.contains(prot) {
            return Err(Errno::EACCES);
        }
        if old.is_sealed() {
            return Err(Errno::EPERM);
        }
        if old.prot == prot {
            return Ok(());
        }
        self.rebirth(p, run.clone());
        let process = self.process_mut(p);
        let new = Traits { prot, ..old };
        let pages = run.end - run.start;
        if new.is_data()
            && !old.is_data()
            && !process.may_add(new, pages)
            && process.may_add(old, pages)
        {
            return Err(Errno::ENOMEM);
        }
        for (_, page) in process.pages.range_mut(run.clone()) {
            page.traits.prot = prot;
        }
        let becomes_writable = prot.contains(Prot::WRITE) && !old.prot.contains(Prot::WRITE);
        if old.lock == Lock::Full && !old.is_shared() && becomes_writable {
            for number in run {
                if self.populate(p, number).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }
}
