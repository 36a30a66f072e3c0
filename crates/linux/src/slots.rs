//! Which slots are free, and how many physical pages there are.
//!
//! | state of a slot | has a page | changes to |
//! |---|---|---|
//! | *hollow* | no | used ([`take_hollow`](Slots::take_hollow), [`take_for_back`](Slots::take_for_back)) |
//! | *used* | yes, but for an instant at either end | ready ([`give_ready`](Slots::give_ready)), hollow ([`give_hollow`](Slots::give_hollow)) |
//! | *ready* | yes | used ([`take_for_back`](Slots::take_for_back), [`take_ready`](Slots::take_ready)) |
//!
//! `physical` counts pages of slots and pages at addresses of programs together. It
//! is raised before a page is made and lowered after one is gone, so it is never less
//! than what there is, and it never passes `bound`:
//!
//! - at most `frames` pages belong to frames: that is the driver's promise;
//! - at most `spare` are second pages of a frame that is being copied (`copying`);
//! - all others are ready, and whoever needs room drops those.

use crate::bits::{Bits, WORD, find_run, find_words};

/// Slots `start..start + len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub start: u32,
    pub len: u32,
}

impl Run {
    pub const EMPTY: Run = Run { start: 0, len: 0 };

    /// Is it made of whole words?
    pub fn is_whole_words(self) -> bool {
        let is_even = |slots: u32| (slots as usize).is_multiple_of(WORD);
        self.len > 0 && is_even(self.start) && is_even(self.len)
    }

    /// The first `len` of it; what is left stays.
    pub fn split_front(&mut self, len: u32) -> Run {
        let front = Run { start: self.start, len };
        self.start += len;
        self.len -= len;
        front
    }
}

/// Ready runs shorter than this aren't looked for, unless no more is wanted.
const SHORT_RUN: u32 = 4;

/// Slots in one run at most.
pub(crate) const MAX_RUN: u32 = 512;

/// Slots for frames that are to be backed, of which some have no page yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub run: Run,
    /// Bit `i` is set where slot `run.start + i` has no page.
    hollow: [u64; MAX_RUN as usize / 64],
}

impl Taken {
    /// How many have no page.
    pub fn hollow_count(&self) -> u32 {
        self.hollow.iter().map(|word| word.count_ones()).sum()
    }

    /// Has this slot of the run no page?
    pub fn is_hollow(&self, slot: u32) -> bool {
        let i = slot - self.run.start;
        self.hollow[i as usize / 64] >> (i % 64) & 1 == 1
    }

    /// The runs of slots without a page.
    pub fn hollow_runs(&self) -> impl Iterator<Item = Run> + '_ {
        let end = self.run.start + self.run.len;
        let mut at = self.run.start;
        std::iter::from_fn(move || {
            let from = (at..end).find(|&slot| self.is_hollow(slot))?;
            at = (from..end).find(|&slot| !self.is_hollow(slot)).unwrap_or(end);
            Some(Run { start: from, len: at - from })
        })
    }
}

/// `len`, half of it, and so on, down to `least` (or to `len`, if that is less).
fn halves(len: u32, least: u32) -> impl Iterator<Item = u32> {
    let least = least.min(len).max(1);
    std::iter::successors(Some(len), |len| Some(len / 2)).take_while(move |len| *len >= least)
}

/// As many of `wanted` neighbours as whole words have, or fewer where no so many are together.
fn whole_words(slots: &Bits, hint: usize, wanted: u32) -> Option<Run> {
    let even = |len: u32| len - len % WORD as u32;
    let mut lens = halves(even(wanted), WORD as u32).map(even);
    lens.find_map(|len| exact_words(slots, hint, len))
}

/// `len` neighbours, if whole words have just so many.
fn exact_words(slots: &Bits, hint: usize, len: u32) -> Option<Run> {
    let count = len as usize;
    if !count.is_multiple_of(WORD) || slots.count() < count {
        return None;
    }
    let start = find_words(slots.words(), hint, count / WORD, |i| slots.word(i))?;
    Some(Run { start: start as u32, len })
}

