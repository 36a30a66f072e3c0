//! How long a process may make files (`RLIMIT_FSIZE`): memory without a file has a length, too.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process was limited to before it was allowed more.
#[derive(Clone, Copy, Debug)]
pub struct FileLimit {
    limit: Rlimit,
    /// What SIGXFSZ did.
    on_signal: libc::sighandler_t,
}

impl FileLimit {
    /// From now on this process may make files as long as it can be allowed to, and where that
    /// is not long enough, calls fail (EFBIG) without a signal.
    pub fn lift() -> FileLimit {
        let limit = getrlimit(Resource::Fsize);
        let none = Rlimit { current: None, maximum: None };
        if setrlimit(Resource::Fsize, none).is_err() {
            let _ = setrlimit(Resource::Fsize, Rlimit { current: limit.maximum, ..limit });
        }
        // SAFETY: 1. to ignore a signal needs no code that it could interrupt.
        let on_signal = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        FileLimit { limit, on_signal }
    }

    /// The program that `command` starts is limited as this process was.
    pub fn hand_on(self, command: &mut Command) {
        let restore = move || {
            setrlimit(Resource::Fsize, self.limit)?;
            // SAFETY: 1. as the process had it that is being copied.
            unsafe { libc::signal(libc::SIGXFSZ, self.on_signal) };
            Ok(())
        };
        // SAFETY: 1. both are single system calls, which a child of several threads may make.
        unsafe { command.pre_exec(restore) };
    }
}
