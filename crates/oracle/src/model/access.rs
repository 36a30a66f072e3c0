//! What happens when a page is touched: by the process, by a system call for it, or
//! because it is to be there beforehand.
//!
//! ```text
//! touch ─► reach ─► permit: may the area's pages be touched so?
//!                └► bring:  guard? beyond the end? a copy of its own? ─► there
//! ```

use crate::call::{Addr, PAGE, ProcessId};
use crate::flags::Prot;
use crate::outcome::Outcome;

use super::Model;
use super::allowed::{Allowed, Residency};
use super::bytes::Loose;
use super::object::pieces;
use super::page::{Backing, Lock, Page, Traits};
use super::place::{self, GAP_PAGES, STACK_PAGES_MAX, TASK_END};

/// What is done to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    Fetch,
}

/// Why it can't be done: the signal that a program gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// SIGSEGV with this code.
    Segv(i32),
    /// SIGBUS: beyond the end of the object.
    Bus,
}

const MAPERR: Trouble = Trouble::Segv(1);
const ACCERR: Trouble = Trouble::Segv(2);
const PKUERR: Trouble = Trouble::Segv(4);

impl Trouble {
    fn at(self, addr: u64) -> Outcome {
        match self {
            Trouble::Segv(code) => Outcome::segv(code, Addr::at(addr)),
            Trouble::Bus => Outcome::bus(Addr::at(addr)),
        }
    }
}

impl Model {
    /// A page as the process, or a system call on its behalf, touches it.
    pub(super) fn reach(
        &mut self,
        process: ProcessId,
        number: u64,
        access: Access,
    ) -> Result<(), Trouble> {
        if !place::is_inside(&self.world, number, 1) && number > 0 && number < TASK_END / PAGE {
            // The harness has taken it, with no rights.
            return Err(ACCERR);
        }
        if self.process(process).traits(number).is_none() {
            self.grow_down(process, number)?;
        }
        let traits = self.process(process).traits(number).ok_or(MAPERR)?;
        permit(traits, access, self.exec_only)?;
        self.bring(process, number, access)
    }

    /// A page, whatever the rights of its area.
    pub(super) fn bring(
        &mut self,
        process: ProcessId,
        number: u64,
        access: Access,
    ) -> Result<(), Trouble> {
        let processes = &mut self.processes;
        let page = processes.get_mut(&process).and_then(|process| process.pages.get_mut(&number));
        let page = page.ok_or(MAPERR)?;
        if page.guard {
            return Err(MAPERR);
        }
        if page.own.is_some() {
            return Ok(());
        }
        let there = match page.traits.backing {
            Backing::Anonymous | Backing::ZeroDevice => {
                page.touched = Residency::In;
                Loose::page()
            }
            Backing::Object { object, page: index } => {
                let object = self.objects.get_mut(&object).expect("mapped objects stay");
                if !object.has(index) {
                    return Err(Trouble::Bus);
                }
                object.page(index).clone()
            }
        };
        if access == Access::Write && !page.traits.is_shared() {
            page.own = Some(there);
        }
        Ok(())
    }

    /// An area that grows down takes the pages from here up to its start.
    fn grow_down(&mut self, id: ProcessId, number: u64) -> Result<(), Trouble> {
        let is_exempt = self.is_exempt();
        let process = self.process_mut(id);
        let (&start, above) = process.pages.range(number..).next().ok_or(MAPERR)?;
        let traits = above.traits;
        if !traits.grows_down() {
            return Err(MAPERR);
        }
        let runs = process.runs(start..start + STACK_PAGES_MAX);
        let end = runs.first().map_or(start, |(run, _)| run.end);
        let below = process.pages.range(..number).next_back();
        let is_close = below.is_some_and(|(below, page)| {
            let accessible = !page.traits.prot.is_empty();
            accessible && !page.traits.grows_down() && number - (below + 1) < GAP_PAGES
        });
        let pages = start - number;
        let over = traits.lock != Lock::No
            && !is_exempt
            && (process.locked() + pages) * PAGE > process.locked_max;
        if is_close || over || end - number > STACK_PAGES_MAX || !process.may_add(traits, pages) {
            return Err(MAPERR);
        }
        for number in number..start {
            process.pages.insert(number, Page::new(traits));
        }
        // It may touch a part of itself from which it was cut off, and isn't joined again.
        self.rebirth(id, number..end);
        Ok(())
    }