/// All slots of a pool. Behind its one mutex.
#[derive(Debug)]
pub(crate) struct Slots {
    ready: Bits,
    hollow: Bits,
    /// The word where the next search for a run begins.
    hint: usize,
    physical: usize,
    copying: usize,
    bound: usize,
    spare: usize,
}

impl Slots {
    /// `slots` hollow ones.
    pub fn new(slots: u32, frames: u32, spare: u32) -> Slots {
        Slots {
            ready: Bits::none(slots as usize),
            hollow: Bits::all(slots as usize),
            hint: 0,
            physical: 0,
            copying: 0,
            bound: frames as usize + spare as usize,
            spare: spare as usize,
        }
    }

    /// Bytes of the tables.
    pub fn bookkeeping_bytes(&self) -> usize {
        2 * (self.ready.words() + self.ready.words().div_ceil(64)) * size_of::<u64>()
    }

    /// How many free slots have pages.
    pub fn ready(&self) -> usize {
        self.ready.count()
    }

    /// Physical pages, at most.
    pub fn physical(&self) -> usize {
        self.physical
    }

    /// What `physical` never passes.
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// Takes up to `wanted` free slots that are neighbours, for long runs whole words of them
    /// where there are such: pages that came together stay so (see `quarry`). Slots with pages are
    /// preferred, also in a shorter run: making a page costs more than another piece of
    /// a read. Only where all such runs are short is one taken that is partly hollow;
    /// as the pages dropped to make room are then the scattered ones, the pool becomes
    /// whole again by itself.
    pub fn take_for_back(&mut self, wanted: u32) -> Option<Taken> {
        if wanted == 1 {
            return self.take_one();
        }
        let whole = wanted.min(MAX_RUN);
        if let Some(run) = whole_words(&self.ready, self.hint, whole) {
            return Some(self.take_mixed(run));
        }
        let ready = halves(whole, SHORT_RUN).find_map(|len| Some((self.find_ready(len)?, len)));
        let mut free = halves(whole, 2).map(|len| Some((self.find_free(len)?, len)));
        let found = ready.or_else(|| free.find_map(|found| found));
        if let Some((start, len)) = found {
            return Some(self.take_mixed(Run { start: start as u32, len }));
        }
        self.take_one()
    }

    fn take_one(&mut self) -> Option<Taken> {
        let start = self.ready.first().or_else(|| self.hollow.first())?;
        Some(self.take_mixed(Run { start: start as u32, len: 1 }))
    }

    fn find_ready(&self, len: u32) -> Option<usize> {
        if self.ready.count() < len as usize {
            return None;
        }
        find_run(self.ready.words(), self.hint, len as usize, |i| self.ready.word(i))
    }

    fn find_hollow(&self, len: u32) -> Option<Run> {
        exact_words(&self.hollow, self.hint, len).or_else(|| {
            let words = self.hollow.words();
            let start = find_run(words, self.hint, len as usize, |i| self.hollow.word(i))?;
            Some(Run { start: start as u32, len })
        })
    }

    fn find_free(&self, len: u32) -> Option<usize> {
        find_run(self.ready.words(), self.hint, len as usize, |i| {
            self.ready.word(i) | self.hollow.word(i)
        })
    }

    fn take_mixed(&mut self, run: Run) -> Taken {
        let mut hollow = [0; MAX_RUN as usize / 64];
        for slot in run.start..run.start + run.len {
            if self.hollow.has(slot as usize) {
                let i = slot - run.start;
                hollow[i as usize / 64] |= 1 << (i % 64);
                self.hollow.remove(slot as usize, 1);
            } else {
                self.ready.remove(slot as usize, 1);
            }
        }
        self.advance(run);
        Taken { run, hollow }
    }

    /// Takes up to `wanted` hollow slots that are neighbours, as [`take_for_back`].
    ///
    /// [`take_for_back`]: Slots::take_for_back
    pub fn take_hollow(&mut self, wanted: u32) -> Option<Run> {
        let mut len = wanted.min(MAX_RUN);
        while len > 1 {
            if let Some(run) = self.find_hollow(len) {
                self.hollow.remove(run.start as usize, len as usize);
                self.advance(run);
                return Some(run);
            }
            len /= 2;
        }
        let start = self.hollow.first()?;
        self.hollow.remove(start, 1);
        Some(Run { start: start as u32, len: 1 })
    }

