//! An active and an inactive list, and the names of pages that left: the default.
//!
//! ```text
//!               its name is known
//!   page ──┬──────────────────────►┌────────┐ Unreference,
//!          │                       │ active ├────────────┐ at the pace, or where
//!          │             ┌────────►└────────┘            │ inactive is short
//!          │  referenced │                               ▼
//!          │        ┌────┴─────┐◄────────────────────────┘
//!          └───────►│ inactive ├──► Evict ──► names
//!                   └──────────┘
//! ```
//!
//! Most pages are used once. They arrive on inactive, a FIFO, and leave it without having
//! been asked whether they are used: where a reference shows only by a fault, to ask costs
//! more than a page that is used only now and then is worth. A page that is wanted again soon
//! after it left is worth it. Its name is known, and it goes to active, which is a FIFO as
//! well. From there it comes back to inactive with its reference cleared, and has a whole
//! trip through that to be used again. So the pages of a scan disturb no others, and a hot
//! page costs one more read than it would by a policy that knew.
//!
//! How many active pages are asked follows from what they answer. While inactive has less than
//! a quarter of all pages, one is asked for each `pace` that leave: the pace doubles with each
//! that is used again and falls with each that is not. A hot set that fills most of memory is
//! left alone so, where a fixed share would have all of it asked in turn, each page that comes
//! back sending another one; and where active is cold, inactive has room for what is read
//! ahead. Below a sixteenth inactive is short, and active pages come at once: so one that
//! comes by its name takes the place of an active one. Until memory is full for the first time
//! all pages go to active: those that have been there from the beginning get their chance, too.
//!
//! Source: the lists are those of VAX/VMS (Levy and Lipman, Computer, March 1982) and Mach
//! (Rashid et al., ASPLOS 1987; Draves, USENIX Mach Symposium 1991). Newcomers on a FIFO that
//! leave unasked, the memory of their names, and the quarter are 2Q's (Johnson and Shasha,
//! VLDB 1994); Linux remembers names as well (`mm/workingset.c`).

use alloc::vec;
use alloc::vec::Vec;
use core::mem::size_of;

use faultless_addr::FrameNo;

use super::{
    Arrival, Departure, PageKey, Policy, PolicyKind, Step, Verdict, View,
    ghost::{Ghosts, Slots},
    is_referenced, look_elsewhere, note, search, unreference,
};
use crate::list::{ListId, Lists};

const ACTIVE: ListId = ListId::new(0);
const INACTIVE: ListId = ListId::new(1);

/// Inactive grows until it holds one page in this many.
const SHARE_MAX: u64 = 4;

/// It is short, and grows at once, while it holds less than one page in this many.
const SHARE_MIN: u64 = 16;

/// At most so many pages leave for each one that is asked.
const PACE_MAX: u32 = 256;

/// What a page that is not used takes from the pace.
const PACE_STEP: u32 = 2;

/// The policy of VMS and Mach, with a memory of what left.
pub struct TwoList {
    lists: Lists,
    ghosts: Ghosts,
    /// Frames have been asked for: memory was full.
    was_full: bool,
    /// Pages that leave for each active one that is asked while inactive could grow: at least
    /// one, once a page was found to be used; until then inactive grows at once.
    pace: u32,
    /// Those that have left since one was asked.
    left: u32,
}

impl TwoList {
    /// The policy for the frames `0..frames`.
    pub fn new(frames: u32) -> TwoList {
        let ghosts = Ghosts::new((frames - frames / 4).max(1), Slots::One);
        TwoList { lists: Lists::new(frames), ghosts, was_full: false, pace: 0, left: 0 }
    }

    /// Does inactive hold less than one page in this many?
    fn inactive_below(&self, share: u64) -> bool {
        u64::from(self.lists.len(INACTIVE)) * share < u64::from(self.lists.total())
    }

    /// Is it an active page's turn?
    fn wants_to_ask(&self) -> bool {
        self.inactive_below(SHARE_MIN) || self.left >= self.pace && self.inactive_below(SHARE_MAX)
    }

