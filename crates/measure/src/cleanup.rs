//! What must not be left behind: files, memory cgroups and children, undone on every
//! way out, also by Ctrl-C, SIGTERM and SIGHUP.
//!
//! Things are made and undone under one lock. Who ends the process takes it and never
//! gives it back, so nothing is made that nobody will undo.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long to wait for a killed child to be gone, and for its cgroup to be empty.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something to be undone.
pub enum Undo {
    /// Remove this file.
    File(PathBuf),
    /// Remove this directory, which the kernel makes empty.
    Cgroup(PathBuf),
    /// Kill this process.
    Child(OwnedFd),
}

/// What is to be undone, oldest first. Rank: the only lock of the tool that is held
/// across system calls; nothing else is locked under it.
static UNDO: Mutex<Vec<(u64, Undo)>> = Mutex::new(Vec::new());

/// Undoes its thing when dropped.
#[must_use]
pub struct Guard {
    id: u64,
}

/// Makes something, and what undoes it, in one step as signals see it.
pub fn make<T>(make: impl FnOnce() -> io::Result<(T, Undo)>) -> io::Result<(T, Guard)> {
    let mut undo = lock();
    let (made, how) = make()?;
    let id = undo.last().map_or(0, |(id, _)| id + 1);
    undo.push((id, how));
    Ok((made, Guard { id }))
}

/// Does something that no signal comes in between of.
pub fn uninterrupted<T>(act: impl FnOnce() -> T) -> T {
    let _undo = lock();
    act()
}

/// How to undo a child: by a descriptor, since its number could become another's.
pub fn child(child: &std::process::Child) -> io::Result<Undo> {
    let pid = Pid::from_child(child);
    Ok(Undo::Child(rustix::process::pidfd_open(pid, PidfdFlags::empty())?))
}

impl Guard {
    /// Leaves the thing as it is.
    pub fn keep(self) {
        lock().retain(|(id, _)| *id != self.id);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut undo = lock();
        if let Some(at) = undo.iter().position(|(id, _)| *id == self.id) {
            let (_, how) = undo.remove(at);
            how.run();
        }
    }
}

impl Undo {
    fn run(self) {
        let result = match &self {
            Undo::File(path) => std::fs::remove_file(path),
            Undo::Cgroup(path) => remove_cgroup(path),
            Undo::Child(pidfd) => kill(pidfd),
        };
        match (result, self) {
            (Err(error), Undo::File(path) | Undo::Cgroup(path))
                if error.kind() != io::ErrorKind::NotFound =>
            {
                eprintln!("faultless: cannot remove {}: {error}", path.display());
            }
            _ => {}
        }
    }
}

fn lock() -> MutexGuard<'static, Vec<(u64, Undo)>> {
    UNDO.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cgroup stays busy until the last of its processes is gone for good.
fn remove_cgroup(path: &Path) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match std::fs::remove_dir(path) {
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
            {
                thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

fn kill(pidfd: &OwnedFd) -> io::Result<()> {
    rustix::process::pidfd_send_signal(pidfd, Signal::KILL)?;
    let mut ended = [rustix::event::PollFd::new(pidfd, rustix::event::PollFlags::IN)];
    let timeout = rustix::event::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    rustix::event::poll(&mut ended, Some(&timeout))?;
    Ok(())
}

/// From now on, signals that end the process undo everything first. The process then
/// ends as the signal would have ended it, so that shells see what happened.
pub fn on_signals() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let mut undo = lock();
            while let Some((_, how)) = undo.pop() {
                how.run();
            }
            let _ = signal_hook::low_level::emulate_default_handler(signal);
            std::process::exit(128 + signal); // Not reached: those three end a process.
        }
    })?;
    Ok(())
}
