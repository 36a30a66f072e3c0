//! An active and an inactive list: the default.
//!
//! ```text
//!   demand                 front of active,
//!     │                    when inactive is short
//!     ▼      ┌────────┐      Unreference      ┌──────────┐   not referenced
//!   ────────►│ active ├──────────────────────►│ inactive ├──────────────────► Evict
//!     ▲      └────────┘                       └──────────┘
//!     │        FIFO                             ▲      │
//!     └────────────────────── referenced ───────┼──────┘
//!                                           read ahead
//! ```
//!
//! Active is a FIFO that nobody looks into: a page leaves it in its turn, with its
//! reference cleared, and inactive is where it shows whether it is still used. Inactive
//! is kept at a third of all pages. So a page gets a whole trip through inactive to be
//! used again, and pages that are used once pass through at the cost of one probe.
//!
//! Pages read ahead wait on inactive for their first use; a scan with read-ahead
//! never disturbs the active list.
//!
//! Source: Richard Rashid et al., "Machine-independent virtual memory management for
//! paged uniprocessor and multiprocessor architectures" (ASPLOS 1987), and Richard
//! Draves, "Page replacement and reference bit emulation in Mach" (USENIX Mach
//! Symposium 1991); before them the free and modified page lists of VAX/VMS (Levy and
//! Lipman, Computer, March 1982). The share of a third is Mach's.

use alloc::vec;
use alloc::vec::Vec;
use core::mem::size_of;

use faultless_addr::FrameNo;

use super::{
    Arrival, Departure, PageKey, Policy, PolicyKind, Step, Verdict, View, is_referenced,
    look_elsewhere, note, search, unreference,
};
use crate::list::{ListId, Lists};

const ACTIVE: ListId = ListId::new(0);
const INACTIVE: ListId = ListId::new(1);

/// Inactive is short while it holds less than one page in this many.
const INACTIVE_SHARE: u32 = 3;

/// An active FIFO and an inactive list: the policy of VMS and Mach.
pub struct TwoList {
    lists: Lists,
}

/// Which list has less than its share.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Short {
    Inactive,
    Neither,
}

impl TwoList {
    /// The policy for the frames `0..frames`.
    pub fn new(frames: u32) -> TwoList {
        TwoList { lists: Lists::new(frames) }
    }

    fn short(&self) -> Short {
        match self.lists.len(INACTIVE) * INACTIVE_SHARE < self.lists.total() {
            true => Short::Inactive,
            false => Short::Neither,
        }
    }

    /// Moves the first active frame to inactive, to see whether it is used again.
    fn deactivate_front(&mut self, frame: FrameNo, view: &dyn View) -> Step {
        if !view.is_movable(frame) {
            self.lists.move_to_back(ACTIVE, frame);
            return Step::Stuck;
        }
        let short = self.short();
        self.lists.move_to_back(INACTIVE, frame);
        if is_referenced(&self.lists, view, frame) {
            return Step::Done(unreference(&mut self.lists, frame));
        }
        note::clear(&mut self.lists, frame, note::FRESH);
        match short {
            Short::Inactive => Step::Moved,
            // Inactive has its share and yet gave nothing: everything there is stuck.
            Short::Neither => Step::Done(Verdict::Evict(frame)),
        }
    }

    /// Judges the first inactive frame.
    fn judge_front(&mut self, frame: FrameNo, view: &dyn View) -> Step {
        if !view.is_movable(frame) {
            self.lists.move_to_back(INACTIVE, frame);
            return Step::Stuck;
        }
        if !is_referenced(&self.lists, view, frame) {
            self.lists.move_to_back(INACTIVE, frame);
            return Step::Done(Verdict::Evict(frame));
        }
        if note::has(&self.lists, frame, note::FRESH) {
            // Read ahead, and used once at most: it has yet to be used again.
            self.lists.move_to_back(INACTIVE, frame);
            return Step::Done(unreference(&mut self.lists, frame));
        }
        self.lists.move_to_back(ACTIVE, frame);
        Step::Moved
    }
}

impl Policy for TwoList {
    fn name(&self) -> &'static str {
        PolicyKind::TwoList.name()
    }

    fn insert(&mut self, frame: FrameNo, _key: PageKey, how: Arrival) {
        self.lists.set_tag(frame, note::FRESH);
        match how {
            Arrival::Demand => self.lists.push_back(ACTIVE, frame),
            Arrival::ReadAhead => self.lists.push_back(INACTIVE, frame),
        }
    }

    fn touch(&mut self, frame: FrameNo) {
        note::add(&mut self.lists, frame, note::TOUCHED);
        let probed = !note::has(&self.lists, frame, note::FRESH);
        if probed && self.lists.list_of(frame) == Some(INACTIVE) {
            self.lists.move_to_back(ACTIVE, frame);
        }
    }

    fn remove(&mut self, frame: FrameNo, _key: PageKey, _why: Departure) {
        self.lists.remove(frame).expect("the policy has the frame");
    }

    fn next(&mut self, view: &dyn View) -> Option<Verdict> {
        search(self.lists.total(), |stuck| {
            let wants_active = (self.short() == Short::Inactive) != look_elsewhere(stuck);
            let active = self.lists.front(ACTIVE);
            let inactive = self.lists.front(INACTIVE);
            match (active, inactive) {
                (Some(frame), _) if wants_active => Some(self.deactivate_front(frame, view)),
                (_, Some(frame)) => Some(self.judge_front(frame, view)),
                (Some(frame), None) => Some(self.deactivate_front(frame, view)),
                (None, None) => None,
            }
        })
    }

    fn lists(&self) -> Vec<(&'static str, Vec<FrameNo>)> {
        vec![
            ("active", self.lists.iter(ACTIVE).collect()),
            ("inactive", self.lists.iter(INACTIVE).collect()),
        ]
    }

    fn bookkeeping_bytes(&self) -> usize {
        size_of::<TwoList>() - size_of::<Lists>() + self.lists.bookkeeping_bytes()
    }

    fn check_invariants(&self) {
        self.lists.check_invariants();
        assert_eq!(
            self.lists.len(ACTIVE) + self.lists.len(INACTIVE),
            self.lists.total(),
            "a frame is in a list that the policy doesn't have"
        );
    }
}