    /// A page that was asked is used: it was a waste to ask.
    fn promote(&mut self, frame: FrameNo) {
        self.lists.move_to_back(ACTIVE, frame);
        self.pace = (2 * self.pace).clamp(1, PACE_MAX);
    }

    /// Moves the first active frame to inactive, to see whether it is used again.
    fn deactivate_front(&mut self, frame: FrameNo, view: &dyn View) -> Step {
        if !view.is_movable(frame) {
            self.lists.move_to_back(ACTIVE, frame);
            return Step::Stuck;
        }
        let may_grow = self.inactive_below(SHARE_MAX);
        self.left = 0;
        self.lists.move_to_back(INACTIVE, frame);
        if is_referenced(&self.lists, view, frame) {
            return Step::Done(unreference(&mut self.lists, frame));
        }
        note::clear(&mut self.lists, frame, note::FRESH);
        match may_grow {
            true => Step::Moved,
            // Inactive has its share and yet gave nothing: everything there is stuck.
            false => Step::Done(Verdict::Evict(frame)),
        }
    }

    /// Judges the first inactive frame.
    fn judge_front(&mut self, frame: FrameNo, view: &dyn View) -> Step {
        if !view.is_movable(frame) {
            self.lists.move_to_back(INACTIVE, frame);
            return Step::Stuck;
        }
        let fresh = note::has(&self.lists, frame, note::FRESH);
        if fresh || !is_referenced(&self.lists, view, frame) {
            self.left = self.left.saturating_add(1);
            if !fresh {
                self.pace = self.pace.saturating_sub(PACE_STEP).max(self.pace.min(1));
            }
            self.lists.move_to_back(INACTIVE, frame);
            return Step::Done(Verdict::Evict(frame));
        }
        self.promote(frame);
        Step::Moved
    }
}

impl Policy for TwoList {
    fn name(&self) -> &'static str {
        PolicyKind::TwoList.name()
    }

    fn insert(&mut self, frame: FrameNo, key: PageKey, how: Arrival) {
        self.lists.set_tag(frame, note::FRESH);
        let is_known = self.ghosts.take(key) || how == Arrival::Demand && !self.was_full;
        self.lists.push_back(if is_known { ACTIVE } else { INACTIVE }, frame);
    }

    fn touch(&mut self, frame: FrameNo) {
        note::add(&mut self.lists, frame, note::TOUCHED);
        let probed = !note::has(&self.lists, frame, note::FRESH);
        if probed && self.lists.list_of(frame) == Some(INACTIVE) {
            self.promote(frame);
        }
    }

    fn remove(&mut self, frame: FrameNo, key: PageKey, why: Departure) {
        self.lists.remove(frame).expect("the policy has the frame");
        if why == Departure::Evicted {
            self.ghosts.insert(key);
        }
    }

    fn next(&mut self, view: &dyn View) -> Option<Verdict> {
        self.was_full = true;
        search(self.lists.total(), |stuck| {
            let wants_active = self.wants_to_ask() != look_elsewhere(stuck);
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

    fn peek(&self) -> Option<FrameNo> {
        self.lists.front(if self.wants_to_ask() { ACTIVE } else { INACTIVE })
    }

    fn lists(&self) -> Vec<(&'static str, Vec<FrameNo>)> {
        vec![
            ("active", self.lists.iter(ACTIVE).collect()),
            ("inactive", self.lists.iter(INACTIVE).collect()),
        ]
    }

    fn bookkeeping_bytes(&self) -> usize {
        let own = size_of::<TwoList>() - size_of::<Lists>() - size_of::<Ghosts>();
        own + self.lists.bookkeeping_bytes() + self.ghosts.bookkeeping_bytes()
    }

    fn check_invariants(&self) {
        self.lists.check_invariants();
        self.ghosts.check_invariants();
        assert_eq!(
            self.lists.len(ACTIVE) + self.lists.len(INACTIVE),
            self.lists.total(),
            "a frame is in a list that the policy doesn't have"
        );
    }
}
