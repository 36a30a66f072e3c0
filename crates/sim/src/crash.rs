//! The machine crashes, and begins anew with what the files hold: of what was written
//! since they were made durable, some sectors and not others.

use std::collections::BTreeMap;

use faultless_addr::{ObjectId, PAGE_SIZE, PageIndex, SpaceId};
use faultless_engine::Engine;
use faultless_software::SoftwareMachine;

use crate::model::Model;
use crate::tasks::Task;
use crate::world::World;

impl World {
    /// All that is in memory is gone, and so are the processes. What was promised is there.
    pub(crate) fn crash(&mut self) {
        self.tally.note("verb: crash");
        self.tally.add_stats(&self.engine.stats());
        for task in std::mem::take(&mut self.tasks) {
            self.tear_if_written(task);
        }
        let before = std::mem::take(&mut self.model).objects;
        for object in self.files.clone() {
            let backing = self.backings.get_mut(&object.0).expect("it has a backing");
            backing.crash(&mut self.rng);
            self.check_promise(object, &before[&object.0]);
        }
        self.boot();
    }

    /// Of a write that is under way, any part gets there.
    fn tear_if_written(&mut self, task: Task) {
        let Task::WriteEnds(run, _, bytes) = task else { return };
        let backing = self.backings.get_mut(&run.object.0).expect("it has a backing");
        for (n, bytes) in bytes.iter().enumerate() {
            backing.tear(run.first.plus(n as u64), bytes, &mut self.rng);
        }
    }

    /// A page that nobody has stored to since a flush ended is as it was then.
    fn check_promise(&self, object: ObjectId, before: &[u8]) {
        let now = &self.backings[&object.0].bytes;
        let promised = &self.promised[&object.0];
        assert_eq!(now.len(), before.len(), "{object:?}: another length");
        for (n, promised) in promised.chunks(PAGE_SIZE).enumerate() {
            let page = n * PAGE_SIZE..(n + 1) * PAGE_SIZE;
            let is_same = before[page.clone()] == *promised;
            assert!(!is_same || now[page] == *promised, "{object:?}: page {n} was lost by a crash");
        }
    }

    /// An engine and a machine that know nothing yet; files are as they are.
    pub(crate) fn boot(&mut self) {
        self.engine = Engine::new(self.engine_config.clone());
        if let Some(frames) = self.account {
            self.engine.open_account(SpaceId(0), frames);
        }
        self.machine = SoftwareMachine::new(self.machine_config);
        self.machine_spaces = self.machine_config.spaces;
        (self.marked, self.failing) = (false, false);
        self.model = Model::default();
        self.processes = BTreeMap::from([(0, None)]);
        self.held.clear();
        self.add_objects();
        for object in self.files.clone() {
            let bytes = self.backings[&object.0].bytes.clone();
            self.model.objects.insert(object.0, bytes);
            self.promise(object);
        }
        self.model.processes.insert(0, BTreeMap::new());
        self.model.processes.insert(crate::world::KERNEL.0, BTreeMap::new());
        self.set_up(0);
        debug_assert!(self.backings[&self.swap.0].page(PageIndex(0)).is_some());
    }
}
