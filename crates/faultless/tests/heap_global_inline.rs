//! As `heap_global`, in a process whose threads serve their faults themselves; one after
//! the other, as README's support table says why.

mod family;

use std::collections::HashMap;
use std::path::PathBuf;

use faultless::{Delivery, GlobalHeap, Vm};

#[global_allocator]
static HEAP: GlobalHeap = GlobalHeap::with_threshold(GlobalHeap::THRESHOLD_MIN);

const MEMORY: u64 = 4 << 20;

/// A vector that grows, is sorted and shrinks, and a map, each larger than the budget.
fn outgrow(thread: u64) {
    let mut numbers = Vec::new();
    for number in 0..600_000u64 {
        numbers.push((number ^ thread).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    assert!(HEAP.has(numbers.as_ptr().cast()));
    numbers.sort_unstable();
    assert!(numbers.is_sorted());
    numbers.dedup();
    assert_eq!(numbers.len(), 600_000);
    let mut map = HashMap::new();
    for key in 0..60_000 {
        map.insert(key, [key, !key, key ^ thread, 0, 0, 0, 0, 0]);
    }
    drop(numbers);
    map.retain(|key, _| key % 3 == 0);
    map.shrink_to_fit();
    assert!((0..60_000).step_by(3).all(|key| map[&key][..3] == [key, !key, key ^ thread]));
}

#[test]
fn threads_outgrow_the_budget() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let vm = Vm::builder().memory(MEMORY).swap(dir, 256 << 20).handlers(1).build().unwrap();
    HEAP.serve_from_by(&vm, Delivery::Inline).unwrap();
    for thread in 0..3 {
        std::thread::spawn(move || outgrow(thread)).join().unwrap();
    }
    // In the middle of either: both sides go on, with what they had and with more.
    let mut numbers: Vec<u64> = (0..600_000).collect();
    let mut map: HashMap<u64, [u64; 8]> = (0..40_000).map(|key| (key, [key; 8])).collect();
    let mut go_on = |salt: u64| {
        numbers.iter_mut().for_each(|number| *number ^= salt);
        numbers.extend((600_000..900_000).map(|number| number ^ salt));
        map.extend((40_000..70_000).map(|key| (key, [key ^ salt; 8])));
        assert!((0..).zip(&numbers).all(|(n, number)| *number == n ^ salt));
        for key in 0..70_000 {
            assert_eq!(map[&key], [if key < 40_000 { key } else { key ^ salt }; 8]);
        }
        outgrow(salt);
    };
    let child = family::fork(|_| go_on(0xff));
    go_on(0xee);
    child.end();
    drop((numbers, map));
    // What was on its way from swap when it was freed goes when it arrives, and what a
    // child may read when that is seen to be gone.
    while vm.stats().frames_used > 0 || vm.stats().swap_slots_used > 0 {
        std::thread::yield_now();
    }
    let stats = vm.stats();
    assert!(stats.frames_used_max <= MEMORY / 4096 && stats.pages_written > 0, "{stats:?}");
    assert_eq!((stats.frames_used, stats.swap_slots_used), (0, 0), "{stats:?}");
}
