//! munmap(2).

use faultless_addr::VirtAddr;

use crate::errno::Errno;
use crate::process::Pid;
use crate::system::System;

impl System {
    /// munmap(2).
    pub fn munmap(&mut self, pid: Pid, addr: u64, len: u64) -> Result<(), Errno> {
        let space = pid.space();
        let range = self.engine.space(space).unmap_range(VirtAddr(addr), len)?;
        self.plan(|engine, plan| engine.unmap(space, range, plan))?;
        self.clear(space, range);
        self.reap();
        Ok(())
    }
}
