//! What must never be while threads play.

use faultless_engine::Leaver;
use faultless_engine::frame::State;
use faultless_software::Rights;

use super::{SPACE, State as World};

impl World {
    /// Panics where the engine and the machine contradict themselves or each other. What
    /// somebody is doing something with may be either way.
    pub fn check(&self) {
        self.engine.check_invariants();
        self.machine.check_invariants();
        if let Some(stale) = self.machine.stale().first() {
            panic!("a TLB was not flushed: {stale:?}");
        }
        let mut believed = 0;
        for (no, frame) in self.engine.frames().filter(|(_, frame)| frame.is_idle()) {
            let sites: Vec<_> = self.engine.addresses_of(no).collect();
            assert!(sites.len() <= 1, "{no:?} is at several addresses: {sites:?}");
            for (space, at, writable) in sites {
                let there = self.machine.translation(space, at);
                let there = there.unwrap_or_else(|| panic!("{no:?} is not at {at:?}: {frame:?}"));
                assert_eq!(there.frame, no, "another frame is at {at:?}");
                let stores = there.rights.contains(Rights::WRITE);
                assert_eq!(stores, writable, "stores to {no:?} at {at:?}: {frame:?}");
                believed += 1;
            }
        }
        let settled =
            self.machine.translations(SPACE).filter(|it| self.engine.frame(it.frame).is_idle());
        assert_eq!(settled.count(), believed, "more pages are shown than known");
    }

    /// Bytes that are dropped are elsewhere, or nobody's.
    pub fn check_drop(&self, leaver: &Leaver) {
        let frame = self.engine.frame(leaver.frame);
        assert!(!frame.is_dirty() || frame.doomed, "a dirty page is dropped: {frame:?}");
    }

    /// After everything has been given back.
    pub fn check_end(&self) {
        self.check();
        let mut left = self.engine.frames().filter(|(_, frame)| frame.state != State::Free);
        assert!(left.next().is_none(), "frames are lost: {:?}", left.collect::<Vec<_>>());
        assert_eq!(self.engine.anonymous_pages(), 0, "anonymous pages are lost");
        assert_eq!(self.engine.swap_slots().0, 0, "slots are lost");
    }
}
