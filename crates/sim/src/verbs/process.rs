//! fork and exit.

use std::collections::BTreeMap;

use faultless_addr::{PAGE_BYTES, SpaceId};
use faultless_engine::space::{Layout, Limits};

use crate::model::{AtFork, Page};
use crate::world::{BOUNDS, World};

impl World {
    pub(super) fn fork(&mut self, process: u32) {
        if self.processes.len() >= 4 {
            return;
        }
        self.tally.note("verb: fork");
        let parent = SpaceId(process);
        let child = self.engine.fork(parent);
        let parents = self.model.processes[&process].iter();
        let inherited = parents.filter(|(_, page)| page.at_fork == AtFork::GoesAlong);
        let pages: BTreeMap<u64, Page> =
            inherited.map(|(number, page)| (*number, page.at_birth())).collect();
        self.model.processes.insert(child.0, pages);
        while let Some(no) = self.plan(|engine, plan| engine.fork_step(parent, plan)) {
            self.wait(no);
            if self.rng.bool() {
                self.advance_others(process);
            }
        }
        if self.machine_lacks(child) {
            self.machine.add_space().expect("there are table frames");
        }
        self.processes.insert(child.0, None);
    }

    /// Spaces of the machine are used again, as those of the engine are.
    fn machine_lacks(&mut self, space: SpaceId) -> bool {
        let new = space.0 >= self.machine_spaces;
        self.machine_spaces += u32::from(new);
        new
    }

    /// Removes what is left of a process.
    pub(crate) fn exit(&mut self, process: u32) {
        self.tally.note("verb: exit");
        let space = SpaceId(process);
        self.processes.remove(&process);
        self.held.remove(&process);
        self.model.processes.remove(&process);
        self.clear(space, BOUNDS, |engine, plan| engine.unmap_all(space, plan));
        self.engine.remove_space(space);
        let left: Vec<_> = self.machine.translations(space).collect();
        assert!(left.is_empty(), "pages outlive their process: {left:?}");
    }

    /// The first process has a heap in the middle of its addresses, and may lock so little
    /// that four processes leave half of the budget to others.
    pub(crate) fn set_up(&mut self, process: u32) {
        let (brk, end) = (BOUNDS.start.plus_pages(48), BOUNDS.end);
        let nothing = |at| faultless_addr::VirtRange { start: at, end: at };
        let layout = Layout {
            code: faultless_addr::VirtRange { start: BOUNDS.start, end: brk },
            data: nothing(brk),
            start_brk: brk,
            brk,
            mmap_base: end,
            start_stack: end,
            args: nothing(end),
            env: nothing(end),
        };
        self.engine.set_up(SpaceId(process), layout).expect("the heap is inside the bounds");
        let locked_bytes_max = u64::from(self.engine_config.frames / 8) * PAGE_BYTES;
        self.engine.set_limits(SpaceId(process), Limits { locked_bytes_max, ..Limits::NONE });
    }
}
