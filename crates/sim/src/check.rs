//! What must never be, looked at after every step.

use faultless_addr::{SpaceId, VirtAddr};
use faultless_software::Rights;

use crate::world::World;

impl World {
    /// Panics where the engine, the machine, or the two of them contradict each other.
    pub(crate) fn check(&self) {
        self.engine.check_invariants();
        self.machine.check_invariants();
        self.check_tlbs();
        self.check_translations();
    }

    /// No CPU remembers what the tables don't say any more.
    fn check_tlbs(&self) {
        if let Some(stale) = self.machine.stale().first() {
            panic!("a TLB was not flushed: {stale:?}");
        }
    }

    /// What the engine believes to be shown is, with the same rights, and nothing else.
    fn check_translations(&self) {
        let mut believed = 0;
        for (no, frame) in self.engine.frames().filter(|(_, frame)| frame.is_idle()) {
            for (space, at, writable) in self.engine.addresses_of(no) {
                let there = self.machine.translation(space, at);
                let there = there.unwrap_or_else(|| panic!("{no:?} is not at {at:?}: {frame:?}"));
                assert_eq!(there.frame, no, "another frame is at {at:?}");
                let stores = there.rights.contains(Rights::WRITE);
                assert_eq!(stores, writable, "{no:?} at {at:?}: {frame:?}");
                believed += 1;
            }
        }
        let busy = |at: VirtAddr, space: SpaceId| {
            let there = self.machine.translation(space, at).expect("it was listed");
            !self.engine.frame(there.frame).is_idle()
        };
        let mut shown = 0;
        for space in self.model.processes.keys().map(|process| SpaceId(*process)) {
            let settled = self.machine.translations(space).filter(|it| !busy(it.at, space));
            shown += settled.count();
        }
        assert!(shown <= believed, "{shown} pages are shown, {believed} are known");
    }
}
