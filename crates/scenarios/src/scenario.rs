//! [`Scenario`]: a program, or a few, that show what a text says.

use crate::linux::Host;
use crate::record::{Played, Record};
use crate::row::Row;
use crate::stage::Stage;
use faultless_posix::Pid;

/// A program, or a few, that show what a text says.
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// The claims that it shows, by their numbers (`claims.rs`).
    pub claims: &'static [&'static str],
    /// The rows of the table of the seeds that it ticks.
    pub rows: &'static [Row],
    /// The budget on the software machine.
    pub frames: u32,
    /// What happens on the software machine, from its first process on.
    pub software: fn(&mut Stage, Pid) -> Played,
    /// What happens on Linux, with real pointers, where that is so.
    pub linux: Option<fn(&mut Host) -> Played>,
}

/// On what a scenario is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// The machine in software, whose states can all be seen.
    Software,
    /// This one: real pointers.
    Linux,
}

impl Machine {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Machine::Software => "software",
            Machine::Linux => "linux",
        }
    }
}

impl Scenario {
    /// Where it can be played.
    pub fn machines(&self) -> &'static [Machine] {
        match self.linux {
            Some(_) => &[Machine::Software, Machine::Linux],
            None => &[Machine::Software],
        }
    }

    /// Plays it; `None` where it is not for this machine.
    pub fn play(&self, machine: Machine) -> Option<Record> {
        match machine {
            Machine::Software => {
                let (mut stage, first) = Stage::new(self.frames);
                let played = (self.software)(&mut stage, first);
                Some(stage.finish(played))
            }
            Machine::Linux => self.linux.map(Host::play),
        }
    }
}
