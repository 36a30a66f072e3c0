//! fork(2): private bytes are copied at once.

use crate::area::AreaFlags;
use crate::call::ProcessId;

use super::Model;
use super::allowed::{Allowed, Answer, Residency};
use super::page::{Lock, Page};
use crate::outcome::Outcome;

impl Model {
    pub(super) fn fork(&mut self, process: ProcessId, child: ProcessId) -> Answer {
        if self.processes.contains_key(&child) || child.0 >= crate::kernel::PROCESSES_MAX {
            return Ok(Allowed::Only(Outcome::NoProcess));
        }
        let mut copy = self.process(process).clone();
        copy.pages.retain(|_, page| !page.traits.flags.contains(AreaFlags::DONTFORK));
        copy.pages.values_mut().for_each(inherit);
        copy.future = Lock::No;
        copy.locked_lost = 0;
        self.processes.insert(child, copy);
        Ok(Allowed::DONE)
    }
}

fn inherit(page: &mut Page) {
    page.traits.lock = Lock::No;
    if page.traits.flags.contains(AreaFlags::WIPEONFORK) {
        page.drop_own();
        page.guard = false;
    }
    // Whether the child has the page of zeros already depends on its neighbours.
    if page.touched == Residency::In {
        page.touched = Residency::Unsure;
    }
}
