//! S3-FIFO: a small queue for newcomers, a main queue, and the names of those that left.
//!
//! ```text
//!            ┌──────────── small: a tenth of all frames ─────────────┐
//!  demand    │ ┌───────┐   Unreference    ┌────────┐ not referenced  │
//!  ──────────┼►│ fresh ├─────────────────►│ probed ├─────────────────┼──► Evict
//!            │ └───────┘                  └──┬─────┘                 │      │
//!  read ─────┼──────────────────────────►────┘ │ referenced          │      │ its name
//!  ahead     └─────────────────────────────────┼─────────────────────┘      ▼
//!                                              ▼                       ┌────────┐
//!                     Unreference,         ┌──────┐                    │ ghosts │
//!                     go round again  ┌───►│ main │◄─── insert ────────┤        │
//!                                     └────┤      │  of a page whose   └────────┘
//!                          referenced      └──┬───┘  name is here
//!                                             └──► not referenced: Evict
//! ```
//!
//! Most pages are used once. They pass through the small queue and never disturb the
//! main one. A page used again, in the small queue or soon after it left, goes to main,
//! which is a clock.
//!
//! The paper counts uses up to three, and a page arrives with none. A reference here is
//! one bit, and a page arrives with it set. So the small queue has two halves: a page
//! leaves the first with its reference cleared, and shows in the second whether it is
//! used again; and main gives one more round, not up to three. Pages read ahead go to
//! the second half at once: those that nobody touched leave first.
//!
//! Source: Juncheng Yang et al., "FIFO queues are all you need for cache eviction"
//! (SOSP 2023).

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

const FRESH: ListId = ListId::new(0);
const PROBED: ListId = ListId::new(1);
const MAIN: ListId = ListId::new(2);

/// The small queue's share: one frame in this many.
const SMALL_SHARE: u32 = 10;

/// S3-FIFO: newcomers prove themselves in a small queue.
pub struct S3Fifo {
    lists: Lists,
    ghosts: Ghosts,
    small_max: u32,
}

/// The two queues of the paper.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    Small,
    Main,
}

impl Queue {
    fn other(self) -> Queue {
        match self {
            Queue::Small => Queue::Main,
            Queue::Main => Queue::Small,
        }
    }
}

impl S3Fifo {
    /// The policy for the frames `0..frames`.
    pub fn new(frames: u32) -> S3Fifo {
        let small_max = (frames / SMALL_SHARE).max(1);
        S3Fifo { lists: Lists::new(frames), ghosts: Ghosts::new(frames, Slots::Two), small_max }
    }

    fn small_len(&self) -> u32 {
        self.lists.len(FRESH) + self.lists.len(PROBED)
    }

    /// The queue to take a frame from, after `stuck` frames that can't move.
    fn queue(&self, stuck: u32) -> Queue {
        let fair = match self.small_len() > self.small_max {
            true => Queue::Small,
            false => Queue::Main,
        };
        let wanted = match look_elsewhere(stuck) {
            true => fair.other(),
            false => fair,
        };
        match wanted {
            Queue::Small if self.small_len() == 0 => Queue::Main,
            Queue::Main if self.lists.is_empty(MAIN) => Queue::Small,
            _ => wanted,
        }
    }

    /// The next frame of a queue. Both halves of the small queue are kept even, which
    /// gives a page as long to show its second use as it had for the first.
    fn front(&self, queue: Queue, stuck: u32) -> Option<FrameNo> {
        let (fresh, probed) = (self.lists.front(FRESH), self.lists.front(PROBED));
        let fresh_is_longer = self.lists.len(FRESH) > self.lists.len(PROBED);
        match queue {
            Queue::Main => self.lists.front(MAIN),
            // Either half may be full of frames that can't move.
            Queue::Small if fresh_is_longer != look_elsewhere(stuck / 2) => fresh.or(probed),
            Queue::Small => probed.or(fresh),
        }
    }

    /// Looks at the first frame of its list.
    fn step(&mut self, frame: FrameNo, view: &dyn View) -> Step {
        let list = self.lists.list_of(frame).expect("a front is in its list");
        if !view.is_movable(frame) {
            self.lists.move_to_back(list, frame);
            return Step::Stuck;
        }
        let referenced = is_referenced(&self.lists, view, frame);
        let fresh = note::has(&self.lists, frame, note::FRESH);
        if list == FRESH {
            self.lists.move_to_back(PROBED, frame);
            note::clear(&mut self.lists, frame, note::FRESH);
            return match referenced {
                true => Step::Done(unreference(&mut self.lists, frame)),
                false => Step::Moved,
            };
        }
        if list == PROBED && referenced && !fresh {
            // It takes its reference along: a page known to be in use is not unmapped.
            self.lists.move_to_back(MAIN, frame);
            return Step::Moved;
        }
        self.lists.move_to_back(list, frame);
        Step::Done(match referenced {
            true => unreference(&mut self.lists, frame),
            false => Verdict::Evict(frame),
        })
    }
}

impl Policy for S3Fifo {
    fn name(&self) -> &'static str {
        PolicyKind::S3Fifo.name()
    }

    fn insert(&mut self, frame: FrameNo, key: PageKey, how: Arrival) {
        self.lists.set_tag(frame, note::FRESH);
        // Read-ahead is a guess: it neither proves that a page is used again nor uses up
        // the memory that it left.
        let list = match how {
            Arrival::Demand if self.ghosts.take(key) => MAIN,
            Arrival::Demand => FRESH,
            Arrival::ReadAhead => PROBED,
        };
        self.lists.push_back(list, frame);
    }

    fn touch(&mut self, frame: FrameNo) {
        note::add(&mut self.lists, frame, note::TOUCHED);
    }

    fn remove(&mut self, frame: FrameNo, key: PageKey, why: Departure) {
        let list = self.lists.remove(frame).expect("the policy has the frame");
        if why == Departure::Evicted && list != MAIN {
            self.ghosts.insert(key);
        }
    }

    fn next(&mut self, view: &dyn View) -> Option<Verdict> {
        search(self.lists.total(), |stuck| {
            let frame = self.front(self.queue(stuck), stuck)?;
            Some(self.step(frame, view))
        })
    }

    fn lists(&self) -> Vec<(&'static str, Vec<FrameNo>)> {
        vec![
            ("fresh", self.lists.iter(FRESH).collect()),
            ("probed", self.lists.iter(PROBED).collect()),
            ("main", self.lists.iter(MAIN).collect()),
        ]
    }

    fn bookkeeping_bytes(&self) -> usize {
        let own = size_of::<S3Fifo>() - size_of::<Lists>() - size_of::<Ghosts>();
        own + self.lists.bookkeeping_bytes() + self.ghosts.bookkeeping_bytes()
    }

    fn check_invariants(&self) {
        self.lists.check_invariants();
        self.ghosts.check_invariants();
        assert_eq!(
            self.small_len() + self.lists.len(MAIN),
            self.lists.total(),
            "a frame is in a list that the policy doesn't have"
        );
        let fresh = |frame: FrameNo| note::has(&self.lists, frame, note::FRESH);
        assert!(self.lists.iter(FRESH).all(fresh), "a probed frame is in the first half");
    }
}
