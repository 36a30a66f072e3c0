//! A forked child that goes on in this program, and what the two say to each other.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};

use crate::Errno;

/// A side's way to the other one: bytes, as many at a time as were said.
#[derive(Debug)]
pub struct Talk {
    to: PipeWriter,
    from: PipeReader,
}

impl Talk {
    /// Says something.
    pub fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(&(bytes.len() as u64).to_ne_bytes())?;
        self.to.write_all(bytes)
    }

    /// Waits for what the other side says; an error where it has ended.
    pub fn hear(&mut self) -> io::Result<Vec<u8>> {
        let mut len = [0; 8];
        self.from.read_exact(&mut len)?;
        let mut bytes = vec![0; u64::from_ne_bytes(len) as usize];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// A forked child. One that nobody has waited for is killed when this is dropped.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    ended: bool,
    talk: Talk,
}

impl Child {
    /// Forks; the child does `body` and ends, with status 0 where that is `Ok`.
    ///
    /// The child has all memory of this process, and of its threads only this one: what
    /// others were at stays half done. A lock that one of them holds is held for ever; the
    /// C library's own allocator is not. It ends without flushing or dropping anything of
    /// its parent's, and by an alarm after a minute.
    pub fn fork(body: impl FnOnce(&mut Talk) -> io::Result<()>) -> io::Result<Child> {
        let (from_child, to_parent) = io::pipe()?;
        let (from_parent, to_child) = io::pipe()?;
        // SAFETY: 1. the child has one thread, so no memory changes under it; 2. what other
        // threads were changing is behind locks or atomics, whose users then wait or see
        // them as they were left, as after any interruption; 3. libc's allocator is made
        // ready for the child by fork(3) itself; 4. the child never returns from here.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop((from_child, to_child));
                // SAFETY: a plain call; the default action ends the child.
                unsafe { libc::alarm(60) };
                let mut talk = Talk { to: to_parent, from: from_parent };
                let result = catch_unwind(AssertUnwindSafe(|| body(&mut talk)));
                let status = i32::from(!matches!(result, Ok(Ok(()))));
                // SAFETY: ends this process, and no code of it runs any more.
                unsafe { libc::_exit(status) }
            }
            pid => {
                let pid = Pid::from_raw(pid).expect("fork answers with the child's number");
                Ok(Child { pid, ended: false, talk: Talk { to: to_child, from: from_child } })
            }
        }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// The way to it.
    pub fn talk(&mut self) -> &mut Talk {
        &mut self.talk
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// Where it was not a good one: the status or the signal is in the text.
    pub fn end(mut self) -> io::Result<()> {
        let status = self.wait()?;
        if status.exit_status() == Some(0) {
            return Ok(());
        }
        let (exit, signal) = (status.exit_status(), status.terminating_signal());
        Err(io::Error::other(format!("the child ended: status {exit:?}, signal {signal:?}")))
    }

    fn wait(&mut self) -> io::Result<WaitStatus> {
        loop {
            match waitpid(Some(self.pid), WaitOptions::empty()) {
                Err(Errno::INTR) | Ok(None) => {}
                Err(errno) => return Err(errno.into()),
                Ok(Some((_, status))) => {
                    self.ended = true;
                    return Ok(status);
                }
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.ended {
            // It is ours and has not been waited for, so the number is still its.
            let _ = kill_process(self.pid, Signal::KILL);
            let _ = self.wait();
        }
    }
}
