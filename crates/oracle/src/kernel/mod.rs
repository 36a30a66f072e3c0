//! The real kernel as a [`System`]: each process is a real child that does what it
//! is told.
//!
//! ```text
//! Kernel ── calls.rs: a call as system calls ── wire.rs ──► raw/worker.rs
//!        ── place.rs: all addresses but the window are taken
//!        ── areas.rs: /proc/PID/smaps as areas
//!        ── files.rs: the world's files, in a directory that goes with the kernel
//! ```

mod areas;
mod calls;
mod files;
mod place;
mod raw;
mod wire;

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::area::Area;
use crate::call::{Call, ProcessId};
use crate::outcome::Outcome;
use crate::system::{Person, Store, System, World, is_root};
use files::Files;
use raw::spawn::Worker;
use wire::{REPLY_WORDS, Reply, Request};

/// Processes that may be there at one time: their numbers are 0 up to this.
pub const PROCESSES_MAX: u8 = 8;

/// The oldest kernel that the model speaks for.
pub const RELEASE_MIN: (u32, u32) = (6, 18);

/// Why the model can't be compared with this kernel in this world, if it can't.
pub fn why_not(world: &World) -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if release < RELEASE_MIN {
        return Some(format!("the model speaks for Linux 6.18 and later, not for {}", text.trim()));
    }
    match (world.store, files::file_system(&std::env::temp_dir())) {
        (Store::Disk, Some(name)) if name != "ext4" => {
            Some(format!("the model speaks for ext4, and temporary files are on {name}"))
        }
        _ if world.person == Person::Root && !is_root() => Some("it takes root".to_owned()),
        _ => None,
    }
}

/// A worker that has not answered for so long will not.
const PATIENCE: Duration = Duration::from_secs(60);

/// The real kernel, and some processes on it.
#[derive(Debug)]
pub struct Kernel {
    world: World,
    /// Declared before the workers: they see their channels close, and are ended.
    channels: Vec<UnixStream>,
    workers: BTreeMap<ProcessId, Worker>,
    files: Files,
    baseline: place::Baseline,
}

impl Kernel {
    /// A kernel with one process, in this world.
    ///
    /// # Errors
    /// Whatever keeps a process or a file from being made; where the break could
    /// not be moved into the window, that (it takes root).
    pub fn new(world: World) -> io::Result<Kernel> {
        let files = Files::new(&world)?;
        let pairs: Vec<_> =
            (0..PROCESSES_MAX).map(|_| UnixStream::pair()).collect::<io::Result<_>>()?;
        let (channels, theirs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        for channel in &channels {
            channel.set_read_timeout(Some(PATIENCE))?;
        }
        let first = Worker::first(&theirs)?;
        let workers = BTreeMap::from([(ProcessId(0), first)]);
        let mut kernel =
            Kernel { world, channels, workers, files, baseline: place::Baseline::default() };
        kernel.baseline = place::prepare(&mut kernel)?;
        Ok(kernel)
    }

    /// A system call of a worker: its value, or an error number negated.
    fn syscall(&mut self, process: ProcessId, request: &Request) -> (i64, Vec<u8>) {
        match self.ask(process, request) {
            Reply::Value(value, bytes) => (value, bytes),
            Reply::Signal(..) => unreachable!("a system call ends with a value"),
        }
    }

    fn ask(&mut self, process: ProcessId, request: &Request) -> Reply {
        let channel = &mut self.channels[usize::from(process.0)];
        let talked = channel.write_all(&request.encode()).and_then(|()| receive(channel));
        talked.unwrap_or_else(|error| {
            panic!("worker {process:?} does not answer ({error}): {request:x?}")
        })
    }

    /// The numbers of the processes in `/proc`.
    pub fn numbers(&self) -> Vec<u32> {
        self.workers.values().map(Worker::id).collect()
    }

    fn number(&self, process: ProcessId) -> u32 {
        self.workers[&process].id()
    }
}

fn receive(channel: &mut UnixStream) -> io::Result<Reply> {
    let mut words = [0; 8 * REPLY_WORDS];
    channel.read_exact(&mut words)?;
    let word = |i: usize| u64::from_ne_bytes(words[8 * i..8 * i + 8].try_into().unwrap());
    if word(0) == 1 {
        return Ok(Reply::Signal(word(1) as i32, word(2) as i32, word(3)));
    }
    let mut bytes = vec![0; word(4) as usize];
    channel.read_exact(&mut bytes)?;
    Ok(Reply::Value(word(1) as i64, bytes))
}

impl System for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn call(&mut self, process: ProcessId, call: &Call) -> Outcome {
        match self.workers.contains_key(&process) {
            true => calls::carry_out(self, process, call),
            false => Outcome::NoProcess,
        }
    }

    fn areas(&mut self, process: ProcessId) -> Vec<Area> {
        match self.workers.contains_key(&process) {
            true => areas::of(self, process),
            false => Vec::new(),
        }
    }

    fn seams(&mut self, process: ProcessId) -> Vec<u64> {
        match self.workers.contains_key(&process) {
            true => areas::seams(self, process),
            false => Vec::new(),
        }
    }
}
