//! `Told`: systems that are told the same, and compared; and what they differ in.

use std::fmt;

use crate::area::Area;
use crate::call::{Addr, Call, PAGE, ProcessId};
use crate::outcome::Outcome;

/// Two or more that are told the same.
pub trait Told {
    /// The areas as they should be, for whoever looks for something to do.
    fn areas(&mut self, process: ProcessId) -> Vec<Area>;

    /// Can the call be compared? Not where what it does hangs on something that Linux
    /// leaves open, and that they have decided differently.
    ///
    /// # Errors
    /// What they differ in already.
    fn can_compare(&mut self, process: ProcessId, call: &Call) -> Result<bool, Box<Difference>>;

    /// All do the same; what was answered.
    ///
    /// # Errors
    /// What they differ in.
    fn call(&mut self, process: ProcessId, call: &Call) -> Result<Outcome, Box<Difference>>;

    /// Compares the areas of a process, and tells them.
    ///
    /// # Errors
    /// What they differ in.
    fn compare_areas(&mut self, process: ProcessId) -> Result<Vec<Area>, Box<Difference>>;

    /// Compares every byte that a process can read, and what it can't.
    ///
    /// # Errors
    /// What they differ in.
    fn compare_bytes(&mut self, process: ProcessId) -> Result<(), Box<Difference>> {
        for area in self.areas(process) {
            for addr in (area.start..area.end).step_by(PAGE as usize) {
                self.call(process, &Call::Load { addr: Addr::at(addr), len: PAGE })?;
            }
        }
        Ok(())
    }
}

/// What two differ in.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Who did it.
    pub process: ProcessId,
    /// The call, or a look at memory that followed it.
    pub what: String,
    /// The name of either side, and what it says: the judged one first.
    pub sides: [(&'static str, String); 2],
}

impl Difference {
    /// The kind of call that differs.
    pub fn kind(&self) -> &str {
        self.what.split(' ').next().unwrap_or_default()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { process, what, sides } = self;
        write!(f, "{process:?} {what}")?;
        for (name, text) in sides {
            write!(f, "\n  {:<10} {text}", format!("{name}:"))?;
        }
        Ok(())
    }
}
