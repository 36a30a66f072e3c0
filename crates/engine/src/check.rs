//! Does everything that is written twice agree?

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;

use faultless_addr::{FrameNo, ObjectId};

use crate::anon::AnonId;
use crate::engine::{Addresses, Engine};
use crate::frame::{Busy, Kind, Shown, State, Want};
use crate::lease::Lent;

impl Engine {
    /// Panics where the engine's structures contradict each other. Slow; for tests.
    pub fn check_invariants(&self) {
        self.frames.check_invariants();
        self.policy.check_invariants();
        self.accounts.check_invariants(|no| self.frames[no].state == State::Free);
        self.translations.check_invariants(&self.frames);
        for space in &self.spaces {
            space.check_invariants();
        }
        self.check_addresses();
        let mut cached = self.check_caches();
        self.check_anons(&mut cached);
        self.check_counts(&cached);
        self.check_passes();
    }

    /// What can be at one address only is.
    fn check_addresses(&self) {
        for (no, _) in self.frames.iter().filter(|(_, frame)| frame.shown == Shown::Often) {
            let mut sites = self.translations.of(&self.frames, no).map(|it| it.site);
            let many = match self.config.addresses {
                Addresses::Many => true,
                Addresses::One => false,
                // What is about to leave was another area's.
                Addresses::OneIfPrivate => sites
                    .all(|site| self.closing_at(site).is_some() || self.is_in_shared_area(site)),
            };
            assert!(many, "{no:?} is at several addresses: {:?}", self.frames[no].key());
        }
    }

    /// Every cached page's frame says the same of itself; no frame is cached twice.
    fn check_caches(&self) -> vec::Vec<bool> {
        let mut cached = vec![false; self.frames.iter().count()];
        for (n, object) in self.objects.iter().enumerate() {
            let Some(object) = object else { continue };
            let (mut resident, mut dirty, mut writing, mut doomed) = (0, 0, 0, 0);
            object.cache.check_invariants(&self.nodes, &self.frames, &mut |page, no| {
                let frame = &self.frames[no];
                assert!(!core::mem::replace(&mut cached[no.index()], true), "{no:?} twice");
                assert_eq!((frame.object, frame.page), (ObjectId(n as u32), page));
                assert_ne!(frame.state, State::Free, "a free frame is cached");
                resident += 1;
                dirty += u32::from(frame.is_dirty());
                writing += u32::from(frame.busy == Busy::Writing);
                doomed += u32::from(frame.doomed);
            });
            assert_eq!(object.resident, resident, "object {n}: resident");
            assert_eq!(object.dirty, dirty, "object {n}: dirty");
            assert_eq!(object.writing, writing, "object {n}: being written");
            assert_eq!(object.doomed, doomed, "object {n}: doomed");
        }
        cached
    }

    /// Anonymous pages are meant as often as they say, and frames and slots are one page's.
    fn check_anons(&self, cached: &mut [bool]) {
        let mut refs: BTreeMap<AnonId, u32> = BTreeMap::new();
        for (_, id) in self.privates.iter().flat_map(|map| map.iter()) {
            *refs.entry(id).or_default() += 1;
        }
        let (mut pages, mut slots) = (0, BTreeSet::new());
        for (id, page) in self.anons.iter() {
            pages += 1;
            assert_eq!(page.refs, refs.get(&id).copied().unwrap_or(0), "{id:?}: {page:?}");
            if let Some(no) = page.frame() {
                assert!(!core::mem::replace(&mut cached[no.index()], true), "{no:?} twice");
                assert_eq!(self.frames[no].key(), id.key(), "{id:?}: another's frame");
            }
            if let Some(slot) = page.slot() {
                let swap = self.swap.as_ref().expect("a slot is of a swap area");
                assert_eq!(swap.owners[slot.index()], id, "{slot:?} is another's");
                assert!(slots.insert(slot), "{slot:?} is two pages'");
            }
        }
        assert_eq!(pages, self.anons.count(), "anonymous pages are lost");
        if let Some(swap) = &self.swap {
            swap.map.check_invariants();
            slots.extend(swap.lent.iter().flat_map(Lent::slots));
            let given = swap.given as usize;
            assert_eq!(swap.map.in_use() as usize, slots.len() + given, "slots are lost");
        }
    }

    /// A pass pins its page, which is in memory.
    fn check_passes(&self) {
        let mut idle = 0;
        for key in self.passes.idle() {
            let no = self.lookup(key.object, key.page).expect("a page with a pass is there");
            assert!(self.frames[no].pins > 0, "{no:?} has a pass that doesn't pin it");
            idle += 1;
        }
        assert!(idle <= self.pinned, "{idle} passes of {} pins", self.pinned);
    }

    fn check_counts(&self, cached: &[bool]) {
        let (mut used, mut dirty, mut busy, mut leaving, mut writing) = (0, 0, 0, 0, 0);
        for (no, frame) in self.frames.iter() {
            assert_eq!(frame.has_page(), cached[no.index()], "{no:?}: {frame:?}");
            used += u64::from(frame.has_page() && !frame.is_device());
            dirty += u64::from(frame.is_dirty());
            busy += u32::from(!frame.is_idle());
            leaving += u32::from(frame.leaving);
            writing += u32::from(frame.busy == Busy::Writing);
            let alone = frame.state == State::Reading && frame.pinned_for_write;
            assert!(frame.kind != Kind::ToBeGiven || alone, "{no:?}: {frame:?}");
            self.check_served(no);
        }
        assert_eq!(self.stats.frames_used, used, "frames used");
        assert!(used <= u64::from(self.frames.count()), "the budget is exceeded");
        assert_eq!(self.stats.pages_dirty, dirty, "pages dirty");
        assert_eq!(self.in_flight, busy, "frames busy");
        assert_eq!(self.departing, leaving, "frames leaving");
        assert_eq!(self.writing, writing, "frames being written");
    }

    /// An idle frame has no want left unserved.
    fn check_served(&self, no: FrameNo) {
        let frame = &self.frames[no];
        if frame.is_idle() && frame.state == State::Resident {
            assert!(frame.want == Want::Nothing, "{no:?} is idle and wanted: {frame:?}");
            assert!(!frame.doomed || frame.is_pinned(), "{no:?} is idle and doomed");
        }
    }
}
