//! The swap map against a vector of counts, and what it promises of places.

use std::vec::Vec;

use faultless_addr::{FrameNo, PageIndex, PageRange};
use proptest::prelude::*;

use super::*;
use crate::object::cache::{NodePool, PageCache, PageOf};

#[derive(Clone, Copy, Debug)]
enum Step {
    Alloc(u32),
    Get(usize),
    Put(usize),
    BeginPunch(u32),
    EndPunch,
    Grow(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u32..90).prop_map(Step::Alloc),
        2 => any::<usize>().prop_map(Step::Get),
        40 => any::<usize>().prop_map(Step::Put),
        2 => (1u32..40).prop_map(Step::BeginPunch),
        2 => Just(Step::EndPunch),
        1 => (1u32..100).prop_map(Step::Grow),
    ]
}

/// Counts of holders, and the runs that are being punched.
struct Model {
    holders: Vec<u32>,
    punching: Vec<SwapRun>,
}

impl Model {
    fn is_punching(&self, slot: SwapSlot) -> bool {
        self.punching.iter().any(|run| run.contains(slot))
    }

    /// Some held slot, by a number.
    fn held(&self, pick: usize) -> Option<SwapSlot> {
        let held: Vec<usize> =
            (0..self.holders.len()).filter(|slot| self.holders[*slot] > 0).collect();
        (!held.is_empty()).then(|| SwapSlot(held[pick % held.len()] as u32))
    }

    fn free(&self) -> u32 {
        let punching: u32 = self.punching.iter().map(|run| run.len).sum();
        self.holders.iter().filter(|holders| **holders == 0).count() as u32 - punching
    }

