//! brk(2), the raw call: it answers with the break, moved or not.

use faultless_addr::VirtAddr;

use crate::process::Pid;
use crate::system::System;

impl System {
    /// brk(2).
    pub fn brk(&mut self, pid: Pid, wanted: u64) -> VirtAddr {
        let space = pid.space();
        let more = self.plan(|engine, plan| engine.brk(space, VirtAddr(wanted), plan));
        self.clear(space, self.config.bounds);
        let future = self.engine.space(space).future_locks();
        if let Ok(more) = more
            && !future.is_empty()
        {
            self.populate_quietly(pid, more);
        }
        self.reap();
        self.engine.space(space).layout().expect("each process has a layout").brk
    }
}
