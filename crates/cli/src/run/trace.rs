//! `--trace`: a file that programs write a line to for each call, and what they count.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use faultless_measure::problem::{Problem, Result};
use faultless_protocol::{
    START_VARIABLE, TALLY_BYTES, TALLY_VARIABLE, TRACE_VARIABLE, Tallied, Tally,
};
use rustix::fs::MemfdFlags;
use rustix::time::{ClockId, clock_gettime};

/// A trace that is being written.
pub struct Trace {
    path: PathBuf,
    /// Kept open: it is made, and a pipe has somebody who writes.
    _file: File,
    /// Not on a disk, which may be full.
    tally: File,
    start_ns: u64,
}

impl Trace {
    /// Makes the file, or empties it.
    pub fn create(path: &Path) -> Result<Trace> {
        let file = File::create(path).map_err(Problem::on("create", path))?;
        let absolute = std::path::absolute(path).map_err(Problem::on("find", path))?;
        let failed = |errno: rustix::io::Errno| Problem::new(format!("no memory: {errno}"));
        let tally: OwnedFd =
            rustix::fs::memfd_create("faultless-tally", MemfdFlags::CLOEXEC).map_err(failed)?;
        rustix::fs::ftruncate(&tally, TALLY_BYTES as u64).map_err(failed)?;
        let now = clock_gettime(ClockId::Monotonic);
        let start_ns = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        Ok(Trace { path: absolute, _file: file, tally: tally.into(), start_ns })
    }

    /// Has the program write it, and all that it begins.
    pub fn tell(&self, command: &mut Command) {
        let tally = format!("/proc/{}/fd/{}", std::process::id(), self.tally.as_raw_fd());
        command.env(TRACE_VARIABLE, &self.path);
        command.env(TALLY_VARIABLE, tally);
        command.env(START_VARIABLE, self.start_ns.to_string());
    }

    /// What has been written; says so if something could not be.
    pub fn end(&self) -> Tallied {
        let mut bytes = [0; TALLY_BYTES];
        // Memory that programs share with us; whether all of it can be read is known.
        let _ = self.tally.read_exact_at(&mut bytes, 0);
        let tallied = Tally::read(&bytes);
        if tallied.lost > 0 {
            let why = std::io::Error::from_raw_os_error(tallied.errno);
            let path = self.path.display();
            eprintln!("faultless: {} lines of the trace {path} are lost: {why}", tallied.lost);
        }
        tallied
    }
}
