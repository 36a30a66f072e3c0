//! Anonymous memory larger than the budget.

use std::path::PathBuf;

use faultless::{Delivery, Vm};

fn swap_dir() -> PathBuf {
    // Not /tmp, which may be memory itself.
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

fn vm(memory: u64, swap: u64) -> Vm {
    Vm::builder().memory(memory).swap(swap_dir(), swap).build().unwrap()
}

/// xorshift64.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// The bytes as numbers, which page-aligned memory can always be.
fn numbers(bytes: &mut [u8]) -> &mut [u64] {
    // SAFETY: every pattern of bits is a number.
    let (before, numbers, after) = unsafe { bytes.align_to_mut::<u64>() };
    assert!(before.is_empty() && after.is_empty());
    numbers
}

fn sort(memory_bytes: u64, len: usize, delivery: Delivery) {
    let vm = vm(memory_bytes, 2 * len as u64);
    let mut memory = vm.anonymous_by(len, delivery).unwrap();
    let numbers = numbers(&mut memory);
    let seed = 0x9e37_79b9_7f4a_7c15;
    println!("seed {seed:#x}");
    let mut state = seed;
    let (mut sum, mut xor) = (0u64, 0u64);
    for number in numbers.iter_mut() {
        *number = random(&mut state);
        sum = sum.wrapping_add(*number);
        xor ^= *number;
    }
    numbers.sort_unstable();
    let mut last = 0;
    for number in numbers.iter() {
        assert!(last <= *number, "not sorted");
        last = *number;
        sum = sum.wrapping_sub(last);
        xor ^= last;
    }
    assert_eq!((sum, xor), (0, 0), "other numbers than before");
    let stats = vm.stats();
    println!("{len} bytes under {memory_bytes}, {delivery:?}: {stats:?}");
    assert!(stats.frames_used_max <= memory_bytes / 4096);
    assert!(stats.pages_written > 0 && stats.faults_major > 0, "nothing went to swap");
}

#[test]
fn a_buffer_larger_than_the_budget_is_sorted() {
    sort(4 << 20, 32 << 20, Delivery::Inline);
    sort(4 << 20, 16 << 20, Delivery::Thread);
}

/// The full size; some minutes.
#[test]
#[ignore = "minutes, and 8 GiB of disk"]
fn four_gigabytes_are_sorted_under_256_megabytes() {
    sort(256 << 20, 4 << 30, Delivery::Inline);
}

#[test]
fn memory_that_would_not_fit_is_refused_when_it_is_asked_for() {
    let vm = vm(1 << 20, 4 << 20);
    let first = vm.anonymous(4 << 20).unwrap();
    let error = vm.anonymous(4 << 20).unwrap_err();
    assert_eq!(error.errno(), libc::ENOMEM);
    assert!(error.to_string().contains("swap"), "{error}");
    drop(first);
    vm.anonymous(4 << 20).unwrap();
}

#[test]
fn all_of_it_can_be_used_and_is_given_back() {
    let vm = vm(1 << 20, 4 << 20);
    for round in 0..3u8 {
        let mut memory = vm.anonymous((4 << 20) + (900 << 10)).unwrap();
        assert!(memory.iter().all(|byte| *byte == 0), "round {round}: not zeros");
        memory.fill(round + 1);
        assert!(memory.iter().all(|byte| *byte == round + 1));
        memory.clear().unwrap();
        assert!(memory.iter().all(|byte| *byte == 0), "round {round}: not cleared");
    }
    assert_eq!(vm.stats().frames_used, 0);
}

#[test]
fn threads_share_it() {
    let vm = vm(1 << 20, 16 << 20);
    let mut memory = vm.anonymous(8 << 20).unwrap();
    std::thread::scope(|scope| {
        for (n, part) in memory.chunks_mut(1 << 20).enumerate() {
            scope.spawn(move || {
                for round in 0..3u8 {
                    part.iter_mut().step_by(512).for_each(|byte| *byte = n as u8 + round);
                    assert!(part.iter().step_by(512).all(|byte| *byte == n as u8 + round));
                }
            });
        }
    });
}

/// What is in swap costs a table entry: not more of them than law and README say.
#[test]
fn tables_of_memory_in_swap_are_small() {
    const PAGES: usize = 64 << 8;
    let vm = vm(4 << 20, 80 << 20);
    let mut memory = vm.anonymous_by(PAGES * 4096, Delivery::Inline).unwrap();
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    let stats = vm.stats();
    println!("{} bytes of tables, {} slots", stats.bookkeeping_bytes, stats.swap_slots_used);
    assert!(stats.swap_slots_used as usize > PAGES * 9 / 10);
    assert!(stats.bookkeeping_bytes < (4 << 20) / 25 + 32 * PAGES as u64);
}

/// Addresses that are given back go to the next who asks; it must not find the pages of
/// the one before there, which are still on their way out.
#[test]
fn memory_is_not_given_out_before_its_pages_have_left() {
    const LEN: usize = 512 << 10;
    for delivery in [Delivery::Inline, Delivery::Thread] {
        let vm = vm(64 << 20, 0);
        let play = |name: u64| {
            for round in 0..300 {
                let mut memory = vm.anonymous_by(LEN, delivery).unwrap();
                let expected = |at: usize| name << 48 | round << 32 | at as u64;
                for (at, number) in numbers(&mut memory).iter_mut().enumerate() {
                    assert_eq!(*number, 0, "{delivery:?}: fresh memory is zeros");
                    *number = expected(at);
                }
                for (at, number) in numbers(&mut memory).iter().enumerate() {
                    assert_eq!(*number, expected(at), "{delivery:?}");
                }
            }
        };
        std::thread::scope(|scope| {
            for name in 1..=4 {
                scope.spawn(move || play(name));
            }
        });
    }
}
