//! Signals while a program runs: they are for it, and we end when it does.

use std::io;
use std::process::{Child, ExitStatus};
use std::thread;

use rustix::process::{Pid, PidfdFlags, Signal};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

/// What a terminal sends to all of its foreground processes, the program among them.
const OF_TERMINALS: [i32; 2] = [SIGINT, SIGQUIT];

/// Signals that have been caught, until the program is there to be sent them.
pub struct Caught(Signals);

/// From now on signals don't end this process.
pub fn catch() -> io::Result<Caught> {
    Ok(Caught(Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD])?))
}

impl Caught {
    /// Hands signals on to the program until it ends.
    pub fn wait(mut self, child: &mut Child) -> io::Result<ExitStatus> {
        let pidfd = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
        let handle = self.0.handle();
        let hand_on = thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in self.0.forever().filter(|signal| *signal != SIGCHLD) {
                let has_it = OF_TERMINALS.contains(&signal) && is_in_foreground();
                if let Some(signal) = Signal::from_named_raw(signal).filter(|_| !has_it) {
                    // It may have ended just now.
                    let _ = rustix::process::pidfd_send_signal(&pidfd, signal);
                }
            }
        })?;
        let status = child.wait();
        handle.close();
        let _ = hand_on.join();
        status
    }
}

/// Are we, and the program with us, who a terminal's keys are for?
fn is_in_foreground() -> bool {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else { return false };
    rustix::termios::tcgetpgrp(terminal) == Ok(rustix::process::getpgrp())
}
