//! Collections larger than the budget, in a heap of a `Vm`.

#![cfg(feature = "allocator-api2")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use allocator_api2::alloc::Allocator;
use allocator_api2::vec::Vec as VecIn;
use faultless::{Delivery, HeapOptions, Vm, VmHeap};
use hashbrown::{DefaultHashBuilder, HashMap};

const MIB: u64 = 1 << 20;

fn vm(memory: u64, swap: u64) -> Vm {
    // Not /tmp, which may be memory itself.
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    Vm::builder().memory(memory).swap(dir, swap).build().unwrap()
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 11) % end as u64) as usize
    }
}

/// Everything has been given back: frames, slots of swap, and what was paid. Pages that
/// were on their way to or from swap when they were freed go when they arrive.
#[track_caller]
fn assert_all_returned(vm: &Vm, total: usize) {
    let began = Instant::now();
    while vm.stats().frames_used > 0 && began.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let stats = vm.stats();
    assert_eq!((stats.frames_used, stats.swap_slots_used), (0, 0), "{stats:?}");
    vm.anonymous(total).expect("all that was paid has been refunded");
}

/// Pushes, sorts, checks, drops.
fn sort(vm: &Vm, heap: &VmHeap, bytes: usize) {
    let began = Instant::now();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    println!("seed {:#x}", random.0);
    let mut numbers = VecIn::new_in(heap.clone());
    let (mut sum, mut xor) = (0u64, 0u64);
    for _ in 0..bytes / 8 {
        let number = random.next();
        numbers.push(number);
        (sum, xor) = (sum.wrapping_add(number), xor ^ number);
    }
    let pushed = began.elapsed();
    numbers.sort_unstable();
    assert!(numbers.is_sorted());
    for number in &numbers {
        (sum, xor) = (sum.wrapping_sub(*number), xor ^ number);
    }
    assert_eq!((sum, xor), (0, 0), "other numbers than before");
    let stats = vm.stats();
    println!("{bytes} bytes: pushed after {pushed:?}, sorted after {:?}", began.elapsed());
    println!("{stats:?}");
    assert!(stats.frames_used_max <= vm.memory() / 4096 && stats.pages_written > 0);
}

#[test]
fn a_vector_of_16_budgets_is_pushed_and_sorted() {
    for delivery in [Delivery::Inline, Delivery::Thread] {
        let vm = vm(4 * MIB, 128 * MIB);
        let heap = HeapOptions::new().delivery(delivery).build(&vm);
        sort(&vm, &heap, 64 << 20);
        assert_eq!(heap.stats().mapped_bytes, 0);
        drop(heap);
        assert_all_returned(&vm, 131 << 20);
    }
}

/// Inserts, looks up, removes half, looks up again; in a table for `capacity` entries at
/// first.
fn fill(vm: &Vm, heap: &VmHeap, capacity: usize, entries: u64) {
    let value = |key: u64| [key, key.wrapping_mul(0x9e37_79b9_7f4a_7c15), !key];
    let began = Instant::now();
    let mut map: HashMap<_, _, DefaultHashBuilder, _> =
        HashMap::with_capacity_in(capacity, heap.clone());
    for key in 0..entries {
        map.insert(key, value(key));
    }
    assert!((0..entries).all(|key| map[&key] == value(key)));
    for key in (0..entries).step_by(2) {
        assert_eq!(map.remove(&key), Some(value(key)));
    }
    assert_eq!(map.len() as u64, entries / 2);
    for key in 0..entries {
        let left = (key % 2 == 1).then(|| value(key));
        assert_eq!(map.get(&key), left.as_ref(), "{key}");
    }
    let stats = vm.stats();
    println!("{entries} entries in {:?}: {stats:?}", began.elapsed());
    assert!(stats.frames_used_max <= vm.memory() / 4096 && stats.pages_written > 0);
}

#[test]
fn a_map_of_many_budgets_keeps_its_entries() {
    // 8 MiB in one table, which moves each time it doubles.
    let vm = vm(MIB, 32 * MIB);
    let heap = VmHeap::new(&vm);
    fill(&vm, &heap, 0, 125_000);
    drop(heap);
    assert_all_returned(&vm, 32 << 20);
}

#[test]
#[ignore = "two minutes: nearly each access is a read from swap"]
fn full_size_a_map_of_a_million_entries_under_8_mib() {
    let vm = vm(8 * MIB, 192 * MIB);
    let heap = HeapOptions::new().delivery(Delivery::Inline).build(&vm);
    fill(&vm, &heap, 0, 1_000_000);
    drop(heap);
    assert_all_returned(&vm, 199 << 20);
}

#[test]
fn small_blocks_leave_and_come_back() {
    let vm = vm(2 * MIB, 64 * MIB);
    let heap = VmHeap::new(&vm);
    let boxed = |n: u64| allocator_api2::boxed::Box::new_in([n; 12], heap.clone());
    let mut all: Vec<_> = (0..200_000).map(boxed).collect();
    assert!(heap.stats().segment_bytes > 16 << 20 && heap.stats().mapped_bytes == 0);
    assert!(all.iter().zip(0..).all(|(one, n)| one.iter().all(|word| *word == n)));
    all.truncate(100);
    let trimmed = heap.trim();
    assert!(trimmed > 16 << 20, "{trimmed}");
    assert!(all.iter().zip(0..).all(|(one, n)| one.iter().all(|word| *word == n)));
    drop((all, heap));
    assert_all_returned(&vm, 65 << 20);
}

