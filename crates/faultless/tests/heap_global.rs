//! The large allocations of a whole process, this one, in memory under a budget.

mod family;

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use faultless::{GlobalHeap, MapOptions, MemoryPager, Pager, Vm, unmanaged};

#[global_allocator]
static HEAP: GlobalHeap = GlobalHeap::with_threshold(GlobalHeap::THRESHOLD_MIN);

const MEMORY: u64 = 4 << 20;

/// The process's `Vm`; one handler, which nobody else could help out.
fn vm() -> &'static Vm {
    static VM: OnceLock<Vm> = OnceLock::new();
    VM.get_or_init(|| {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let vm = Vm::builder().memory(MEMORY).swap(dir, 512 << 20).handlers(1).build().unwrap();
        HEAP.serve_from(&vm).unwrap();
        vm
    })
}

fn assert_budget_held() {
    let stats = vm().stats();
    assert!(stats.frames_used_max <= MEMORY / 4096, "{stats:?}");
    assert!(stats.pages_written > 0, "nothing went to swap");
}

#[test]
fn a_vector_outgrows_the_budget() {
    vm();
    let mut numbers = Vec::new();
    for number in 0..2_000_000u64 {
        numbers.push(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    numbers.sort_unstable();
    assert!(numbers.is_sorted());
    let step = numbers.iter().fold(0u64, |sum, number| sum.wrapping_add(*number));
    let wanted = (0..2_000_000u64).sum::<u64>().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    assert_eq!(step, wanted);
    numbers.truncate(10);
    numbers.shrink_to_fit();
    assert_eq!(numbers.capacity(), 10);
    assert_budget_held();
}

#[test]
fn a_fork_in_the_middle_of_growth_stays_right_on_both_sides() {
    vm();
    let mut numbers: Vec<u64> = (0..700_000).collect();
    let mut map: HashMap<u64, [u64; 3]> = (0..50_000).map(|key| (key, [key; 3])).collect();
    let mut go_on = |salt: u64| {
        numbers.iter_mut().for_each(|number| *number ^= salt);
        numbers.extend((700_000..1_000_000).map(|number| number ^ salt));
        map.extend((50_000..80_000).map(|key| (key, [key ^ salt; 3])));
        assert!((0..).zip(&numbers).all(|(n, number)| *number == n ^ salt));
        for key in 0..80_000 {
            assert_eq!(map[&key], [if key < 50_000 { key } else { key ^ salt }; 3]);
        }
        numbers.sort_unstable_by_key(|number| !number);
        assert!(numbers.is_sorted_by(|a, b| a > b));
    };
    let child = family::fork(|_| go_on(0xff));
    go_on(0xee);
    child.end();
    assert_budget_held();
}

#[test]
fn a_map_outgrows_the_budget() {
    vm();
    let mut map = HashMap::new();
    for key in 0..60_000u64 {
        map.insert(key, [key, !key, key * key]);
    }
    assert!((0..60_000u64).all(|key| map[&key] == [key, !key, key * key]));
    map.retain(|key, _| key % 2 == 0);
    assert_eq!(map.len(), 30_000);
    assert!(map.iter().all(|(key, value)| *value == [*key, !key, key * key]));
    assert_budget_held();
}

#[test]
fn threads_come_go_and_pass_memory_on() {
    vm();
    let (sender, receiver) = std::sync::mpsc::channel::<(u64, Vec<u64>)>();
    std::thread::scope(|scope| {
        for thread in 1..=4u64 {
            let sender = sender.clone();
            scope.spawn(move || {
                for round in 0..10 {
                    let first = thread << 32 | round;
                    let len = 40_000 + 10_000 * (thread + round);
                    sender.send((first, (0..len).map(|at| first + at).collect())).unwrap();
                }
            });
        }
        drop(sender);
        for (first, mut numbers) in receiver {
            assert!(numbers.iter().zip(0..).all(|(number, at)| *number == first + at));
            numbers.resize(numbers.len() * 2, 1);
            assert!(numbers[numbers.len() / 2..].iter().all(|number| *number == 1));
        }
    });
    assert_eq!(vec![0u8; 8 << 20].iter().position(|byte| *byte != 0), None);
    assert_budget_held();
}

#[test]
fn what_cannot_be_held_is_refused() {
    vm();
    let mut bytes = Vec::<u8>::new();
    assert!(bytes.try_reserve_exact(1 << 30).is_err());
    // The system's memory is not refused.
    unmanaged(|| bytes.try_reserve_exact(1 << 30)).unwrap();
}

#[test]
fn memory_that_is_freed_inside_is_freed_later() {
    let vm = vm();
    let mapped = || vec![1u8; 1 << 20];
    let inside = mapped();
    assert!(is_managed(&inside));
    unmanaged(|| drop(inside));
    // The next one outside frees it; nothing waits, nothing is freed twice.
    drop((mapped(), mapped()));
    assert!(!is_managed(&unmanaged(mapped)));
    // Reallocating crosses over with its bytes, both ways.
    let mut bytes = unmanaged(mapped);
    bytes.resize(3 << 20, 1);
    assert!(is_managed(&bytes) && bytes.iter().all(|byte| *byte == 1));
    unmanaged(|| bytes.resize(4 << 20, 1));
    assert!(!is_managed(&bytes) && bytes.iter().all(|byte| *byte == 1));
    assert!(HEAP.serve_from(vm).is_err(), "a second time");
}

fn is_managed(bytes: &[u8]) -> bool {
    HEAP.has(bytes.as_ptr())
}

#[test]
fn maps_of_many_ranges_live_beside_it() {
    let vm = vm();
    let pager = unmanaged(|| MemoryPager::from_bytes(vec![5u8; 8 << 20]));
    let map = MapOptions::new().map_pager(vm, Arc::new(pager)).unwrap();
    // Ranges enough to be a large allocation themselves, and a buffer that is managed.
    let ranges: Vec<_> = (0..50_000u64).map(|n| (n * 160, 1u64)).collect();
    map.prefetch(ranges.iter().copied()).unwrap();
    let mut copy = vec![0u8; 8 << 20];
    assert_eq!(map.read_at(0, &mut copy).unwrap(), 8 << 20);
    assert!(copy.iter().all(|byte| *byte == 5));
    assert_budget_held();
}

/// A pager that needs much memory for each read, and frees memory of the `Vm`, which it
/// doesn't touch, in the end.
struct Wasteful {
    inner: MemoryPager,
    _ballast: Vec<u8>,
}

impl Pager for Wasteful {
    fn name(&self) -> String {
        "wasteful".to_owned()
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut scratch = vec![1u8; 1 << 20];
        assert!(!HEAP.has(scratch.as_ptr()), "a handler was given memory that it manages");
        scratch.resize(2 << 20, 1);
        assert!(scratch.iter().all(|byte| *byte == 1));
        self.inner.read(offset, bufs)
    }

    fn write(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        self.inner.write(offset, bufs)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        self.inner.resize(size)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.punch(offset, len)
    }
}

#[test]
fn a_pager_may_allocate_and_free_while_it_serves() {
    let vm = vm();
    for round in 0..3u8 {
        let ballast = vec![round; 1 << 20];
        assert!(HEAP.has(ballast.as_ptr()));
        let inner = unmanaged(|| MemoryPager::from_bytes(vec![round; 4 << 20]));
        let pager = Arc::new(Wasteful { inner, _ballast: ballast });
        let map = MapOptions::new().map_pager(vm, pager).unwrap();
        // A plain pointer: the one handler serves this map and the heap's memory alike.
        let mut sums = vec![0u64; 1 << 16];
        for (at, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the map has 4 MiB, whose bytes nobody changes.
            *sum = u64::from(unsafe { map.as_ptr().add(at * 64).read_volatile() });
        }
        assert!(sums.iter().all(|sum| *sum == u64::from(round)));
    }
}