    /// A page is brought in beforehand, as mlock(2) and MAP_POPULATE do: written if
    /// that makes a copy that a store would need.
    pub(super) fn populate(&mut self, process: ProcessId, number: u64) -> Result<(), Trouble> {
        let traits = self.process(process).traits(number).ok_or(MAPERR)?;
        if traits.lock == Lock::OnFault {
            return Ok(());
        }
        // The kernel asks as for a load.
        permit(traits, Access::Read, self.exec_only)?;
        let copies = traits.prot.contains(Prot::WRITE) && !traits.is_shared();
        self.bring(process, number, if copies { Access::Write } else { Access::Read })
    }

    /// Bytes of the process's memory, up to the first that can't be reached.
    pub(super) fn fetch_bytes(
        &mut self,
        process: ProcessId,
        addr: u64,
        len: u64,
    ) -> (Loose, Option<Trouble>) {
        let mut bytes = Loose::default();
        for (number, from, len) in pieces(addr, addr.saturating_add(len)) {
            if let Err(trouble) = self.reach(process, number, Access::Read) {
                return (bytes, Some(trouble));
            }
            bytes.push(&self.peek(process, number).part(from, len));
        }
        (bytes, None)
    }

    /// What a page that is there holds.
    pub(super) fn peek(&self, process: ProcessId, number: u64) -> Loose {
        let page = &self.process(process).pages[&number];
        match (&page.own, page.traits.backing) {
            (Some(own), _) => own.clone(),
            (None, Backing::Object { object, page }) => {
                self.objects[&object].pages.get(&page).cloned().unwrap_or_else(Loose::page)
            }
            (None, _) => Loose::page(),
        }
    }

    /// Puts bytes into the process's memory, up to the first that can't be reached;
    /// says how many.
    pub(super) fn put_bytes(
        &mut self,
        process: ProcessId,
        addr: u64,
        bytes: &Loose,
    ) -> (u64, Option<Trouble>) {
        let mut done = 0;
        for (number, from, len) in pieces(addr, addr.saturating_add(bytes.len())) {
            if let Err(trouble) = self.reach(process, number, Access::Write) {
                return (done, Some(trouble));
            }
            let part = bytes.part(done, len);
            let processes = &mut self.processes;
            let page = processes.get_mut(&process).and_then(|p| p.pages.get_mut(&number));
            match page.map(|page| (&mut page.own, page.traits.backing)) {
                Some((Some(own), _)) => own.write(from, &part),
                Some((None, Backing::Object { object, page })) => {
                    self.objects.get_mut(&object).expect("it was reached").store(page, from, &part);
                }
                _ => unreachable!("a page that was reached for a write has its own bytes"),
            }
            done += len;
        }
        (done, None)
    }

    pub(super) fn load(&mut self, process: ProcessId, addr: Addr, len: u64) -> Allowed {
        match self.fetch_bytes(process, addr.bytes, len) {
            (bytes, None) => Allowed::Bytes(bytes),
            (bytes, Some(trouble)) => Allowed::Only(trouble.at(addr.bytes + bytes.len())),
        }
    }

    pub(super) fn store(&mut self, process: ProcessId, addr: Addr, bytes: Vec<u8>) -> Allowed {
        match self.put_bytes(process, addr.bytes, &Loose::exactly(bytes)) {
            (_, None) => Allowed::DONE,
            (done, Some(trouble)) => Allowed::Only(trouble.at(addr.bytes + done)),
        }
    }

    pub(super) fn fetch(&mut self, process: ProcessId, addr: Addr) -> Allowed {
        match self.reach(process, addr.bytes / PAGE, Access::Fetch) {
            Ok(()) => Allowed::DONE,
            Err(trouble) => Allowed::Only(trouble.at(addr.bytes)),
        }
    }
}

/// May pages with these traits be touched so? On x86 who may write may read, and with
/// protection keys who may only execute may not read.
pub fn permit(traits: Traits, access: Access, exec_only: ExecOnly) -> Result<(), Trouble> {
    let prot = traits.prot;
    let hidden = prot == Prot::EXEC && exec_only == ExecOnly::Kept;
    match access {
        Access::Fetch if prot.contains(Prot::EXEC) => Ok(()),
        Access::Read | Access::Write if hidden => Err(PKUERR),
        Access::Read if !prot.is_empty() => Ok(()),
        Access::Write if prot.contains(Prot::WRITE) => Ok(()),
        _ => Err(ACCERR),
    }
}

/// Can this machine keep loads from what may only be executed?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecOnly {
    /// By protection keys.
    Kept,
    /// Whoever may execute may read.
    Readable,
}

impl ExecOnly {
    /// Of the machine that this runs on.
    pub fn of_this_machine() -> ExecOnly {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        match text.split_ascii_whitespace().any(|word| word == "ospke") {
            true => ExecOnly::Kept,
            false => ExecOnly::Readable,
        }
    }
}