#[test]
fn what_cannot_be_held_is_refused() {
    let vm = vm(MIB, 8 * MIB);
    let heap = VmHeap::new(&vm);
    let mut large = VecIn::<u8, _>::new_in(heap.clone());
    assert!(large.try_reserve_exact(16 << 20).is_err());
    large.try_reserve_exact(6 << 20).unwrap();
    assert!(large.try_reserve_exact(10 << 20).is_err(), "as long as the rest is paid");
    let layout = std::alloc::Layout::new::<[u64; 500]>();
    let blocks: Vec<_> = std::iter::from_fn(|| Allocator::allocate(&heap, layout).ok()).collect();
    assert!(blocks.len() > 300, "{}", blocks.len());
    large.extend(std::iter::repeat_n(7, 6 << 20));
    assert!(large.iter().all(|byte| *byte == 7));
    drop(large);
    for block in blocks {
        // SAFETY: it was allocated for this layout, and is freed once.
        unsafe { heap.deallocate(block.cast(), layout) };
    }
    drop(heap);
    assert_all_returned(&vm, 8 << 20);
}

#[test]
fn a_vector_grows_where_it_is() {
    let vm = vm(MIB, 64 * MIB);
    let heap = VmHeap::new(&vm);
    let mut numbers = VecIn::<u64, _>::with_capacity_in(1 << 20, heap.clone());
    numbers.extend(0..1 << 20);
    let start = numbers.as_ptr();
    numbers.reserve_exact(2 << 20);
    assert_eq!(numbers.as_ptr(), start);
    numbers.extend(1 << 20..3 << 20);
    assert!(numbers.iter().zip(0..).all(|(number, n)| *number == n));
    numbers.truncate(1 << 17);
    numbers.shrink_to_fit();
    assert_eq!((numbers.as_ptr(), heap.stats().mapped_bytes), (start, 1 << 20));
    numbers.reserve_exact(4 << 20);
    assert_ne!(numbers.as_ptr(), start, "there were no addresses left behind it");
    assert!(numbers.iter().zip(0..).all(|(number, n)| *number == n));
    drop((numbers, heap));
    assert_all_returned(&vm, 64 << 20);
}

/// One thread's collections and their model: a length and the number they began with.
fn play(heap: &VmHeap, seed: u64, rounds: usize) {
    let mut random = Random(seed);
    let mut all: Vec<(VecIn<u64, VmHeap>, u64)> = Vec::new();
    let check = |numbers: &[u64], first: u64, from: usize| {
        for (at, number) in numbers.iter().enumerate().skip(from).step_by(97) {
            let place = &raw const *number;
            assert_eq!(*number, first + at as u64, "{at} of {} at {place:p}", numbers.len());
        }
    };
    for _ in 0..rounds {
        let largest = [8, 100, 4000, 40_000, 200_000][random.below(5)];
        let len = 1 + random.below(largest);
        match random.below(4) {
            0 | 1 => {
                let first = random.next() >> 16;
                let mut numbers = VecIn::with_capacity_in(len, heap.clone());
                numbers.extend((0..len as u64).map(|at| first + at));
                all.push((numbers, first));
            }
            2 if !all.is_empty() => {
                let at = random.below(all.len());
                let (numbers, first) = &mut all[at];
                let was = numbers.len();
                numbers.truncate(len);
                numbers.extend((was as u64..len as u64).map(|at| *first + at));
                numbers.shrink_to_fit();
                check(numbers, *first, 0);
            }
            _ if all.len() > 10 => {
                let (numbers, first) = all.swap_remove(random.below(all.len()));
                check(&numbers, first, 0);
            }
            _ => {}
        }
        while all.iter().map(|(numbers, _)| numbers.len()).sum::<usize>() > 1 << 20 {
            all.swap_remove(random.below(all.len()));
        }
    }
    all.iter().for_each(|(numbers, first)| check(numbers, *first, 0));
}

#[test]
fn threads_agree_with_their_models() {
    play_by_threads(Delivery::Thread);
}

#[test]
fn inline_threads_agree_with_their_models() {
    play_by_threads(Delivery::Inline);
}

fn play_by_threads(delivery: Delivery) {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 | 1);
    println!("SEED={seed}");
    let vm = vm(4 * MIB, 128 * MIB);
    let heap = HeapOptions::new().delivery(delivery).build(&vm);
    std::thread::scope(|scope| {
        for thread in 1..=4u64 {
            let heap = &heap;
            scope.spawn(move || play(heap, seed.wrapping_mul(2 * thread + 1), 300));
        }
    });
    let stats = heap.stats();
    assert_eq!((stats.free_bytes, stats.mapped_bytes), (stats.segment_bytes, 0));
    println!("{delivery:?}: {:?}", vm.stats());
    drop(heap);
    assert_all_returned(&vm, 131 << 20);
}

#[test]
#[ignore = "minutes, and 9 GiB of disk"]
fn full_size_a_vector_of_4_gib_under_256_mib() {
    let vm = vm(256 * MIB, 9 << 30);
    let heap = HeapOptions::new().delivery(Delivery::Inline).build(&vm);
    sort(&vm, &heap, 4 << 30);
    drop(heap);
    assert_all_returned(&vm, 9 << 30);
}

#[test]
#[ignore = "minutes, and 5 GiB of disk"]
fn full_size_a_map_of_4_gib_under_256_mib() {
    let vm = vm(256 * MIB, 5 << 30);
    let heap = HeapOptions::new().delivery(Delivery::Inline).build(&vm);
    // Room for many more, so that the few that a test has time for lie far apart.
    fill(&vm, &heap, 100_000_000, 1_000_000);
    drop(heap);
    assert_all_returned(&vm, 5 << 30);
}
