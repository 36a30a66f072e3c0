//! mseal(2).

use crate::area::AreaFlags;
use crate::call::{Addr, PAGE, ProcessId};
use crate::outcome::Errno;

use super::Model;
use super::allowed::{Allowed, Answer};
use super::process::{is_aligned, number, round_up};

impl Model {
    pub(super) fn mseal(&mut self, p: ProcessId, addr: Addr, len: u64, flags: u64) -> Answer {
        let rounded = round_up(len);
        if flags != 0 || !is_aligned(addr) || len != 0 && rounded == 0 {
            return Err(Errno::EINVAL);
        }
        let end = addr.bytes.checked_add(rounded).ok_or(Errno::EINVAL)?;
        let range = number(addr)..end / PAGE;
        let process = self.process_mut(p);
        if range.clone().any(|number| process.traits(number).is_none()) {
            return Err(Errno::ENOMEM);
        }
        for (_, page) in process.pages.range_mut(range) {
            page.traits.flags |= AreaFlags::SEALED;
        }
        Ok(Allowed::DONE)
    }
}
