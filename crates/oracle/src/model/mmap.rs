//! mmap(2).

use crate::call::{Addr, Fd, PAGE, ProcessId};
use crate::flags::{MapFlags, Prot};
use crate::outcome::{Errno, Outcome};
use crate::system::Person;

use super::Model;
use super::allowed::{Allowed, Answer};
use super::mapping::{NEW_OBJECT, anonymous_traits};
use super::object::{Kind, Object};
use super::page::{Backing, Lock, Page, Traits};
use super::place::{self, TASK_END};
use super::process::{Descriptor, Pages, is_aligned, round_up};

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub addr: Addr,
    pub len: u64,
    pub prot: Prot,
    pub flags: MapFlags,
    pub fd: Fd,
    pub offset: u64,
}

/// Bytes of a huge page.
const HUGE_PAGE: u64 = 2 << 20;

impl Model {
    pub(super) fn mmap(&mut self, process: ProcessId, mut request: Request) -> Answer {
        if !request.offset.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let file = self.file_of(process, request)?;
        let pages = pages_of(request)?;
        let noreplace = request.flags.contains(MapFlags::FIXED_NOREPLACE);
        if noreplace {
            request.flags |= MapFlags::FIXED;
        }
        let start = self.place(process, request, pages)?;
        let range = start..start + pages;
        if noreplace
            && (!place::is_inside(&self.world, start, pages)
                || self.process(process).any(range.clone()))
        {
            return Err(Errno::EEXIST);
        }
        let lock = self.lock_of(process, request, pages)?;
        let traits = match file {
            Some(file) => self.file_traits(request, file, pages)?,
            None => anonymous_traits(request)?,
        };
        let mut traits = Traits { birth: self.birth(), ..traits };
        traits.set_lock(lock);
        self.replace(process, range.clone(), traits)?;
        let traits = self.with_object(traits, pages);
        for number in range.clone() {
            let page = Page::new(traits.after(number - start));
            self.process_mut(process).pages.insert(number, page);
        }
        let populate = request.flags & (MapFlags::POPULATE | MapFlags::NONBLOCK);
        if lock != Lock::No || populate == MapFlags::POPULATE {
            self.populate_quietly(process, range);
        }
        Ok(Allowed::Only(Outcome::Address(Addr::at(start * PAGE))))
    }

    fn file_of(&self, process: ProcessId, request: Request) -> Result<Option<Descriptor>, Errno> {
        if request.flags.contains(MapFlags::ANONYMOUS) {
            return Ok(None);
        }
        let file = self.process(process).descriptor(request.fd)?;
        match request.flags.contains(MapFlags::HUGETLB) {
            true => Err(Errno::EINVAL),
            false => Ok(Some(file)),
        }
    }

    fn place(&self, process: ProcessId, request: Request, pages: u64) -> Result<u64, Errno> {
        let is_fixed = request.flags.contains(MapFlags::FIXED);
        if !is_fixed && request.flags.contains(MapFlags::BIT32) {
            return place::choose_low(
                &self.world,
                self.process(process),
                request.addr.bytes,
                pages,
            );
        }
        if !is_fixed {
            return place::choose(&self.world, self.process(process), request.addr.bytes, pages);
        }
        if pages > TASK_END / PAGE || request.addr.bytes > TASK_END - pages * PAGE {
            return Err(Errno::ENOMEM);
        }
        if !is_aligned(request.addr) {
            return Err(Errno::EINVAL);
        }
        // Nobody but root may map where a null pointer leads.
        if request.addr.bytes < PAGE && self.world.person == Person::Ordinary {
            return Err(Errno::EPERM);
        }
        Ok(request.addr.bytes / PAGE)
    }

    fn lock_of(&self, process: ProcessId, request: Request, pages: u64) -> Result<Lock, Errno> {
        let process = self.process(process);
        let asks = request.flags.contains(MapFlags::LOCKED);
        let lock = match process.future {
            Lock::No if asks => Lock::Full,
            future => future,
        };
        if asks && process.locked_max == 0 && !self.is_exempt() {
            return Err(Errno::EPERM);
        }
        if lock != Lock::No && !self.may_lock(process, pages) {
            return Err(Errno::EAGAIN);
        }
        Ok(lock)
    }

    /// Takes what is there away, if that may be, and if the limits let the new come.
    pub(super) fn replace(
        &mut self,
        process: ProcessId,
        range: Pages,
        traits: Traits,
    ) -> Result<(), Errno> {
        let here = self.process_mut(process);
        let there: Vec<Traits> = here.pages.range(range.clone()).map(|(_, p)| p.traits).collect();
        if there.iter().any(|traits| traits.is_sealed()) {
            self.rebirth(process, range);
            return Err(Errno::EPERM);
        }
        // What goes is taken off what comes, whatever kind it is.
        let added = range.end - range.start - there.len() as u64;
        if !here.may_add(traits, added) {
            // Areas have been cut at both ends already, and stay so.
            self.rebirth(process, range);
            return Err(Errno::ENOMEM);
        }
        here.pages.retain(|number, _| !range.contains(number));
        Ok(())
    }

    /// Shared memory without a file gets an object of its own.
    fn with_object(&mut self, traits: Traits, pages: u64) -> Traits {
        let page = match traits.backing {
            Backing::Anonymous if traits.is_shared() => 0,
            // The new object is as long as the mapping, wherever in it that begins.
            Backing::Object { object: NEW_OBJECT, page } => page,
            _ => return traits,
        };
        let object = self.add_object(Object::new(Kind::Anonymous, pages * PAGE));
        Traits { backing: Backing::Object { object, page }, ..traits }
    }

    /// Brings pages in; in each area up to the first that can't be.
    pub(super) fn populate_quietly(&mut self, process: ProcessId, range: Pages) {
        for (run, _) in self.process(process).runs(range) {
            for number in run {
                if self.populate(process, number).is_err() {
                    break;
                }
            }
        }
    }
}

fn pages_of(request: Request) -> Result<u64, Errno> {
    if request.flags.contains(MapFlags::HUGETLB) {
        // The pool of huge pages is empty here.
        let crooked = !request.addr.bytes.is_multiple_of(HUGE_PAGE);
        let fixed = request.flags.contains(MapFlags::FIXED);
        return Err(if fixed && crooked { Errno::EINVAL } else { Errno::ENOMEM });
    }
    if request.len == 0 {
        return Err(Errno::EINVAL);
    }
    let pages = round_up(request.len) / PAGE;
    if pages == 0 {
        return Err(Errno::ENOMEM);
    }
    match (request.offset / PAGE).checked_add(pages) {
        Some(_) => Ok(pages),
        None => Err(Errno::EOVERFLOW),
    }
}