    fn apply(&mut self, step: Step, map: &mut SwapMap) {
        match step {
            Step::Alloc(wanted) => {
                let run = map.alloc_run(wanted);
                assert_eq!(run.is_none(), self.free() == 0);
                for slot in run.into_iter().flat_map(SwapRun::iter) {
                    assert!(!self.is_punching(slot), "{slot:?} was being punched");
                    assert_eq!(core::mem::replace(&mut self.holders[slot.index()], 1), 0);
                }
                assert!(run.is_none_or(|run| run.len <= wanted));
            }
            Step::Get(pick) => {
                let Some(slot) = self.held(pick) else { return };
                map.get(slot).unwrap();
                self.holders[slot.index()] += 1;
            }
            Step::Put(pick) => {
                let Some(slot) = self.held(pick) else { return };
                self.holders[slot.index()] -= 1;
                let left = if self.holders[slot.index()] == 0 { Put::Freed } else { Put::Held };
                assert_eq!(map.put(slot), left);
            }
            Step::BeginPunch(max) => {
                let Some(run) = map.begin_punch(max) else { return };
                assert!(run.iter().all(|slot| self.holders[slot.index()] == 0));
                assert!(run.iter().all(|slot| !self.is_punching(slot)));
                self.punching.push(run);
            }
            Step::EndPunch => self.punching.pop().into_iter().for_each(|run| map.end_punch(run)),
            Step::Grow(more) => {
                map.grow(map.slots() + more);
                self.holders.resize(map.slots() as usize, 0);
            }
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_a_vector_of_counts(
        slots in 0u32..300,
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let mut map = SwapMap::new(slots);
        let mut model = Model { holders: std::vec![0; slots as usize], punching: Vec::new() };
        for step in steps {
            model.apply(step, &mut map);
            map.check_invariants();
            prop_assert_eq!(map.free(), model.free());
            prop_assert_eq!(map.is_full(), model.free() == 0);
            for (at, holders) in model.holders.iter().enumerate() {
                prop_assert_eq!(u32::from(map.holders(SwapSlot(at as u32))), *holders);
            }
        }
    }
}

fn run(start: u32, len: u32) -> SwapRun {
    SwapRun { start: SwapSlot(start), len }
}

#[test]
fn runs_follow_each_other() {
    let mut map = SwapMap::new(1000);
    assert_eq!(map.alloc_run(10), Some(run(0, 10)));
    assert_eq!(map.alloc_run(100), Some(run(10, 100)));
    assert_eq!(map.alloc(), Some(SwapSlot(110)));
    // What is freed behind the cursor waits until the area has been gone through.
    run(10, 100).iter().for_each(|slot| assert_eq!(map.put(slot), Put::Freed));
    assert_eq!(map.alloc_run(10), Some(run(111, 10)));
}

#[test]
fn a_run_goes_to_an_empty_cluster_rather_than_into_gaps() {
    let mut map = SwapMap::new(256);
    while map.alloc().is_some() {}
    // Room for eight in gaps of four near the cursor, and an empty cluster behind.
    for slot in [0, 1, 2, 3, 10, 11, 12, 13].into_iter().chain(128..192) {
        map.put(SwapSlot(slot));
    }
    assert_eq!(map.alloc_run(8), Some(run(128, 8)));
    assert_eq!(map.alloc_run(56), Some(run(136, 56)));
    // No cluster is empty: the longest run that there is, then what is left.
    assert_eq!(map.alloc_run(8), Some(run(0, 4)));
    assert_eq!(map.alloc_run(8), Some(run(10, 4)));
    assert_eq!(map.alloc_run(8), None);
}

#[test]
fn exhaustion_is_none_and_ends_with_a_put() {
    let mut map = SwapMap::new(70);
    assert_eq!(map.alloc_run(1000), Some(run(0, 70)));
    assert!(map.is_full());
    assert_eq!((map.alloc(), map.alloc_run(3)), (None, None));
    map.put(SwapSlot(69));
    assert_eq!(map.alloc(), Some(SwapSlot(69)));
    map.grow(72);
    assert_eq!(map.alloc_run(9), Some(run(70, 2)));
    assert_eq!(SwapMap::new(0).alloc(), None);
}

#[test]
fn a_window_is_aligned_and_ends_at_gaps() {
    let mut map = SwapMap::new(20);
    map.alloc_run(20).unwrap();
    for slot in [0, 5, 12] {
        map.put(SwapSlot(slot));
    }
    let window = |slot| map.cluster_of(SwapSlot(slot), 8);
    assert_eq!((window(4), window(1)), (run(1, 4), run(1, 4)));
    assert_eq!((window(6), window(8)), (run(6, 2), run(8, 4)));
    assert_eq!(window(19), run(16, 4), "the area ends before the window");
    assert_eq!(map.cluster_of(SwapSlot(4), 1), run(4, 1));
}

#[test]
fn holders_are_counted_up_to_a_limit() {
    let mut map = SwapMap::new(1);
    let slot = map.alloc().unwrap();
    for _ in 1..u16::MAX - 1 {
        map.get(slot).unwrap();
    }
    assert_eq!(map.get(slot), Err(TooManyHolders(slot)));
    assert_eq!(map.holders(slot), u16::MAX - 1);
    for _ in 1..u16::MAX - 1 {
        assert_eq!(map.put(slot), Put::Held);
    }
    assert_eq!(map.put(slot), Put::Freed);
}

#[test]
fn slots_used_again_are_not_punched() {
    let mut map = SwapMap::new(64);
    map.alloc_run(64).unwrap();
    assert_eq!(map.begin_punch(64), None);
    run(8, 8).iter().for_each(|slot| assert_eq!(map.put(slot), Put::Freed));
    assert_eq!(map.alloc_run(4), Some(run(8, 4)));
    assert_eq!(map.stale(), 4);
    assert_eq!(map.begin_punch(64), Some(run(12, 4)));
    assert!(map.is_full(), "slots that are being punched can't be had");
    map.end_punch(run(12, 4));
    assert_eq!((map.begin_punch(64), map.free(), map.stale()), (None, 4, 0));
}

#[test]
fn a_slot_costs_few_bytes() {
    let map = SwapMap::new(1 << 20);
    assert!(map.bookkeeping_bytes() < (1 << 20) * 5 / 2, "{}", map.bookkeeping_bytes());
}

/// The swap cache: the slots of the frames whose bytes are in swap as well.
struct Slots(Vec<SwapSlot>);

impl PageOf for Slots {
    fn page_of(&self, frame: FrameNo) -> PageIndex {
        self.0[frame.index()].page()
    }

    fn is_dirty(&self, _: FrameNo) -> bool {
        false
    }
}

#[test]
fn the_page_cache_is_the_swap_cache() {
    let mut map = SwapMap::new(1000);
    let slots = Slots(map.alloc_run(40).unwrap().iter().collect());
    let (mut pool, mut cache) = (NodePool::default(), PageCache::default());
    for (frame, slot) in slots.0.iter().enumerate().filter(|(frame, _)| frame % 2 == 0) {
        cache.insert(slot.page(), FrameNo(frame as u32), &mut pool, &slots);
    }
    let wanted = SwapSlot(7);
    let window = map.cluster_of(wanted, 8);
    let frame_of = |slot: SwapSlot| cache.get(slot.page(), &pool, &slots);
    let to_read: Vec<SwapSlot> = window.iter().filter(|slot| frame_of(*slot).is_none()).collect();
    assert_eq!(to_read, [1, 3, 5, 7].map(SwapSlot), "what is in memory isn't read again");
    let first = cache.first_in(PageRange::new(wanted.page(), PageRange::all().end), &pool, &slots);
    assert_eq!(first, Some((PageIndex(8), FrameNo(8))));
}
