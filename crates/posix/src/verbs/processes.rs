//! fork(2), the end of a process, and setrlimit(2).

use faultless_engine::space::Limits;

use crate::errno::Errno;
use crate::process::Pid;
use crate::system::System;

impl System {
    /// fork(2).
    pub fn fork(&mut self, pid: Pid) -> Result<Pid, Errno> {
        let copy = self.processes.get(&pid).ok_or(Errno::ESRCH)?.clone();
        let child = self.engine.fork(pid.space());
        while self.plan(|engine, plan| engine.fork_step(pid.space(), plan)).is_some() {}
        let child = self.add_process(child, copy);
        self.show_devices(child.space());
        Ok(child)
    }

    /// The process ends: nothing of it is left.
    pub fn exit(&mut self, pid: Pid) {
        let space = pid.space();
        self.plan(|engine, plan| engine.unmap_all(space, plan));
        self.clear(space, self.config.bounds);
        self.engine.remove_space(space);
        self.processes.remove(&pid);
        self.reap();
    }

    /// setrlimit(2): all limits on memory at once.
    pub fn set_limits(&mut self, pid: Pid, limits: Limits) {
        self.engine.set_limits(pid.space(), limits);
    }

    /// getrlimit(2).
    pub fn limits(&self, pid: Pid) -> Limits {
        *self.engine.space(pid.space()).limits()
    }
}
