//! mremap(2): areas and their pages become longer, shorter, or are elsewhere.

use faultless_addr::VirtAddr;
use faultless_engine::space::RemapRequest;

use crate::errno::Errno;
use crate::process::Pid;
use crate::system::System;

impl System {
    /// mremap(2).
    pub fn mremap(&mut self, pid: Pid, request: RemapRequest) -> Result<VirtAddr, Errno> {
        let space = pid.space();
        let result = self.plan(|engine, plan| engine.remap(space, request, plan));
        self.clear(space, self.config.bounds);
        self.show_devices(space);
        self.reap();
        let remapped = result?;
        for range in remapped.populate {
            self.populate_quietly(pid, range);
        }
        Ok(remapped.start)
    }
}
