//! mprotect(2): area by area, up to the first that can't be.

use faultless_addr::{Prot, VirtAddr};
use faultless_engine::space::{AddressSpace, Sharing, Vma, VmaFlags};

use crate::errno::Errno;
use crate::process::Pid;
use crate::system::System;

/// READ, WRITE, EXEC, and one for semaphores on other machines, which is ignored.
const RIGHTS: u32 = 7 | 8;
const GROWSDOWN: u32 = 0x0100_0000;
const GROWSUP: u32 = 0x0200_0000;

impl System {
    /// mprotect(2).
    pub fn mprotect(&mut self, pid: Pid, addr: u64, len: u64, prot: u32) -> Result<(), Errno> {
        let (space, start) = (pid.space(), VirtAddr(addr));
        if prot & GROWSDOWN != 0 && prot & GROWSUP != 0 || !start.is_page_aligned() {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(());
        }
        let mut range = AddressSpace::protect_range(start, len)?;
        if prot & !(RIGHTS | GROWSDOWN | GROWSUP) != 0 {
            return Err(Errno::EINVAL);
        }
        if prot & GROWSUP != 0 && self.engine.space(space).find(start).is_some() {
            return Err(Errno::EINVAL);
        }
        if prot & GROWSDOWN != 0 {
            range = self.engine.space(space).protect_range_growing(range)?;
        }
        let prot = Prot::from_bits_truncate(prot as u8);
        let areas = self.engine.space(space).overlapping(range);
        let pieces = areas.map(|area| area.part(area.range.intersect(range)));
        let to_copy: Vec<Vma> = pieces.filter(|piece| wants_copies(piece, prot)).collect();
        let result = self.plan(|engine, plan| engine.protect(space, range, prot, plan));
        self.clear(space, range);
        self.set_fetches(space, range);
        self.show_devices(space);
        for piece in to_copy {
            let changed = self.engine.space(space).find(piece.range.start);
            if changed.is_some_and(|area| area.prot == prot) {
                let _ = self.populate(pid, &Vma { prot, ..piece });
            }
        }
        Ok(result?)
    }
}

/// What is locked and private has its copies as soon as it may be written.
fn wants_copies(piece: &Vma, prot: Prot) -> bool {
    let locked = piece.flags & VmaFlags::LOCKS == VmaFlags::LOCKED;
    let becomes = prot.contains(Prot::WRITE) && !piece.prot.contains(Prot::WRITE);
    locked && piece.sharing == Sharing::Private && becomes
}
