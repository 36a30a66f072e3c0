//! Kernel and model side by side, and what they differ in.

use std::fmt;
use std::io;

use crate::area::Area;
use crate::call::{Addr, Call, PAGE, ProcessId};
use crate::kernel::Kernel;
use crate::model::Model;
use crate::outcome::Outcome;
use crate::system::{System, World};

/// Kernel and model, told the same.
#[derive(Debug)]
pub struct Pair {
    kernel: Kernel,
    model: Model,
}

/// What they differ in.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Who.
    pub process: ProcessId,
    /// The call, or a look at memory that followed it.
    pub what: String,
    /// What the kernel answered.
    pub kernel: String,
    /// What the model allows.
    pub model: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { process, what, kernel, model } = self;
        write!(f, "{process:?} {what}\n  kernel: {kernel}\n  model:  {model}")
    }
}

impl Pair {
    /// Both, in this world.
    ///
    /// # Errors
    /// As [`Kernel::new`].
    pub fn new(world: World) -> io::Result<Pair> {
        Ok(Pair { kernel: Kernel::new(world)?, model: Model::new(world) })
    }

    /// The model's areas, for whoever looks for something to do.
    pub fn areas(&mut self, process: ProcessId) -> Vec<Area> {
        self.model.areas(process)
    }

    /// Both do the same; what the kernel answered, if the model allows it.
    ///
    /// # Errors
    /// What they differ in.
    pub fn call(&mut self, process: ProcessId, call: &Call) -> Result<Outcome, Box<Difference>> {
        let allowed = self.model.answer(process, call);
        let seen = self.kernel.call(process, call);
        if !allowed.allows(&seen) {
            return Err(Box::new(Difference {
                process,
                what: format!("{call:x?}"),
                kernel: format!("{seen:?}"),
                model: format!("{allowed:?}"),
            }));
        }
        self.model.settle(&seen);
        Ok(seen)
    }

    /// Compares the areas of a process.
    ///
    /// # Errors
    /// What they differ in.
    pub fn compare_areas(&mut self, process: ProcessId) -> Result<(), Box<Difference>> {
        let (kernel, model) = (self.kernel.areas(process), self.model.areas(process));
        if kernel == model {
            return Ok(());
        }
        let without = |these: &[Area], those: &[Area]| {
            let only = these.iter().filter(|area| !those.contains(area));
            only.map(|area| format!("\n    {area:?}")).collect::<String>()
        };
        Err(Box::new(Difference {
            process,
            what: "has other areas".to_owned(),
            kernel: without(&kernel, &model),
            model: without(&model, &kernel),
        }))
    }

    /// Compares every byte that a process can read, and what it can't.
    ///
    /// # Errors
    /// What they differ in.
    pub fn compare_bytes(&mut self, process: ProcessId) -> Result<(), Box<Difference>> {
        for area in self.model.areas(process) {
            for addr in (area.start..area.end).step_by(PAGE as usize) {
                self.call(process, &Call::Load { addr: Addr::at(addr), len: PAGE })?;
            }
        }
        Ok(())
    }
}
