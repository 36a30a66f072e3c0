//! Forking in tests: children that report by their status, and steps in turns.

#![allow(dead_code, reason = "not every test needs all of it")]

pub mod pages;

use std::io::{PipeReader, PipeWriter, Read, Write};

/// A child of this process. What isn't waited for is killed.
pub struct Child {
    pid: libc::pid_t,
    waited: bool,
    to: PipeWriter,
    from: PipeReader,
}

/// The child's side: what it says to its parent and hears from it.
pub struct Parent {
    to: PipeWriter,
    from: PipeReader,
}

impl Parent {
    /// Tells the parent that a step is done.
    pub fn tell(&mut self) {
        self.to.write_all(&[1]).unwrap();
    }

    /// Waits for the parent to say the same; ends this process if the parent has.
    pub fn wait(&mut self) {
        if self.from.read_exact(&mut [0]).is_err() {
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(98) };
        }
    }
}

/// Runs `body` in a forked child, which ends with 0 unless it panics.
pub fn fork(body: impl FnOnce(&mut Parent)) -> Child {
    let (from_child, to_parent) = std::io::pipe().unwrap();
    let (from_parent, to_child) = std::io::pipe().unwrap();
    // SAFETY: the child runs `body`, which takes memory (the C library's allocator
    // permits that after a fork), and ends without unwinding into the parent's test.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        drop((from_child, to_child));
        // SAFETY: plain calls; a SIGBUS is to leave no core, a hang no process.
        unsafe {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            libc::alarm(120);
        }
        let mut parent = Parent { to: to_parent, from: from_parent };
        let run = std::panic::AssertUnwindSafe(|| body(&mut parent));
        let result = std::panic::catch_unwind(run);
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(if result.is_ok() { 0 } else { 99 }) };
    }
    Child { pid, waited: false, to: to_child, from: from_child }
}

impl Child {
    /// Tells the child that a step is done.
    pub fn tell(&mut self) {
        self.to.write_all(&[1]).unwrap();
    }

    /// Waits for the child to say the same.
    #[track_caller]
    pub fn wait(&mut self) {
        if self.from.read_exact(&mut [0]).is_err() {
            panic!("the child has ended: {:#x}", self.status());
        }
    }

    /// Its status once it has ended.
    pub fn status(&mut self) -> i32 {
        let mut status = 0;
        // SAFETY: a live integer; the child is ours and has not been waited for.
        assert_eq!(unsafe { libc::waitpid(self.pid, &mut status, 0) }, self.pid);
        self.waited = true;
        status
    }

    /// Waits for its end, which must be a good one.
    #[track_caller]
    pub fn end(mut self) {
        assert_eq!(self.status(), 0, "the child's status");
    }

    /// Ends it by force.
    pub fn kill(self) {}

    /// The signal that ends it.
    pub fn signal(mut self) -> Option<i32> {
        let status = self.status();
        libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.waited {
            // SAFETY: the child is ours and has not been waited for, so it is this one.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
            self.status();
        }
    }
}
