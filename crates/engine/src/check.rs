//! Does everything that is written twice agree?

use alloc::vec;

use faultless_addr::{FrameNo, ObjectId};

use crate::engine::Engine;
use crate::frame::State;

impl Engine {
    /// Panics where the engine's structures contradict each other. Slow; for tests.
    pub fn check_invariants(&self) {
        self.frames.check_invariants();
        self.policy.check_invariants();
        for space in &self.spaces {
            space.check_invariants();
        }
        let cached = self.check_caches();
        self.check_counts(&cached);
    }

    /// Every cached page's frame says the same of itself; no frame is cached twice.
    fn check_caches(&self) -> vec::Vec<bool> {
        let mut cached = vec![false; self.frames.count() as usize];
        for (n, object) in self.objects.iter().enumerate() {
            let Some(object) = object else { continue };
            let (mut resident, mut dirty) = (0, 0);
            object.cache.check_invariants(&self.nodes, &self.frames, &mut |page, no| {
                let frame = &self.frames[no];
                assert!(!core::mem::replace(&mut cached[no.index()], true), "{no:?} twice");
                assert_eq!((frame.object, frame.page), (ObjectId(n as u32), page));
                assert_ne!(frame.state, State::Free, "a free frame is cached");
                resident += 1;
                dirty += u32::from(frame.dirty);
            });
            assert_eq!(object.resident, resident, "object {n}: resident");
            assert_eq!(object.dirty, dirty, "object {n}: dirty");
        }
        cached
    }

    fn check_counts(&self, cached: &[bool]) {
        let (mut used, mut dirty, mut busy, mut leaving) = (0, 0, 0, 0);
        for (no, frame) in self.frames.iter() {
            assert_eq!(frame.state != State::Free, cached[no.index()], "{no:?}: {frame:?}");
            used += u64::from(frame.state != State::Free);
            dirty += u64::from(frame.dirty);
            busy += u32::from(!frame.is_idle());
            leaving += u32::from(frame.leaving);
            self.check_served(no);
        }
        assert_eq!(self.stats.frames_used, used, "frames used");
        assert!(used <= u64::from(self.frames.count()), "the budget is exceeded");
        assert_eq!(self.stats.pages_dirty, dirty, "pages dirty");
        assert_eq!(self.in_flight, busy, "frames busy");
        assert_eq!(self.departing, leaving, "frames leaving");
    }

    /// An idle frame has no want left unserved.
    fn check_served(&self, no: FrameNo) {
        let frame = &self.frames[no];
        if frame.is_idle() && frame.state == State::Resident {
            let wants = frame.want_read || frame.want_write;
            let waits = !frame.mapped && self.is_mark_changing(frame.key());
            assert!(!wants || waits, "{no:?} is idle and wanted: {frame:?}");
            assert!(!frame.doomed || frame.is_pinned(), "{no:?} is idle and doomed");
        }
    }
}
