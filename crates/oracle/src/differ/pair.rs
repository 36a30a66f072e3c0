//! A system and the model side by side.

use crate::area::Area;
use crate::call::{Call, ProcessId};
use crate::kernel::Kernel;
use crate::model::{Allowed, Model};
use crate::names::Names;
use crate::outcome::Outcome;
use crate::system::{System, World};

use super::told::{Difference, Told};

/// A system and the model, told the same.
#[derive(Debug)]
pub struct Pair<S = Kernel> {
    system: S,
    pub(super) model: Model,
    /// Where either has put the regions.
    system_names: Names,
    model_names: Names,
}

impl<S: System> Pair<S> {
    /// A system that is in this world, and a model of it.
    pub fn new(system: S, world: World) -> Pair<S> {
        let (system_names, model_names) = Default::default();
        Pair { system, model: Model::new(world), system_names, model_names }
    }

    /// What the system is called.
    pub(super) fn name(&self) -> &'static str {
        self.system.name()
    }

    /// Both do the same; what the model allows, and what the system answered.
    pub(super) fn compare(
        &mut self,
        process: ProcessId,
        call: &Call,
    ) -> Result<(Allowed, Outcome), Box<Difference>> {
        if self.model.asks_for_seams(process, call) {
            self.compare_seams(process)?;
        }
        let allowed = self.model.answer(process, &self.model_names.resolve(call));
        let seen = self.system.call(process, &self.system_names.resolve(call));
        self.model_names.bind(call, &allowed.first());
        self.system_names.bind(call, &seen);
        let told = self.system_names.tell(&seen);
        if allowed.allows(&seen) || self.model_names.tell(&allowed.first()) == told {
            return Ok((allowed, told));
        }
        let sides = [format!("{seen:?}"), format!("{allowed:?}")];
        Err(self.difference(process, format!("{call:?}"), sides))
    }

    fn difference(&self, process: ProcessId, what: String, sides: [String; 2]) -> Box<Difference> {
        let [system, model] = sides;
        Box::new(Difference { process, what, sides: [(self.name(), system), ("model", model)] })
    }

    /// Where Linux leaves it open whether an area ends, the model follows the system.
    pub(super) fn compare_seams(&mut self, process: ProcessId) -> Result<(), Box<Difference>> {
        let starts = self.system.seams(process);
        self.model.follow_seams(process, &starts).map_err(|addr| {
            let side = |has: bool| if has { "does" } else { "does not" }.to_owned();
            let has = starts.contains(&addr);
            let what = format!("an area begins at {addr:#x}");
            self.difference(process, what, [side(has), side(!has)])
        })
    }
}

impl<S: System> Told for Pair<S> {
    fn areas(&mut self, process: ProcessId) -> Vec<Area> {
        self.model.areas(process)
    }

    /// The model follows the system in what is left open.
    fn can_compare(&mut self, _: ProcessId, _: &Call) -> Result<bool, Box<Difference>> {
        Ok(true)
    }

    fn call(&mut self, process: ProcessId, call: &Call) -> Result<Outcome, Box<Difference>> {
        self.compare(process, call).map(|(_, told)| told)
    }

    fn compare_areas(&mut self, process: ProcessId) -> Result<Vec<Area>, Box<Difference>> {
        let (system, model) = (self.system.areas(process), self.model.areas(process));
        if system == model {
            return self.compare_seams(process).map(|()| system);
        }
        let without = |these: &[Area], those: &[Area]| {
            let only = these.iter().filter(|area| !those.contains(area));
            only.map(|area| format!("\n    {area:?}")).collect::<String>()
        };
        let sides = [without(&system, &model), without(&model, &system)];
        Err(self.difference(process, "has other areas".to_owned(), sides))
    }
}
