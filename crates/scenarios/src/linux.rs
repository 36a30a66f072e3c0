//! [`Host`]: real memory for a scenario: a `Vm`, a directory, and the record.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use faultless::{MapOptions, MapRaw, Vm};

use crate::record::{Played, Record, Section, Writer};

/// A budget, a directory for files, and the record of what is done with them, to which
/// checks go.
pub struct Host {
    /// 1 MiB of memory, and 16 MiB of swap.
    pub vm: Vm,
    dir: tempfile::TempDir,
    writer: Writer,
}

/// The budget.
const BUDGET: u64 = 1 << 20;
/// The most that swap takes.
const SWAP: u64 = 16 << 20;

impl Deref for Host {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        &self.writer
    }
}

impl DerefMut for Host {
    fn deref_mut(&mut self) -> &mut Writer {
        &mut self.writer
    }
}

impl Host {
    pub(crate) fn play(scenario: fn(&mut Host) -> Played) -> Record {
        let host = Host::new();
        match host {
            Ok(mut host) => {
                let played = scenario(&mut host);
                host.end_step();
                host.writer.finish(played)
            }
            Err(stop) => Writer::default().finish(Err(stop)),
        }
    }

    fn new() -> Played<Host> {
        let dir = tempfile::tempdir()?;
        let vm = Vm::builder().memory(BUDGET).swap(dir.path(), SWAP).build()?;
        Ok(Host { vm, dir, writer: Writer::default() })
    }

    /// Begins a step; the one before ends, and its states are noted.
    pub fn step(&mut self, title: impl Into<String>) {
        self.end_step();
        self.writer.begin(title);
    }

    fn end_step(&mut self) {
        let states = self.states();
        self.writer.end(states);
    }

    /// A path in the scenario's directory, which goes at its end.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file for reading and writing.
    pub fn file(&self, name: &str, bytes: &[u8]) -> Played<File> {
        let mut file =
            OpenOptions::new().read(true).write(true).create_new(true).open(self.path(name))?;
        file.write_all(bytes)?;
        Ok(file)
    }

    /// A map of a whole file, for reading and writing.
    pub fn map(&self, file: &File) -> Played<MapRaw> {
        Ok(MapOptions::new().map_raw_mut(&self.vm, file)?)
    }

    fn states(&self) -> Vec<Section> {
        let stats = self.vm.stats();
        let line = |text: String| vec![text];
        vec![
            Section {
                name: "memory",
                lines: line(format!(
                    "{} of {} frames used, {} dirty, {} slots of swap",
                    stats.frames_used, stats.frames_total, stats.pages_dirty, stats.swap_slots_used
                )),
            },
            Section {
                name: "faults",
                lines: line(format!(
                    "{} major, {} minor, {} first stores, {} copies, {} of zeros",
                    stats.faults_major,
                    stats.faults_minor,
                    stats.faults_write,
                    stats.faults_copy,
                    stats.faults_zero
                )),
            },
        ]
    }
}
