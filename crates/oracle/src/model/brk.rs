//! brk(2), the raw call: it answers with the break, moved or not.

use crate::area::{AreaFlags, Sharing};
use crate::call::{Addr, PAGE, ProcessId};
use crate::flags::Prot;
use crate::outcome::Outcome;

use super::Model;
use super::allowed::{Allowed, Answer};
use super::page::{Backing, Lock, Page, Traits};
use super::place::{GAP_PAGES, is_inside};
use super::process::{Pages, RIGHTS};

impl Model {
    pub(super) fn brk(&mut self, process: ProcessId, addr: Addr) -> Answer {
        if self.may_break(process, addr.bytes) {
            self.process_mut(process).brk = addr.bytes;
        }
        let brk = self.process(process).brk;
        Ok(Allowed::Only(Outcome::Address(Addr::at(brk))))
    }

    fn may_break(&mut self, process: ProcessId, wanted: u64) -> bool {
        if wanted < self.world.brk || wanted > self.world.end() {
            return false;
        }
        let old = self.process(process).brk.div_ceil(PAGE);
        let new = wanted.div_ceil(PAGE);
        match old.cmp(&new) {
            std::cmp::Ordering::Equal => true,
            std::cmp::Ordering::Greater => {
                self.process(process).any(new..old) && self.unmap(process, new..old).is_ok()
            }
            std::cmp::Ordering::Less => self.extend(process, old..new),
        }
    }

    fn extend(&mut self, id: ProcessId, range: Pages) -> bool {
        let process = self.process(id);
        let pages = range.end - range.start;
        let traits = Traits {
            prot: Prot::READ | Prot::WRITE,
            may: RIGHTS,
            sharing: Sharing::Private,
            backing: Backing::Anonymous,
            lock: process.future,
            opened: 0,
            flags: AreaFlags::empty(),
            birth: 0,
        };
        let next = process.pages.range(range.start..).next();
        // A page stays free, or as much as what grows down keeps.
        let is_clear = next.is_none_or(|(&next, page)| {
            let gap = if page.traits.grows_down() { GAP_PAGES } else { 0 };
            range.end + 1 + gap <= next
        });
        let locks = process.future == Lock::No || self.may_lock(process, pages);
        let inside = is_inside(&self.world, range.start, pages + 1);
        if !is_clear || !locks || !inside || !process.may_add(traits, pages) {
            return false;
        }
        let traits = Traits { birth: self.birth(), ..traits };
        for number in range.clone() {
            self.process_mut(id).pages.insert(number, Page::new(traits));
        }
        if traits.lock != Lock::No {
            self.populate_quietly(id, range);
        }
        true
    }
}
