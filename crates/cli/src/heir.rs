//! The process that serves with errors whoever a broker has left.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use faultless_measure::problem::{Problem, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::output::Outcome;

/// Starts it; answers the broker's end of its socket. It ends by itself, after the broker and
/// the broker's clients.
pub fn start() -> Result<OwnedFd> {
    let failed = |what: &str, why: String| Problem::new(format!("cannot {what}: {why}"));
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    let (ours, its) = socketpair(AddressFamily::UNIX, kind, flags, None)
        .map_err(|errno| failed("make a socket", errno.to_string()))?;
    // Not of our group: what ends us from the keyboard is not for it.
    Command::new("/proc/self/exe")
        .arg0("faultless")
        .arg("heir")
        .process_group(0)
        .current_dir("/")
        .stdin(its)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed("start the broker's heir", error.to_string()))?;
    Ok(ours)
}

/// Is it.
pub fn run() -> Result<Outcome> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned();
    let socket = socket.map_err(|error| Problem::new(format!("no socket: {error}")))?;
    faultless_broker::allow_most_descriptors();
    faultless_broker::FileLimit::lift();
    faultless_broker::be_heir(socket);
    Ok(Outcome::Ok)
}
