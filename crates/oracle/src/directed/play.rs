//! `Play`: a case's calls, made on kernel and model, against what the checklist says.

use std::fmt;

use crate::area::AreaFlags;
use crate::call::{Addr, Call, ProcessId};
use crate::differ::Told;
use crate::outcome::{Errno, Outcome};
use crate::system::World;

/// What a case says that a call answers.
#[derive(Clone, Debug)]
pub enum Says {
    /// Just this.
    Outcome(Outcome),
    /// One of these.
    OneOf(Vec<Outcome>),
    /// It works, whatever the answer.
    Works,
}

impl From<Outcome> for Says {
    fn from(outcome: Outcome) -> Says {
        Says::Outcome(outcome)
    }
}

impl From<Errno> for Says {
    fn from(errno: Errno) -> Says {
        Says::Outcome(errno.into())
    }
}

impl Says {
    fn allows(&self, seen: &Outcome) -> bool {
        match self {
            Says::Outcome(outcome) => outcome == seen,
            Says::OneOf(outcomes) => outcomes.contains(seen),
            Says::Works => {
                !matches!(seen, Outcome::Errno(_) | Outcome::Signal(_) | Outcome::NoProcess)
            }
        }
    }
}

/// Something that isn't as said.
#[derive(Clone, Debug)]
pub struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A case at work.
pub struct Play<'a> {
    told: &'a mut dyn Told,
    process: ProcessId,
    /// Where the system isn't as the case says.
    pub system: Vec<Wrong>,
    /// Where the model isn't as the system.
    pub model: Vec<Wrong>,
    /// Calls made.
    pub calls: usize,
    /// Where it is played.
    pub world: World,
}

impl Play<'_> {
    /// A case on a system and the model.
    pub fn on(told: &mut dyn Told, world: World) -> Play<'_> {
        let (system, model) = (Vec::new(), Vec::new());
        Play { told, process: ProcessId(0), system, model, calls: 0, world }
    }

    /// Who does what comes next.
    pub fn by(&mut self, process: u8) {
        self.process = ProcessId(process);
    }

    /// The call answers this.
    pub fn says(&mut self, call: Call, says: impl Into<Says>) {
        let says = says.into();
        self.calls += 1;
        match self.told.call(self.process, &call) {
            Ok(seen) if says.allows(&seen) => {}
            Ok(seen) => self
                .system
                .push(Wrong(format!("{call:?}\n      says {says:?}\n      does {seen:?}"))),
            Err(difference) => self.model.push(Wrong(difference.to_string())),
        }
    }

    /// The call works.
    pub fn works(&mut self, call: Call) {
        self.says(call, Says::Works);
    }

    /// The bytes there are these.
    pub fn reads(&mut self, addr: Addr, bytes: &[u8]) {
        let call = Call::Load { addr, len: bytes.len() as u64 };
        self.says(call, Outcome::Bytes(bytes.to_vec()));
    }

    /// The mapping gets this address.
    pub fn goes_to(&mut self, call: Call, addr: Addr) {
        self.says(call, Outcome::Address(addr));
    }

    /// A load there is SIGSEGV with this code.
    pub fn segv(&mut self, addr: Addr, code: i32) {
        self.says(Call::Load { addr, len: 1 }, Outcome::segv(code, addr));
    }

    /// A load there is SIGBUS.
    pub fn bus(&mut self, addr: Addr) {
        self.says(Call::Load { addr, len: 1 }, Outcome::bus(addr));
    }

    /// No area of the process has this flag.
    pub fn has_no(&mut self, flag: AreaFlags) {
        match self.told.compare_areas(self.process) {
            Ok(areas) if areas.iter().all(|area| !area.flags.intersects(flag)) => {}
            Ok(areas) => self.system.push(Wrong(format!("says no {flag:?}, has {areas:#?}"))),
            Err(difference) => self.model.push(Wrong(difference.to_string())),
        }
    }

    /// The process has so many areas, equal neighbours joined.
    pub fn has_areas(&mut self, count: usize) {
        match self.told.compare_areas(self.process) {
            Ok(areas) if areas.len() == count => {}
            Ok(areas) => self.system.push(Wrong(format!("says {count} areas, has {areas:#?}"))),
            Err(difference) => self.model.push(Wrong(difference.to_string())),
        }
    }
}
