//! The clock: a FIFO with a second chance.
//!
//! ```text
//!            hand
//!             ▼
//!      ┌──► [ f ] [ g ] [ h ] … [ z ] ◄── insert
//!      │      │
//!      │      ├── referenced:     Unreference, go round again
//!      └──────┼── can't move:     go round again
//!             └── neither:        Evict
//! ```
//!
//! The clock face is a list whose front is the hand. The arrival's own reference costs
//! nothing extra here: every page gets one trip after its probe, whoever it is. So the
//! clock never tells a page used once from one used again, and there is no better place
//! for pages read ahead than behind those read ahead earlier.
//!
//! Source: Fernando Corbató, "A paging experiment with the Multics system" (MIT Project
//! MAC, 1968).

use alloc::vec;
use alloc::vec::Vec;
use core::mem::size_of;

use faultless_addr::FrameNo;

use super::{
    Arrival, Departure, PageKey, Policy, PolicyKind, Verdict, View, is_referenced, looks_max, note,
    unreference,
};
use crate::list::{ListId, Lists};

const FACE: ListId = ListId::new(0);

/// A FIFO with a second chance: the policy of Multics.
pub struct Clock {
    lists: Lists,
}

impl Clock {
    /// The policy for the frames `0..frames`.
    pub fn new(frames: u32) -> Clock {
        Clock { lists: Lists::new(frames) }
    }
}

impl Policy for Clock {
    fn name(&self) -> &'static str {
        PolicyKind::Clock.name()
    }

    fn insert(&mut self, frame: FrameNo, _key: PageKey, _how: Arrival) {
        self.lists.set_tag(frame, 0);
        self.lists.push_back(FACE, frame);
    }

    fn touch(&mut self, frame: FrameNo) {
        note::add(&mut self.lists, frame, note::TOUCHED);
    }

    fn remove(&mut self, frame: FrameNo, _key: PageKey, _why: Departure) {
        self.lists.remove(frame).expect("the policy has the frame");
    }

    fn next(&mut self, view: &dyn View) -> Option<Verdict> {
        for _ in 0..looks_max(self.lists.total()) {
            let frame = self.lists.front(FACE)?;
            self.lists.move_to_back(FACE, frame);
            if !view.is_movable(frame) {
                continue;
            }
            return Some(match is_referenced(&self.lists, view, frame) {
                true => unreference(&mut self.lists, frame),
                false => Verdict::Evict(frame),
            });
        }
        None
    }

    fn lists(&self) -> Vec<(&'static str, Vec<FrameNo>)> {
        vec![("face", self.lists.iter(FACE).collect())]
    }

    fn bookkeeping_bytes(&self) -> usize {
        size_of::<Clock>() - size_of::<Lists>() + self.lists.bookkeeping_bytes()
    }

    fn check_invariants(&self) {
        self.lists.check_invariants();
        assert_eq!(self.lists.len(FACE), self.lists.total(), "a frame is off the clock face");
    }
}
