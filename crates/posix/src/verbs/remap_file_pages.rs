//! remap_file_pages(2).

use faultless_addr::{PageIndex, VirtAddr};

use crate::errno::Errno;
use crate::flags::MapFlags;
use crate::process::Pid;
use crate::system::System;

impl System {
    /// remap_file_pages(2).
    pub fn remap_file_pages(
        &mut self,
        pid: Pid,
        range: (u64, u64),
        prot: u32,
        page: u64,
        flags: MapFlags,
    ) -> Result<(), Errno> {
        let (space, range) = (pid.space(), (VirtAddr(range.0), range.1));
        let result = self.plan(|engine, plan| {
            engine.remap_file_pages(space, range, prot, PageIndex(page), plan)
        });
        self.clear(space, self.config.bounds);
        let range = result?;
        let locked = self.engine.space(space).find(range.start).is_some_and(|it| it.is_locked());
        if locked || !flags.contains(MapFlags::NONBLOCK) {
            self.populate_quietly(pid, range);
        }
        Ok(())
    }
}
