//! remap_file_pages(2): a mapping of other pages of the same object, in place.

use crate::call::{Addr, PAGE, ProcessId};
use crate::flags::{MapFlags, Prot};
use crate::outcome::Errno;

use super::Model;
use super::allowed::{Allowed, Answer};
use super::page::{Backing, Lock, Page, Traits};

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub addr: Addr,
    pub len: u64,
    pub prot: Prot,
    pub page: u64,
    pub flags: MapFlags,
}

impl Model {
    pub(super) fn remap_file_pages(&mut self, process: ProcessId, request: Request) -> Answer {
        let start = request.addr.bytes / PAGE;
        let pages = request.len / PAGE;
        let invalid = Err(Errno::EINVAL);
        if !request.prot.is_empty() || pages == 0 || request.page.checked_add(pages).is_none() {
            return invalid;
        }
        let here = self.process(process);
        let traits = here.traits(start).ok_or(Errno::EINVAL)?;
        let Backing::Object { object, .. } = traits.backing else { return invalid };
        if !traits.is_shared() || !traits.may.contains(Prot::WRITE) {
            return invalid;
        }
        let same = |number| {
            here.traits(number).is_some_and(|other| {
                let blind = Traits { birth: 0, backing: traits.backing, ..other };
                let is_same =
                    matches!(other.backing, Backing::Object { object: its, .. } if its == object);
                let guards = [start, number].map(|number| here.pages[&number].had_guard);
                guards[0] == guards[1] && is_same && blind == Traits { birth: 0, ..traits }
            })
        };
        if !(start..start + pages).all(same) {
            return invalid;
        }
        let backing = Backing::Object { object, page: request.page };
        // It is a new mapping: marks that madvise(2) has left are gone.
        let future = self.process(process).future;
        let lock = match (traits.lock, future) {
            (Lock::No, future) => future,
            (_, Lock::OnFault) => Lock::OnFault,
            _ => Lock::Full,
        };
        // Asked for as MAP_LOCKED, which nobody without any limit left may say.
        if traits.lock != Lock::No && !self.is_exempt() && self.process(process).locked_max == 0 {
            return Err(Errno::EPERM);
        }
        if lock != Lock::No && !self.may_lock(self.process(process), pages) {
            return Err(Errno::EAGAIN);
        }
        let flags = crate::area::AreaFlags::empty();
        let new = Traits { backing, lock, flags, birth: self.birth(), ..traits };
        self.replace(process, start..start + pages, new)?;
        for number in start..start + pages {
            let page = Page::new(new.after(number - start));
            self.process_mut(process).pages.insert(number, page);
        }
        let populate = !request.flags.contains(MapFlags::NONBLOCK);
        if populate || lock != Lock::No {
            self.populate_quietly(process, start..start + pages);
        }
        Ok(Allowed::DONE)
    }
}
