//! A small cache under every policy, on both kinds of machine.
//!
//! The [cache] checks the contract at each step: a frame comes back once, the capacity
//! holds, a frame that can't move is never named, and `next` finds something while
//! anything can move. Hit ratios are compared with a FIFO.

mod cache;
mod workload;

use std::{string::ToString, vec::Vec};

use faultless_addr::FrameNo;

use self::cache::{Cache, Frames, MACHINES, Machine};
use self::workload::{Random, fifo, hot_and_scan, zipf};
use super::{Departure, PolicyKind, Verdict, View};

/// Runs `check` for each policy on each machine.
fn for_each(mut check: impl FnMut(PolicyKind, Machine)) {
    for kind in PolicyKind::ALL {
        MACHINES.into_iter().for_each(|machine| check(kind, machine));
    }
}

fn run(kind: PolicyKind, machine: Machine, capacity: u32, pages: &[u64]) -> Cache {
    let mut cache = Cache::new(kind, machine, capacity);
    for (step, &page) in pages.iter().enumerate() {
        cache.load(page);
        if step % 997 == 0 {
            cache.policy.check_invariants();
        }
    }
    cache
}

#[test]
fn zipf_beats_fifo() {
    for seed in 1..4 {
        let pages = zipf(seed, 10_000, 100_000);
        for capacity in [100, 1_000] {
            let baseline = fifo(capacity as usize, &pages);
            for_each(|kind, machine| {
                let ratio = run(kind, machine, capacity, &pages).hit_ratio();
                std::println!("zipf {capacity} {kind} {machine:?}: {ratio:.3}, FIFO {baseline:.3}");
                assert!(ratio >= baseline, "{kind} {machine:?} {ratio:.3} < FIFO {baseline:.3}");
            });
        }
    }
}

#[test]
fn hot_set_survives_a_scan() {
    let pages = hot_and_scan(5, 600, 100_000);
    let baseline = fifo(1_000, &pages);
    for_each(|kind, machine| {
        let ratio = run(kind, machine, 1_000, &pages).hit_ratio();
        std::println!("hot+scan {kind} {machine:?}: {ratio:.3}, FIFO {baseline:.3}");
        let margin = match kind {
            PolicyKind::Sieve | PolicyKind::S3Fifo => 0.05,
            PolicyKind::TwoList | PolicyKind::Clock => 0.0,
        };
        assert!(ratio >= baseline + margin, "{kind} {machine:?} {ratio:.3}, FIFO {baseline:.3}");
    });
}

/// Where to ask costs a fault, pages that are always used must not be asked in turn.
#[test]
fn a_hot_set_that_nearly_fills_memory_is_left_alone() {
    let pages = hot_and_scan(5, 900, 200_000);
    let cache = run(PolicyKind::TwoList, Machine::Unmapping, 1_000, &pages);
    let asked = cache.asked as f64 / pages.len() as f64;
    let ratio = cache.hit_ratio();
    assert!(ratio > 0.46, "{ratio:.3} of 0.5");
    assert!(asked < 0.02, "{asked:.3} of all loads led to a question");
}

#[test]
fn what_is_read_ahead_has_room_beside_pages_that_nobody_uses() {
    const WINDOW: u64 = 50;
    for machine in MACHINES {
        let mut cache = Cache::new(PolicyKind::TwoList, machine, 1_000);
        (0..1_000).for_each(|page| cache.load(page));
        let misses = |cache: &mut Cache, windows: core::ops::Range<u64>| {
            let before = cache.misses;
            for n in windows {
                for stream in [1 << 20, 1 << 30] {
                    let next = stream + (n + 1) * WINDOW;
                    (next..next + WINDOW).for_each(|page| cache.read_ahead(page));
                    (next - WINDOW..next).for_each(|page| cache.load(page));
                }
            }
            cache.misses - before
        };
        misses(&mut cache, 0..40);
        assert_eq!(misses(&mut cache, 40..80), 0, "{machine:?}");
    }
}

