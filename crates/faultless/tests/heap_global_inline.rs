//! As `heap_global`, in a process whose threads serve their faults themselves; one after
//! the other, as README's support table says why.

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
    // What was on its way from swap when it was freed goes when it arrives.
    while vm.stats().frames_used > 0 {
        std::thread::yield_now();
    }
    let stats = vm.stats();
    assert!(stats.frames_used_max <= MEMORY / 4096 && stats.pages_written > 0, "{stats:?}");
    assert_eq!((stats.frames_used, stats.swap_slots_used), (0, 0), "{stats:?}");
}
