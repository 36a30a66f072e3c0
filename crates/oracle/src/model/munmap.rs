//! munmap(2).

use crate::call::{Addr, PAGE, ProcessId};
use crate::outcome::Errno;

use super::Model;
use super::allowed::{Allowed, Answer};
use super::place::TASK_END;
use super::process::{Pages, is_aligned, number, round_up};

impl Model {
    pub(super) fn munmap(&mut self, process: ProcessId, addr: Addr, len: u64) -> Answer {
        let too_long = addr.bytes > TASK_END || len > TASK_END - addr.bytes;
        if !is_aligned(addr) || too_long || len == 0 {
            return Err(Errno::EINVAL);
        }
        let start = number(addr);
        self.unmap(process, start..start + round_up(len) / PAGE)?;
        Ok(Allowed::DONE)
    }

    /// Takes pages away; none of them if one is sealed.
    pub(super) fn unmap(&mut self, process: ProcessId, range: Pages) -> Result<(), Errno> {
        let here = self.process(process);
        if here.pages.range(range.clone()).any(|(_, page)| page.traits.is_sealed()) {
            // Areas have been cut at both ends already, and stay so.
            self.rebirth(process, range);
            return Err(Errno::EPERM);
        }
        let process = self.process_mut(process);
        process.pages.retain(|number, _| !range.contains(number));
        Ok(())
    }
}
