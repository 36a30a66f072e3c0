//! mseal(2), and F_SEAL_WRITE of fcntl(2).

use faultless_addr::VirtAddr;
use faultless_engine::space::{Sharing, VmaFlags};

use crate::errno::Errno;
use crate::file::Store;
use crate::process::{Open, Pid};
use crate::system::System;

impl System {
    /// mseal(2).
    pub fn mseal(&mut self, pid: Pid, addr: u64, len: u64, flags: u64) -> Result<(), Errno> {
        Ok(self.engine.seal(pid.space(), (VirtAddr(addr), len), flags)?)
    }

    /// F_SEAL_WRITE: from now on nobody writes to the memfd, by no means.
    pub fn seal_writes(&mut self, pid: Pid, fd: i32) -> Result<(), Errno> {
        let Open::Object(object) = self.process(pid).descriptor(fd)?.open else {
            return Err(Errno::EINVAL);
        };
        if self.file(object).store != Store::Memory {
            return Err(Errno::EINVAL);
        }
        let pids: Vec<Pid> = self.processes.keys().copied().collect();
        let is_written = pids.iter().flat_map(|pid| self.areas(*pid)).any(|area| {
            let open = !area.flags.contains(VmaFlags::NEVER_WRITE);
            area.object() == Some(object) && area.sharing == Sharing::Shared && open
        });
        if is_written {
            return Err(Errno::EBUSY);
        }
        self.file_mut(object).sealed = true;
        Ok(())
    }
}
