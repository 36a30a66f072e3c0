//! SIEVE, with a hand that probes ahead of the hand that judges.
//!
//! ```text
//!   oldest                                                        newest
//!   [ a ] [ b ] [ c ] [ d ] [ e ] [ f ] [ g ] [ h ] [ i ] [ j ] ◄── insert
//!                       ▲   ╰─── ahead ───╯     ▲
//!                     judge                   probe
//!    keepers, in place,        probed: used     fresh: the reference
//!    used since last time?     again or not?    they came with says nothing
//! ```
//!
//! The judging hand goes from old to new. A page that was used since the hand came by
//! last stays *where it is*, with its reference cleared; another one is evicted. At the
//! new end the hand starts over with the oldest. As survivors don't move, the hand
//! spends its time among the newcomers, and those that are used once leave quickly.
//!
//! In the paper a page arrives unvisited. Here it arrives referenced, so something must
//! clear that first reference some time before the judging hand arrives, or every
//! newcomer would pass for a keeper once. That is the probing hand: it runs up to an
//! eighth of all frames ahead, and looks only at fresh pages. How far ahead is how long
//! a page has to show a second use.
//!
//! Pages read ahead and never used are unreferenced on a machine with accessed bits
//! and go when the judging hand meets them; it meets newcomers in order.
//!
//! Source: Yazhuo Zhang et al., "SIEVE is simpler than LRU: an efficient turn-key
//! eviction algorithm for web caches" (NSDI 2024). The probing hand is from the
//! two-handed clock of 4.3BSD (Leffler et al., 1989), where the distance between the
//! hands has the same meaning.

use alloc::vec;
use alloc::vec::Vec;
use core::mem::size_of;

use faultless_addr::FrameNo;

use super::{
    Arrival, Departure, PageKey, Policy, PolicyKind, Verdict, View, is_referenced, looks_max, note,
    unreference,
};
use crate::list::{ListId, Lists};

const QUEUE: ListId = ListId::new(0);

/// The probing hand runs ahead by one frame in this many.
const AHEAD_SHARE: u32 = 8;

/// SIEVE: survivors stay in place and the hand stays with the newcomers.
pub struct Sieve {
    lists: Lists,
    /// The next frame to judge; the oldest if there is none.
    judge: Option<FrameNo>,
    /// The last frame that the probing hand has passed on this round, while that is
    /// still ahead of the judging hand.
    probed: Option<FrameNo>,
    /// How many frames lie ahead: from `judge` to `probed`, both included.
    ahead: u32,
    ahead_max: u32,
}

/// What looking at one frame led to.
enum Step {
    Done(Verdict),
    Passed,
}

impl Sieve {
    /// The policy for the frames `0..frames`.
    pub fn new(frames: u32) -> Sieve {
        let ahead_max = (frames / AHEAD_SHARE).max(1);
        Sieve { lists: Lists::new(frames), judge: None, probed: None, ahead: 0, ahead_max }
    }

    /// The frame that the judging hand points at: at the end it starts over.
    fn judged_next(&self) -> Option<FrameNo> {
        self.judge.or_else(|| self.lists.front(QUEUE))
    }

    /// The frame that the probing hand looks at next. It waits at the new end for the
    /// judging hand to get there.
    fn probed_next(&self) -> Option<FrameNo> {
        match self.probed {
            Some(last) => self.lists.next(last),
            None => self.judged_next(),
        }
    }

    /// The probing hand passes `frame`.
    fn probe(&mut self, frame: FrameNo, view: &dyn View) -> Step {
        note::add(&mut self.lists, frame, note::AHEAD);
        self.probed = Some(frame);
        self.ahead += 1;
        let fresh = note::has(&self.lists, frame, note::FRESH);
        if fresh && view.is_movable(frame) {
            if is_referenced(&self.lists, view, frame) {
                return Step::Done(unreference(&mut self.lists, frame));
            }
            note::clear(&mut self.lists, frame, note::FRESH);
        }
        Step::Passed
    }

    /// The judging hand passes `frame`.
    fn judge(&mut self, frame: FrameNo, view: &dyn View) -> Step {
        self.pass(frame);
        if !view.is_movable(frame) {
            return Step::Passed;
        }
        Step::Done(match is_referenced(&self.lists, view, frame) {
            true => unreference(&mut self.lists, frame),
            false => Verdict::Evict(frame),
        })
    }

    /// Moves the judging hand from `frame`, which it points at, to the next newer one.
    fn pass(&mut self, frame: FrameNo) {
        self.judge = self.lists.next(frame);
        if note::has(&self.lists, frame, note::AHEAD) {
            note::clear(&mut self.lists, frame, note::AHEAD);
            self.ahead -= 1;
        }
        if self.probed == Some(frame) {
            self.probed = None;
        }
    }

    /// Moves the probing hand back from `frame`, which leaves.
    fn retreat(&mut self, frame: FrameNo) {
        if note::has(&self.lists, frame, note::AHEAD) {
            self.ahead -= 1;
        }
        if self.probed == Some(frame) {
            let before = self.lists.prev(frame);
            self.probed = before.filter(|&f| note::has(&self.lists, f, note::AHEAD));
        }
    }
}

impl Policy for Sieve {
    fn name(&self) -> &'static str {
        PolicyKind::Sieve.name()
    }

    fn insert(&mut self, frame: FrameNo, _key: PageKey, _how: Arrival) {
        self.lists.set_tag(frame, note::FRESH);
        self.lists.push_back(QUEUE, frame);
    }

    fn touch(&mut self, frame: FrameNo) {
        note::add(&mut self.lists, frame, note::TOUCHED);
    }

    fn remove(&mut self, frame: FrameNo, _key: PageKey, _why: Departure) {
        if self.judge == Some(frame) {
            self.judge = self.lists.next(frame);
        }
        self.retreat(frame);
        self.lists.remove(frame).expect("the policy has the frame");
    }

    fn next(&mut self, view: &dyn View) -> Option<Verdict> {
        // Each frame is passed by both hands, so twice as many looks go once around.
        for _ in 0..2 * looks_max(self.lists.total()) {
            let judged = self.judged_next()?;
            let step = match self.probed_next() {
                Some(frame) if self.ahead < self.ahead_max => self.probe(frame, view),
                _ => self.judge(judged, view),
            };
            if let Step::Done(verdict) = step {
                return Some(verdict);
            }
        }
        None
    }

    fn lists(&self) -> Vec<(&'static str, Vec<FrameNo>)> {
        vec![("queue", self.lists.iter(QUEUE).collect())]
    }

    fn bookkeeping_bytes(&self) -> usize {
        size_of::<Sieve>() - size_of::<Lists>() + self.lists.bookkeeping_bytes()
    }

    fn check_invariants(&self) {
        self.lists.check_invariants();
        assert_eq!(self.lists.len(QUEUE), self.lists.total(), "a frame is not in the queue");
        assert!(self.ahead <= self.ahead_max, "the probing hand runs too far");
        assert_eq!(self.probed.is_some(), self.ahead > 0, "the probing hand is lost");
        let marked = |&frame: &FrameNo| note::has(&self.lists, frame, note::AHEAD);
        let total = self.lists.iter(QUEUE).filter(marked).count();
        assert_eq!(total, self.ahead as usize, "another number of frames is ahead");
        let run = core::iter::successors(self.judged_next(), |&f| self.lists.next(f));
        let last = run.take_while(marked).last();
        assert_eq!(last, self.probed, "the frames ahead are not a run from hand to hand");
    }
}
