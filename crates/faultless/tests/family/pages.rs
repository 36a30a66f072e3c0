//! Pages that tell which they are, and of which generation.

use std::time::{Duration, Instant};

use faultless::{Delivery, Vm};

pub const PAGE: usize = 4096;
pub const BUDGET: u64 = 1 << 20;
/// Pages of a memory four times as large as its budget.
pub const PAGES: usize = 4 * (BUDGET as usize) / PAGE;
pub const DELIVERIES: [Delivery; 2] = [Delivery::Thread, Delivery::Inline];

/// A `Vm` that has room for one [`PAGES`] long memory, and half of another.
pub fn vm() -> Vm {
    Vm::builder().memory(BUDGET).swap(env!("CARGO_TARGET_TMPDIR"), 5 << 20).build().unwrap()
}

/// As [`vm`], with a fifth of the room on the disk.
pub fn compressed_vm() -> Vm {
    let builder = Vm::builder().memory(BUDGET);
    builder.swap_compressed(env!("CARGO_TARGET_TMPDIR"), 1 << 20, 5 << 20).build().unwrap()
}

/// What page `page` holds in generation `generation`, at its start and its end.
pub fn value(page: usize, generation: u64) -> u64 {
    (page as u64 + 1) * 1_000_003 + generation
}

pub fn put(bytes: &mut [u8], page: usize, generation: u64) {
    let value = value(page, generation).to_ne_bytes();
    bytes[page * PAGE..][..8].copy_from_slice(&value);
    bytes[(page + 1) * PAGE - 8..][..8].copy_from_slice(&value);
}

pub fn put_all(bytes: &mut [u8], generation: u64) {
    (0..bytes.len() / PAGE).for_each(|page| put(bytes, page, generation));
}

#[track_caller]
pub fn check(bytes: &[u8], page: usize, generation: u64) {
    let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
    let expected = value(page, generation);
    assert_eq!(word(page * PAGE), expected, "page {page} of generation {generation}");
    assert_eq!(word((page + 1) * PAGE - 8), expected, "the end of page {page}");
}

#[track_caller]
pub fn check_all(bytes: &[u8], generation: u64) {
    (0..bytes.len() / PAGE).for_each(|page| check(bytes, page, generation));
}

/// Slots of swap come back when children are gone: at once, but the keeper has to see it.
#[track_caller]
pub fn wait_for_no_slots(vm: &Vm) {
    let since = Instant::now();
    while vm.stats().swap_slots_used > 0 {
        assert!(since.elapsed() < Duration::from_secs(10), "{:?}", vm.stats());
        std::thread::sleep(Duration::from_millis(20));
    }
}
