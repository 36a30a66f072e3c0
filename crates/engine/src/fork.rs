//! Spaces that come and go, and fork: a space that begins as a copy of another.
//!
//! ```text
//!   parent ──► page 7 ─┐ refs 1, writable        parent ──► page 7 ─┐ refs 2
//!                      ▼                  fork                      ▼ read-only
//!                 anonymous page        ────────►              anonymous page
//!                                                                   ▲
//!                                                 child ──► page 7 ─┘ not shown yet
//! ```
//!
//! No byte is copied: child and parent mean the same anonymous pages, and the first
//! store of either promotes. Before fork returns, stores to all of them are stopped.

use alloc::vec::Vec;

use faultless_addr::{FrameNo, SpaceId, VirtRange};

use crate::anon::{AnonMap, numbers};
use crate::canary::Canary;
use crate::engine::Engine;
use crate::frame::Busy;
use crate::plan::{Op, Plan};
use crate::space::{AddressSpace, Sharing, SpaceConfig, Vma};

impl Engine {
    /// An empty space.
    pub fn create_space(&mut self, bounds: VirtRange) -> SpaceId {
        let space = AddressSpace::new(bounds, self.config.guard_pages);
        self.add_space(space)
    }

    /// An empty space that is like this from the beginning.
    pub fn create_space_with(&mut self, config: SpaceConfig) -> SpaceId {
        self.add_space(AddressSpace::with_config(config))
    }

    fn add_space(&mut self, space: AddressSpace) -> SpaceId {
        match self.spaces_free.pop() {
            Some(id) => {
                self.spaces[id.index()] = space;
                id
            }
            None => {
                self.spaces.push(space);
                self.privates.push(AnonMap::default());
                SpaceId(self.spaces.len() as u32 - 1)
            }
        }
    }

    /// Removes a space of which everything has been unmapped.
    pub fn remove_space(&mut self, id: SpaceId) {
        assert!(self.spaces[id.index()].is_empty(), "a space with areas is removed");
        assert_eq!(self.privates[id.index()].len(), 0, "a space with pages is removed");
        self.accounts.leave(id);
        self.spaces_free.push(id);
    }

    /// A space that is a copy of `parent` (fork(2)). To be followed by
    /// [`fork_step`](Self::fork_step) before either goes on.
    pub fn fork(&mut self, parent: SpaceId) -> SpaceId {
        let bounds = self.spaces[parent.index()].config().bounds;
        let copy = self.spaces[parent.index()].fork();
        let child = self.add_space(copy);
        self.join_account(child, parent);
        let areas: Vec<Vma> = self.spaces[parent.index()].iter().copied().collect();
        for area in areas.iter().filter(|area| area.is_copied_at_fork()) {
            self.fork_range(parent, child, area.range);
        }
        self.show(child, bounds);
        child
    }

    /// What the parent has stored in a range is the child's, too, in its area there, but where
    /// it has stored something itself. To be followed by
    /// [`fork_range_step`](Self::fork_range_step).
    pub fn fork_range(&mut self, parent: SpaceId, child: SpaceId, range: VirtRange) {
        let areas = self.pieces(child, range);
        let areas = areas.iter().filter(|piece| piece.sharing == Sharing::Private);
        let parents = &self.privates[parent.index()];
        let own: Vec<_> = areas.flat_map(|area| parents.range(numbers(area.range))).collect();
        for (number, id) in own {
            let childs = &mut self.privates[child.index()];
            if childs.get(number).is_none() {
                childs.insert(number, id);
                self.anons[id].refs += 1;
            }
        }
    }

    /// Goes on with a fork: stops stores to what child and parent share. Answers a frame
    /// that has to settle first, or `None` when all are stopped.
    pub fn fork_step(&mut self, parent: SpaceId, plan: &mut Plan) -> Option<FrameNo> {
        let bounds = self.spaces[parent.index()].config().bounds;
        self.fork_range_step(parent, bounds, plan)
    }

    /// As [`fork_step`](Self::fork_step), for a range.
    pub fn fork_range_step(
        &mut self,
        parent: SpaceId,
        range: VirtRange,
        plan: &mut Plan,
    ) -> Option<FrameNo> {
        if self.has(Canary::UnsplitAfterFork) {
            return None;
        }
        let mut wait = None;
        let own: Vec<_> = self.privates[parent.index()].range(numbers(range)).collect();
        for (_, id) in own {
            let Some(no) = self.anons[id].frame() else { continue };
            if self.anons[id].refs < 2 || !(self.frames[no].writable || self.may_be_writable(no)) {
                continue;
            }
            self.frames[no].waited = true;
            wait = wait.or(Some(no));
            if self.frames[no].is_idle() {
                self.begin_stop(no, plan);
            }
        }
        wait
    }

    fn begin_stop(&mut self, no: FrameNo, plan: &mut Plan) {
        let writable = self.translations.of(&self.frames, no).filter(|it| it.writable);
        let sites: Vec<_> = writable.map(|it| it.site).collect();
        self.begin(no, Busy::Stopping, sites.len());
        for site in sites {
            plan.ops.push(Op::Stop { space: site.space(), at: site.at(), frame: no });
        }
    }

    /// Is a page of the space private to it, and stored to?
    pub fn private_pages(&self, space: SpaceId) -> usize {
        self.privates[space.index()].len()
    }

    /// Are stores of this area the space's own?
    pub fn is_private(&self, space: SpaceId, at: faultless_addr::VirtAddr) -> bool {
        let area = self.spaces[space.index()].find(at);
        area.is_some_and(|area| area.sharing == Sharing::Private)
    }
}
