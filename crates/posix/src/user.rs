//! What programs do to memory, page by page, and what system calls do to it for them.
//!
//! An access goes as far as the first byte that can't be reached. Of a program that is a
//! signal; of a system call it is fewer bytes than asked, or EFAULT.

use faultless_addr::{Access, ObjectId, PageIndex, Prot, SpaceId, VirtAddr, VirtRange};
use faultless_engine::Signal as Refused;
use faultless_engine::space::{Sharing, Vma};
use faultless_software::PageFault;

use crate::cache::CPU;
use crate::config::ExecOnly;
use crate::errno::Errno;
use crate::file::pieces;
use crate::flags::TASK_END;
use crate::process::Pid;
use crate::system::System;

/// Why a byte can't be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// SIGSEGV, `SEGV_MAPERR`: no area is there, or a guard.
    MapErr,
    /// SIGSEGV, `SEGV_ACCERR`: the area doesn't allow it.
    AccErr,
    /// SIGSEGV, `SEGV_PKUERR`: a protection key doesn't.
    PkuErr,
    /// SIGBUS, `BUS_ADRERR`: it is beyond the end of the object.
    Bus,
    /// SIGKILL: no frame can be had. Every other page is locked, or dirty with swap full.
    /// Linux chooses whom to kill; here it is whoever needs the frame.
    NoMemory,
}

impl Trouble {
    /// What a system call answers that can't reach a byte for this reason.
    pub(crate) fn errno(self) -> Errno {
        match self {
            Trouble::NoMemory => Errno::ENOMEM,
            Trouble::MapErr | Trouble::AccErr | Trouble::PkuErr | Trouble::Bus => Errno::EFAULT,
        }
    }
}

impl From<Refused> for Trouble {
    fn from(signal: Refused) -> Trouble {
        match signal {
            Refused::SegvMapErr => Trouble::MapErr,
            Refused::SegvAccErr => Trouble::AccErr,
            Refused::Bus => Trouble::Bus,
        }
    }
}

/// A signal that ends an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Which, and why.
    pub trouble: Trouble,
    /// The first byte that could not be reached.
    pub addr: u64,
}

impl System {
    /// A program's load.
    pub fn load(&mut self, pid: Pid, addr: u64, into: &mut [u8]) -> Result<(), Signal> {
        self.copy_in(pid, addr, into).1.map_or(Ok(()), Err)
    }

    /// A program's store.
    pub fn store(&mut self, pid: Pid, addr: u64, from: &[u8]) -> Result<(), Signal> {
        self.copy_out(pid, addr, from).1.map_or(Ok(()), Err)
    }

    /// A program's call of the instruction there.
    pub fn fetch(&mut self, pid: Pid, addr: u64) -> Result<(), Signal> {
        let fetch = |system: &System, space, at, _| system.machine.fetch(CPU, space, at, &mut [0]);
        self.each_page(pid, addr, 1, Access::Execute, fetch).1.map_or(Ok(()), Err)
    }

    /// Bytes of a program's memory, up to the first that can't be reached; says how many.
    pub(crate) fn copy_in(
        &mut self,
        pid: Pid,
        addr: u64,
        into: &mut [u8],
    ) -> (usize, Option<Signal>) {
        let len = into.len() as u64;
        self.each_page(pid, addr, len, Access::Read, |system, space, at, piece| {
            system.machine.load(CPU, space, at, &mut into[piece])
        })
    }

    /// Puts bytes into a program's memory, up to the first that can't be reached; says
    /// how many.
    pub(crate) fn copy_out(&mut self, pid: Pid, addr: u64, from: &[u8]) -> (usize, Option<Signal>) {
        let len = from.len() as u64;
        self.each_page(pid, addr, len, Access::Write, |system, space, at, piece| {
            system.machine.store(CPU, space, at, &from[piece])
        })
    }

    fn each_page(
        &mut self,
        pid: Pid,
        addr: u64,
        len: u64,
        access: Access,
        mut act: impl FnMut(&System, SpaceId, VirtAddr, std::ops::Range<usize>) -> Result<(), PageFault>,
    ) -> (usize, Option<Signal>) {
        let (space, mut done) = (pid.space(), 0);
        for (_, piece) in pieces(addr, addr.saturating_add(len)) {
            let at = VirtAddr(addr + done as u64);
            let piece = done..done + piece.len();
            let touched = self.object_page(space, at);
            let reached = loop {
                if let Err(trouble) = self.permit(space, at, access) {
                    break Err(trouble);
                }
                match act(self, space, at, piece.clone()) {
                    Ok(()) => break Ok(()),
                    Err(fault) => match self.serve(space, fault.addr, access) {
                        Ok(()) => {}
                        Err(trouble) => break Err(trouble),
                    },
                }
            };
            if let Err(trouble) = reached {
                return (done, Some(Signal { trouble, addr: at.0 }));
            }
            self.note_touch(touched);
            done = piece.end;
        }
        (done, None)
    }

    /// What page tables here don't say: what protection keys keep from being read.
    fn permit(&self, space: SpaceId, at: VirtAddr, access: Access) -> Result<(), Trouble> {
        let Some(area) = self.engine.space(space).find(at) else { return Ok(()) };
        let hidden = area.prot == Prot::EXEC && self.config.exec_only == ExecOnly::Kept;
        match access {
            Access::Read | Access::Write if hidden => Err(Trouble::PkuErr),
            _ => Ok(()),
        }
    }

    /// The page of an object that is meant at an address, unless a private copy is.
    fn object_page(&self, space: SpaceId, at: VirtAddr) -> Option<(ObjectId, PageIndex)> {
        let area = self.engine.space(space).find(at)?;
        let page = area.page_at(at)?;
        let own = area.sharing == Sharing::Private && self.engine.has_own_page(space, at);
        area.object().filter(|_| !own).map(|object| (object, page))
    }

    /// A page of a file in memory exists from its first touch on.
    fn note_touch(&mut self, touched: Option<(ObjectId, PageIndex)>) {
        if let Some((object, page)) = touched {
            self.file_mut(object).touched.insert(page.0);
        }
    }

    /// A page is brought in before anybody touches it.
    pub(crate) fn bring(
        &mut self,
        space: SpaceId,
        at: VirtAddr,
        access: Access,
    ) -> Result<(), Trouble> {
        let touched = self.object_page(space, at);
        self.serve(space, at, access)?;
        self.note_touch(touched);
        Ok(())
    }

    /// The pages of a piece of an area are brought in, up to the first that can't be.
    pub(crate) fn populate(&mut self, pid: Pid, piece: &Vma) -> Result<(), Trouble> {
        let readable = self.config.exec_only == ExecOnly::Readable && piece.prot == Prot::EXEC;
        let access = match piece.populate_access() {
            None if readable => Access::Read,
            access => access.ok_or(Trouble::AccErr)?,
        };
        for n in 0..piece.range.pages() {
            self.bring(pid.space(), piece.range.start.plus_pages(n), access)?;
        }
        Ok(())
    }

    /// As mmap(2) does: in each area up to the first page that can't be had.
    pub(crate) fn populate_quietly(&mut self, pid: Pid, range: VirtRange) {
        let pieces: Vec<Vma> = self.engine.space(pid.space()).to_populate(range).collect();
        for piece in pieces {
            let _ = self.populate(pid, &piece);
        }
    }
}

/// Addresses that are the kernel's own are refused before anything else.
pub fn is_user(addr: u64, len: u64) -> Result<(), Errno> {
    let end = addr.checked_add(len).filter(|end| *end <= TASK_END);
    end.map(drop).ok_or(Errno::EFAULT)
}
