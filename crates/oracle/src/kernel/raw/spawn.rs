//! Makes the first worker, and waits for every worker by its own number.

use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;

use super::worker::{self, CHANNEL_BASE};

/// A worker that is ended and waited for when it is dropped.
#[derive(Debug)]
pub struct Worker {
    id: libc::pid_t,
}

impl Worker {
    /// Forks the first worker; worker ends of the channels go to it and to all its
    /// descendants, and no other descriptor does.
    pub fn first(channels: &[UnixStream]) -> io::Result<Worker> {
        let channels: Vec<RawFd> = channels.iter().map(|channel| channel.as_raw_fd()).collect();
        // SAFETY: the child has one thread and calls nothing that locks or
        // allocates, whatever the other threads of this process were doing.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => begin(&channels),
            id => Ok(Worker { id }),
        }
    }

    /// A worker that another one has forked for us.
    pub fn adopt(id: i64) -> Worker {
        Worker { id: id as libc::pid_t }
    }

    /// Its number in `/proc`.
    pub fn id(&self) -> u32 {
        self.id as u32
    }

    /// Waits until it has ended by itself.
    pub fn wait(mut self) -> i32 {
        let status = self.reap();
        self.id = 0;
        status
    }

    fn reap(&self) -> i32 {
        let mut status = 0;
        // SAFETY: our own child that nobody else waits for; `status` is ours.
        while unsafe { libc::waitpid(self.id, &mut status, 0) } == -1
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
        status
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.id > 0 {
            // SAFETY: our own child, not waited for yet: the number is still its.
            unsafe { libc::kill(self.id, libc::SIGKILL) };
            self.reap();
        }
    }
}

/// In the child: the channels go to their places, everything else is closed.
fn begin(channels: &[RawFd]) -> ! {
    const ASIDE: i32 = 400;
    // SAFETY: descriptors of this process alone; each call is one that a child of
    // a process with threads may make.
    unsafe {
        for (index, channel) in channels.iter().enumerate() {
            libc::dup3(*channel, ASIDE + index as i32, 0);
        }
        for index in 0..channels.len() as i32 {
            libc::dup2(ASIDE + index, CHANNEL_BASE + index);
        }
        let behind = (CHANNEL_BASE as usize + channels.len()) as libc::c_uint;
        libc::syscall(libc::SYS_close_range, 3, CHANNEL_BASE - 1, 0);
        libc::syscall(libc::SYS_close_range, behind, libc::c_uint::MAX, 0);
    }
    worker::serve(0)
}
