//! A system and the model side by side, and what they differ in.

use std::fmt;

use crate::area::Area;
use crate::call::{Addr, Call, PAGE, ProcessId};
use crate::kernel::Kernel;
use crate::model::Model;
use crate::names::Names;
use crate::outcome::Outcome;
use crate::system::{System, World};

/// A system and the model, told the same.
#[derive(Debug)]
pub struct Pair<S = Kernel> {
    system: S,
    model: Model,
    /// Where either has put the regions.
    system_names: Names,
    model_names: Names,
}

/// What they differ in.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Who.
    pub process: ProcessId,
    /// The call, or a look at memory that followed it.
    pub what: String,
    /// What the system answered.
    pub system: String,
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
        let Difference { process, what, system, model } = self;
        write!(f, "{process:?} {what}\n  system: {system}\n  model:  {model}")
    }
}

impl<S: System> Pair<S> {
    /// A system that is in this world, and a model of it.
    pub fn new(system: S, world: World) -> Pair<S> {
        let (system_names, model_names) = Default::default();
        Pair { system, model: Model::new(world), system_names, model_names }
    }

    /// The model's areas, for whoever looks for something to do.
    pub fn areas(&mut self, process: ProcessId) -> Vec<Area> {
        self.model.areas(process)
    }

    /// Both do the same; what the system answered, if the model allows it.
    ///
    /// # Errors
    /// What they differ in.
    pub fn call(&mut self, process: ProcessId, call: &Call) -> Result<Outcome, Box<Difference>> {
        if self.model.asks_for_seams(process, call) {
            self.compare_seams(process)?;
        }
        let allowed = self.model.answer(process, &self.model_names.resolve(call));
        let seen = self.system.call(process, &self.system_names.resolve(call));
        self.model_names.bind(call, &allowed.first());
        self.system_names.bind(call, &seen);
        let told = self.system_names.tell(&seen);
        if allowed.allows(&seen) || self.model_names.tell(&allowed.first()) == told {
            return Ok(told);
        }
        Err(Box::new(Difference {
            process,
            what: format!("{call:?}"),
            system: format!("{seen:?}"),
            model: format!("{allowed:?}"),
        }))
    }

    /// Where Linux leaves it open whether an area ends, the model follows the system.
    fn compare_seams(&mut self, process: ProcessId) -> Result<(), Box<Difference>> {
        let starts = self.system.seams(process);
        self.model.follow_seams(process, &starts).map_err(|addr| {
            let side = |has: bool| if has { "does" } else { "does not" }.to_owned();
            Box::new(Difference {
                process,
                what: format!("an area begins at {addr:#x}"),
                system: side(starts.contains(&addr)),
                model: side(!starts.contains(&addr)),
            })
        })
    }

    /// Compares the areas of a process.
    ///
    /// # Errors
    /// What they differ in.
    pub fn compare_areas(&mut self, process: ProcessId) -> Result<(), Box<Difference>> {
        let (system, model) = (self.system.areas(process), self.model.areas(process));
        if system == model {
            return self.compare_seams(process);
        }
        let without = |these: &[Area], those: &[Area]| {
            let only = these.iter().filter(|area| !those.contains(area));
            only.map(|area| format!("\n    {area:?}")).collect::<String>()
        };
        Err(Box::new(Difference {
            process,
            what: "has other areas".to_owned(),
            system: without(&system, &model),
            model: without(&model, &system),
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
