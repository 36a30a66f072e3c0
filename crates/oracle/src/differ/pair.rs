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

impl Difference {
    /// The kind of call that differs.
    pub fn kind(&self) -> &str {
        self.what.split(' ').next().unwrap_or_default()
    }
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
        if self.model.asks_for_seams(process, call) {
            self.compare_seams(process)?;
        }
        let allowed = self.model.answer(process, call);
        let seen = self.kernel.call(process, call);
        if !allowed.allows(&seen) {
            return Err(Box::new(Difference {
                process,
                what: format!("{call:?}"),
                kernel: format!("{seen:?}"),
                model: format!("{allowed:?}"),
            }));
        }
        Ok(seen)
    }

    /// Where Linux leaves it open whether an area ends, the model follows the kernel.
    fn compare_seams(&mut self, process: ProcessId) -> Result<(), Box<Difference>> {
        let starts = self.kernel.seams(process);
        self.model.follow_seams(process, &starts).map_err(|addr| {
            let side = |has: bool| if has { "does" } else { "does not" }.to_owned();
            Box::new(Difference {
                process,
                what: format!("an area begins at {addr:#x}"),
                kernel: side(starts.contains(&addr)),
                model: side(!starts.contains(&addr)),
            })
        })
    }

    /// Compares the areas of a process.
    ///
    /// # Errors
    /// What they differ in.
    pub fn compare_areas(&mut self, process: ProcessId) -> Result<(), Box<Difference>> {
        let (kernel, model) = (self.kernel.areas(process), self.model.areas(process));
        if kernel == model {
            return self.compare_seams(process);
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