#[test]
fn a_loop_that_fits_stays() {
    let pages: Vec<u64> = (0..20_000).map(|step| step % 100).collect();
    for_each(|kind, machine| {
        assert_eq!(run(kind, machine, 100, &pages).misses, 100, "{kind} {machine:?}");
    });
}

#[test]
fn a_scan_leaves_in_order() {
    let pages: Vec<u64> = (0..2_000).collect();
    for_each(|kind, machine| {
        let evicted = run(kind, machine, 200, &pages).evicted;
        assert_eq!(evicted.len(), 1_800);
        let in_order = evicted.windows(2).filter(|pair| pair[1] == pair[0] + 1).count();
        // S3-FIFO and SIEVE leave a frame behind here and there, and never jump often.
        assert!(in_order >= 1_700, "{kind} {machine:?}: only {in_order} of 1800 in a run");
    });
}

#[test]
fn read_ahead_does_not_disturb_the_hot_set() {
    for kind in [PolicyKind::TwoList, PolicyKind::Sieve, PolicyKind::S3Fifo] {
        for machine in MACHINES {
            let mut cache = Cache::new(kind, machine, 500);
            let mut random = Random(9);
            let mut scan = 1 << 20;
            for _ in 0..40 {
                for _ in 0..8 {
                    (0..100).for_each(|_| cache.load(random.below(250)));
                    (scan..scan + 16).for_each(|page| cache.read_ahead(page));
                    (scan..scan + 16).for_each(|page| cache.load(page));
                    scan += 16;
                }
                cache.policy.check_invariants();
            }
            let ratio = cache.hit_ratio();
            assert!(ratio > 0.95, "{kind} {machine:?}: {ratio:.3}");
        }
    }
}

#[test]
fn untouched_read_ahead_goes_first_and_in_order() {
    for kind in [PolicyKind::TwoList, PolicyKind::S3Fifo] {
        let mut cache = Cache::new(kind, Machine::AccessedBits, 100);
        (0..60).for_each(|page| cache.load(page));
        (1_000..1_040).for_each(|page| cache.read_ahead(page));
        (2_000..2_020).for_each(|page| cache.load(page));
        assert!(cache.evicted.iter().copied().eq(1_000..1_020), "{kind}: {:?}", cache.evicted);
    }
}

#[test]
fn a_scan_with_read_ahead_leaves_before_what_was_asked_for() {
    for machine in MACHINES {
        let mut cache = Cache::new(PolicyKind::TwoList, machine, 100);
        (0..60).for_each(|page| cache.load(page));
        (1_000..1_040).for_each(|page| cache.read_ahead(page));
        (1_000..1_040).for_each(|page| cache.load(page));
        (2_000..2_040).for_each(|page| cache.load(page));
        assert!(cache.evicted.iter().copied().eq(1_000..1_040), "{:?}", cache.evicted);
    }
}

#[test]
fn s3_fifo_keeps_a_page_that_comes_back() {
    for machine in MACHINES {
        let mut cache = Cache::new(PolicyKind::S3Fifo, machine, 100);
        (0..150).for_each(|page| cache.load(page));
        assert!(cache.evicted.contains(&0));
        cache.load(0);
        (1_000..1_300).for_each(|page| cache.load(page));
        assert!(cache.resident.contains_key(&0), "{machine:?}");
    }
}

#[test]
fn pinned_frames_are_passed_over() {
    for_each(|kind, machine| {
        let mut cache = Cache::new(kind, machine, 100);
        (0..100).for_each(|page| cache.load(page));
        (0..99).for_each(|page| cache.pin(page));
        (1_000..1_500).for_each(|page| cache.load(page));
        assert!((0..99).all(|page| cache.resident.contains_key(&page)), "{kind} {machine:?}");
        cache.policy.check_invariants();
    });
}

#[test]
fn nothing_to_do_when_nothing_can_move() {
    for_each(|kind, machine| {
        let mut cache = Cache::new(kind, machine, 50);
        assert_eq!(cache.policy.next(&cache.frames), None);
        (0..50).for_each(|page| cache.load(page));
        (0..50).for_each(|page| cache.pin(page));
        assert_eq!(cache.policy.next(&cache.frames), None, "{kind} {machine:?}");
    });
}