    /// Where fewer than `wanted` are ready: takes `count` hollow slots, neighbours, and counts
    /// their pages, which the caller is about to make; but only if there is room for all.
    pub fn take_block(&mut self, wanted: u32, count: u32) -> Option<Run> {
        let room = self.physical + count as usize <= self.bound;
        if !room || self.ready.count() >= wanted as usize {
            return None;
        }
        let run = self.take_hollow(count)?;
        if run.len < count {
            self.give_hollow(run);
            return None;
        }
        self.physical += count as usize;
        Some(run)
    }

    /// Takes up to `wanted` ready slots, neighbours, to drop their pages.
    pub fn take_ready(&mut self, wanted: u32) -> Option<Run> {
        let start = self.ready.first()?;
        let len = self.ready.run_from(start, wanted.min(MAX_RUN) as usize);
        self.ready.remove(start, len);
        Some(Run { start: start as u32, len: len as u32 })
    }

    fn advance(&mut self, run: Run) {
        if run.len > 1 {
            self.hint = (run.start + run.len) as usize / 64 % self.hollow.words();
        }
    }

    /// Used slots that have pages are free.
    pub fn give_ready(&mut self, run: Run) {
        self.ready.insert(run.start as usize, run.len as usize);
    }

    /// Used slots that have no pages are free.
    pub fn give_hollow(&mut self, run: Run) {
        self.hollow.insert(run.start as usize, run.len as usize);
    }

    /// Counts `pages` that are about to be made, or answers how many must be dropped
    /// before that.
    pub fn try_make(&mut self, pages: u32) -> Result<(), u32> {
        let after = self.physical + pages as usize;
        if after > self.bound {
            return Err((after - self.bound) as u32);
        }
        self.physical = after;
        Ok(())
    }

    /// `pages` are gone, or were not made after all.
    pub fn unmade(&mut self, pages: u32) {
        self.physical -= pages as usize;
    }

    /// How many of `wanted` frames may have second pages now; 0 is "later".
    pub fn begin_copying(&mut self, wanted: u32) -> u32 {
        let granted = (wanted as usize).min(self.spare - self.copying);
        self.copying += granted;
        granted as u32
    }

    /// Frames have one page again.
    pub fn end_copying(&mut self, pages: u32) {
        self.copying -= pages as usize;
    }

