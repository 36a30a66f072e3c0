//! mlock(2), mlock2(2), munlock(2), mlockall(2), munlockall(2).

use faultless_addr::VirtAddr;
use faultless_engine::space::{LockAll, LockKind, Vma};

use crate::errno::Errno;
use crate::process::Pid;
use crate::system::System;

impl System {
    /// mlock2(2); without flags, mlock(2).
    pub fn mlock(&mut self, pid: Pid, addr: u64, len: u64, flags: u32) -> Result<(), Errno> {
        let kind = LockKind::from_flags(flags)?;
        let range = self.engine.lock(pid.space(), (VirtAddr(addr), len), kind)?;
        let pieces: Vec<Vma> = self.engine.space(pid.space()).to_populate(range).collect();
        for piece in pieces {
            self.populate(pid, &piece).map_err(|_| Errno::ENOMEM)?;
        }
        Ok(())
    }

    /// munlock(2).
    pub fn munlock(&mut self, pid: Pid, addr: u64, len: u64) -> Result<(), Errno> {
        Ok(self.engine.unlock(pid.space(), (VirtAddr(addr), len))?)
    }

    /// mlockall(2).
    pub fn mlockall(&mut self, pid: Pid, flags: u32) -> Result<(), Errno> {
        let range = self.engine.lock_all(pid.space(), LockAll::from_bits_retain(flags))?;
        self.populate_quietly(pid, range);
        Ok(())
    }

    /// munlockall(2).
    pub fn munlockall(&mut self, pid: Pid) {
        self.engine.unlock_all(pid.space());
    }
}
