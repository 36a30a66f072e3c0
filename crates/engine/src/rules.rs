//! What is said of areas: advice, locks, seals, limits.
//!
//! Most of it changes areas and no page. Advice that discards closes addresses, and is to
//! be followed by [`Engine::clear_step`].

use alloc::vec::Vec;

use faultless_addr::{SpaceId, VirtAddr, VirtRange};

use crate::anon::numbers;
use crate::engine::Engine;
use crate::plan::Plan;
use crate::space::{
    Advice, AdviseError, Layout, LayoutError, Limits, LockAll, LockError, LockKind, SealError, Vma,
};

impl Engine {
    /// Takes advice about a range (madvise(2)). The pieces that it goes for are in
    /// `pieces`, also after an error. What there is to do to their pages in the space is
    /// begun; to write a hole into an object, or to bring pages in, is the caller's.
    pub fn advise_range(
        &mut self,
        space: SpaceId,
        range: (VirtAddr, u64),
        advice: Advice,
        pieces: &mut Vec<Vma>,
        plan: &mut Plan,
    ) -> Result<(), AdviseError> {
        let result = self.spaces[space.index()].advise(range.0, range.1, advice, pieces);
        let forgets = matches!(
            advice,
            Advice::DontNeed | Advice::DontNeedLocked | Advice::Free | Advice::GuardInstall
        );
        for piece in pieces {
            // What was freed may be there until it is written: here it goes at once.
            if forgets {
                self.dont_need(space, piece.range, plan);
            }
            if advice == Advice::PageOut {
                self.page_out(space, piece.range, plan);
            }
        }
        result
    }

    /// The space's own pages of a range that nobody else has begin to leave memory.
    fn page_out(&mut self, space: SpaceId, range: VirtRange, plan: &mut Plan) {
        let own = self.privates[space.index()].range(numbers(range));
        let sole = own.filter(|(_, id)| self.anons[*id].refs == 1);
        let frames: Vec<_> = sole.filter_map(|(_, id)| self.anons[id].frame()).collect();
        for no in frames {
            self.evict_if_movable(no, plan);
        }
    }

    /// Locks pages (mlock(2)); says what is to be brought in.
    pub fn lock(
        &mut self,
        space: SpaceId,
        range: (VirtAddr, u64),
        kind: LockKind,
    ) -> Result<VirtRange, LockError> {
        self.spaces[space.index()].lock(range.0, range.1, kind)
    }

    /// Unlocks pages (munlock(2)).
    pub fn unlock(&mut self, space: SpaceId, range: (VirtAddr, u64)) -> Result<(), LockError> {
        self.spaces[space.index()].unlock(range.0, range.1)
    }

    /// Locks everything (mlockall(2)); says what is to be brought in.
    pub fn lock_all(&mut self, space: SpaceId, which: LockAll) -> Result<VirtRange, LockError> {
        self.spaces[space.index()].lock_all(which)
    }

    /// Unlocks everything (munlockall(2)).
    pub fn unlock_all(&mut self, space: SpaceId) {
        self.spaces[space.index()].unlock_all();
    }

    /// Seals areas (mseal(2)).
    pub fn seal(
        &mut self,
        space: SpaceId,
        range: (VirtAddr, u64),
        flags: u64,
    ) -> Result<(), SealError> {
        self.spaces[space.index()].seal(range.0, range.1, flags)
    }

    /// Other limits from now on (setrlimit(2)).
    pub fn set_limits(&mut self, space: SpaceId, limits: Limits) {
        self.spaces[space.index()].set_limits(limits);
    }

    /// Says where a program's parts are (prctl(2), `PR_SET_MM_MAP`).
    pub fn set_up(&mut self, space: SpaceId, layout: Layout) -> Result<(), LayoutError> {
        self.spaces[space.index()].set_up(layout)
    }
}