    /// Panics where the tables contradict each other.
    #[cfg(test)]
    pub fn check_invariants(&self) {
        for word in 0..self.ready.words() {
            assert_eq!(self.ready.word(word) & self.hollow.word(word), 0, "ready and hollow");
        }
        assert!(self.physical <= self.bound && self.copying <= self.spare);
        assert!(self.ready.count() <= self.physical, "ready slots have pages");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, PartialEq, Debug)]
    enum State {
        Hollow,
        Ready,
        Used,
    }

    const SLOTS: u32 = 200;

    fn of(model: &[State], run: Run) -> &[State] {
        &model[run.start as usize..(run.start + run.len) as usize]
    }

    fn longest(model: &[State], is: impl Fn(State) -> bool) -> u32 {
        let mut best = 0;
        let mut now = 0;
        for &state in model {
            now = if is(state) { now + 1 } else { 0 };
            best = best.max(now);
        }
        best
    }

    proptest! {
        /// Every step against a list of states: what is taken was free, a run that
        /// exists in full is found, and pages are counted.
        #[test]
        fn slots_agree_with_a_list(steps in prop::collection::vec((0u8..5, 1u32..40), 1..200)) {
            let mut slots = Slots::new(SLOTS, 80, 20);
            let mut model = vec![State::Hollow; SLOTS as usize];
            let mut held: Vec<Run> = Vec::new();
            for (step, n) in steps {
                match step {
                    0 | 1 => {
                        let whole = longest(&model, |s| s != State::Used) >= n;
                        let ready = longest(&model, |s| s == State::Ready);
                        let Some(taken) = slots.take_for_back(n) else {
                            prop_assert!(model.iter().all(|&s| s == State::Used));
                            continue;
                        };
                        prop_assert!(taken.run.len <= n);
                        prop_assert!(!whole || taken.run.len == n || taken.run.len >= SHORT_RUN);
                        let was = of(&model, taken.run);
                        prop_assert!(was.iter().all(|&s| s != State::Used));
                        let hollow = was.iter().filter(|&&s| s == State::Hollow).count() as u32;
                        prop_assert_eq!(taken.hollow_count(), hollow);
                        prop_assert!(ready < n || (hollow == 0 && taken.run.len == n));
                        prop_assert!(ready < n.max(2 * SHORT_RUN) || hollow == 0);
                        for run in taken.hollow_runs() {
                            prop_assert!(of(&model, run).iter().all(|&s| s == State::Hollow));
                        }
                        let len = taken.hollow_runs().map(|run| run.len).sum::<u32>();
                        prop_assert_eq!(len, hollow);
                        if slots.try_make(hollow).is_err() {
                            // No room: everything goes back as it was.
                            for i in taken.run.start..taken.run.start + taken.run.len {
                                let one = Run { start: i, len: 1 };
                                match model[i as usize] {
                                    State::Hollow => slots.give_hollow(one),
                                    _ => slots.give_ready(one),
                                }
                            }
                            continue;
                        }
                        let (a, z) = (taken.run.start as usize, taken.run.len as usize);
                        model[a..a + z].fill(State::Used);
                        held.push(taken.run);
                    }
                    2 => {
                        let whole = longest(&model, |s| s == State::Hollow) >= n;
                        let Some(run) = slots.take_hollow(n) else { continue };
                        prop_assert!(!whole || run.len == n);
                        prop_assert!(of(&model, run).iter().all(|&s| s == State::Hollow));
                        slots.give_hollow(run);
                    }
                    3 => {
                        let Some(run) = slots.take_ready(n) else {
                            prop_assert!(model.iter().all(|&s| s != State::Ready));
                            continue;
                        };
                        prop_assert!(of(&model, run).iter().all(|&s| s == State::Ready));
                        let (a, z) = (run.start as usize, run.len as usize);
                        model[a..a + z].fill(State::Hollow);
                        slots.give_hollow(run);
                        slots.unmade(run.len);
                    }
                    _ => {
                        if held.is_empty() { continue }
                        let run = held.swap_remove(n as usize % held.len());
                        let (a, z) = (run.start as usize, run.len as usize);
                        model[a..a + z].fill(State::Ready);
                        slots.give_ready(run);
                    }
                }
                slots.check_invariants();
                let pages = model.iter().filter(|&&s| s != State::Hollow).count();
                prop_assert_eq!(slots.physical(), pages);
            }
        }
    }

    #[test]
    fn a_block_is_taken_whole_and_within_the_bound() {
        let mut slots = Slots::new(64, 24, 8);
        let block = slots.take_block(4, 16).unwrap();
        assert_eq!((block.len, slots.physical()), (16, 16));
        assert_eq!(slots.take_block(4, 17), None, "33 pages of 32");
        slots.give_ready(Run { len: 4, ..block });
        assert_eq!(slots.take_block(4, 16), None, "four are ready");
        assert_eq!(slots.take_block(5, 16).unwrap().len, 16);
        // Neighbours, or none: the rest is in two parts.
        let mut slots = Slots::new(64, 64, 0);
        let parts = [20, 4].map(|len| slots.take_hollow(len).unwrap());
        slots.give_hollow(parts[0]);
        assert_eq!(slots.take_block(64, 41), None);
        assert_eq!((slots.physical(), slots.take_block(64, 40).unwrap().start), (0, 24));
        slots.check_invariants();
    }

    #[test]
    fn copying_never_passes_the_spare_part() {
        let mut slots = Slots::new(64, 8, 4);
        assert_eq!(slots.begin_copying(3), 3);
        assert_eq!(slots.begin_copying(3), 1);
        assert_eq!(slots.begin_copying(3), 0);
        slots.end_copying(2);
        assert_eq!(slots.begin_copying(64), 2);
    }

    #[test]
    fn try_make_says_how_much_to_drop() {
        let mut slots = Slots::new(64, 8, 4);
        assert_eq!(slots.try_make(10), Ok(()));
        assert_eq!(slots.try_make(5), Err(3));
        slots.unmade(3);
        assert_eq!(slots.try_make(5), Ok(()));
    }
}