/// Counts how often a policy looks at a frame.
struct Counting<'a> {
    frames: &'a Frames,
    looks: core::cell::Cell<u32>,
}

impl View for Counting<'_> {
    fn is_referenced(&self, frame: FrameNo) -> bool {
        self.frames.is_referenced(frame)
    }

    fn is_movable(&self, frame: FrameNo) -> bool {
        self.looks.set(self.looks.get() + 1);
        self.frames.is_movable(frame)
    }
}

#[test]
fn a_search_is_bounded_and_short_on_average() {
    const FRAMES: u32 = 3_000;
    for_each(|kind, machine| {
        let mut cache = Cache::new(kind, machine, FRAMES);
        let pages = u64::from(FRAMES);
        (0..pages).for_each(|page| cache.load(page));
        // A third is pinned, in one run: the worst for lists that keep the order.
        (0..pages / 3).for_each(|page| cache.pin(page));
        let (mut total, mut calls) = (0, 0);
        for _ in 0..4 * FRAMES {
            let view = Counting { frames: &cache.frames, looks: core::cell::Cell::new(0) };
            let verdict = cache.policy.next(&view).expect("two thirds can move");
            let looks = view.looks.get();
            assert!(looks <= 2 * FRAMES, "{kind} {machine:?}: {looks} looks in a call");
            (total, calls) = (total + looks, calls + 1);
            match verdict {
                Verdict::Unreference(frame) => cache.frames.0[frame.index()].referenced = false,
                Verdict::Evict(frame) => {
                    cache.drop_page(frame, Departure::Evicted);
                    cache.load(1 << 20 | calls);
                }
            }
        }
        let mean = f64::from(total) / calls as f64;
        assert!(mean < 20.0, "{kind} {machine:?}: {mean:.1} looks per call");
        cache.policy.check_invariants();
    });
}

#[test]
fn anything_at_all_keeps_the_contract() {
    for seed in 0..30 {
        for_each(|kind, machine| {
            let mut random = Random(seed);
            let capacity = 1 + random.below(80) as u32;
            let mut cache = Cache::new(kind, machine, capacity);
            for _ in 0..3_000 {
                let page = random.below(3 * u64::from(capacity));
                anything(&mut cache, &mut random, page);
                cache.policy.check_invariants();
            }
        });
    }
}

/// One random step. Pins leave one frame to work with.
fn anything(cache: &mut Cache, random: &mut Random, page: u64) {
    let pinned = cache.frames.0.iter().filter(|frame| frame.pins > 0).count();
    match random.below(10) {
        0 => cache.read_ahead(page),
        1 | 2 => cache.store(page),
        3 if cache.resident.contains_key(&page) && pinned + 2 < cache.frames.0.len() => {
            cache.pin(page);
        }
        4 if pinned > 0 && random.below(8) == 0 => {
            cache.frames.0.iter_mut().for_each(|frame| frame.pins = 0);
        }
        5 => {
            if let Some(&frame) = cache.resident.get(&page)
                && cache.frames.is_movable(frame)
            {
                cache.frames.0[frame.index()].dirty = false;
                cache.drop_page(frame, Departure::Dropped);
            }
        }
        _ => cache.load(page),
    }
}

#[test]
fn names_parse() {
    for kind in PolicyKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
        assert_eq!(kind.build(4).name(), kind.name());
    }
    assert!("lru".parse::<PolicyKind>().is_err());
}

#[test]
fn bookkeeping_is_small() {
    for kind in PolicyKind::ALL {
        let bytes = kind.build(10_000).bookkeeping_bytes();
        let per_frame_max = if kind == PolicyKind::S3Fifo { 24 } else { 16 };
        assert!(bytes <= 10_000 * per_frame_max, "{kind}: {bytes} bytes for 10,000 frames");
    }
}
