//! What comes of the kernel's page tables while others use them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use faultless_addr::{PAGE_BYTES, PAGE_SIZE, VirtAddr, VirtRange};
use faultless_sys::Errno;
use faultless_sys::memory::{Reservation, dont_need};
use faultless_sys::uffd::{Features, Protect, Stopped, Userfaultfd, WhenBusy};

/// What one page table shows.
const TABLE_BYTES: u64 = 512 * PAGE_BYTES;

/// Whoever drops all that a table shows makes the kernel free the table, and whoever makes a
/// page there at that moment is told that there is one.
#[test]
fn a_page_can_be_made_where_all_others_are_just_being_dropped() {
    let uffd = Userfaultfd::open(Features::NONE).unwrap();
    let memory = Reservation::new(2 * TABLE_BYTES as usize).unwrap();
    // SAFETY: 1. the reservation is ours and outlives the descriptor's use.
    unsafe { uffd.register(memory.range()).unwrap() };
    let start = VirtAddr(memory.range().start.0.next_multiple_of(TABLE_BYTES));
    let all = VirtRange { start, end: VirtAddr(start.0 + TABLE_BYTES) };
    let over = AtomicBool::new(false);
    let bytes = [7u8; PAGE_SIZE];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // SAFETY: 1. pages that nobody reads.
                unsafe { dont_need(all).unwrap() };
            }
        });
        let begun = Instant::now();
        let mut refused = 0;
        let mut made = 0;
        while begun.elapsed() < Duration::from_secs(2) {
            // SAFETY: 1. `bytes` is a page that nobody writes to.
            let copied = unsafe { uffd.copy(start, bytes.as_ptr(), PAGE_SIZE, Protect::No) };
            refused += u64::from(copied.is_err());
            made += 1;
            // SAFETY: 1. a page that nobody reads.
            unsafe { dont_need(VirtRange::page(start)).unwrap() };
        }
        over.store(true, Ordering::Relaxed);
        assert_eq!(refused, 0, "of {made}");
    });
}

#[test]
fn a_page_moves_whatever_is_done_to_its_entry_meanwhile() {
    const PAGES: u64 = 8;
    let features = Features::MOVE.with(Features::WRITE_PROTECT);
    let uffd = Userfaultfd::open(features).unwrap();
    let memory = Reservation::new(2 * PAGES as usize * PAGE_SIZE).unwrap();
    // SAFETY: 1. the reservation is ours and outlives the descriptor's use.
    unsafe { uffd.register(memory.range()).unwrap() };
    let (mut from, mut to) = (memory.range().start, memory.range().start.plus_pages(PAGES));
    let bytes: Vec<u8> = (0..PAGES as usize * PAGE_SIZE).map(|n| (n / 100) as u8).collect();
    // SAFETY: 1. bytes that nobody writes to.
    unsafe { uffd.copy(from, bytes.as_ptr(), bytes.len(), Protect::No).unwrap() };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                uffd.write_protect(memory.range(), Protect::Yes).unwrap();
                uffd.write_protect(memory.range(), Protect::No).unwrap();
            }
        });
        let begun = Instant::now();
        let mut refused = None;
        while refused.is_none() && begun.elapsed() < Duration::from_secs(2) {
            // SAFETY: 1. pages that nobody reads meanwhile.
            let moved = unsafe { uffd.move_pages(to, from, bytes.len(), WhenBusy::Wait, || ()) };
            refused = moved.err();
            (from, to) = (to, from);
        }
        over.store(true, Ordering::Relaxed);
        assert_eq!(refused, None);
    });
    // SAFETY: 1. all pages are there: they have moved.
    let seen = unsafe { std::slice::from_raw_parts(from.0 as *const u8, bytes.len()) };
    assert!(seen == bytes, "bytes were lost on the way");
}

#[test]
fn where_there_is_a_page_none_moves_to_and_none_is_made() {
    let uffd = Userfaultfd::open(Features::MOVE).unwrap();
    let memory = Reservation::new(2 * PAGE_SIZE).unwrap();
    // SAFETY: 1. the reservation is ours and outlives the descriptor's use.
    unsafe { uffd.register(memory.range()).unwrap() };
    let (a, b) = (memory.range().start, memory.range().start.plus_pages(1));
    for (at, byte) in [(a, 1u8), (b, 2)] {
        let page = [byte; PAGE_SIZE];
        // SAFETY: 1. bytes that nobody writes to.
        let copy = || unsafe { uffd.copy(at, page.as_ptr(), PAGE_SIZE, Protect::No) };
        copy().unwrap();
        assert_eq!(copy().unwrap_err().errno, Errno::EXIST);
    }
    // SAFETY: 1. nobody reads the pages meanwhile; 2. both are there.
    let (moved, seen) = unsafe {
        let moved = uffd.move_pages(b, a, PAGE_SIZE, WhenBusy::Wait, || ());
        (moved, [*(a.0 as *const u8), *(b.0 as *const u8)])
    };
    assert_eq!(moved, Err(Stopped { done: 0, errno: Errno::EXIST }));
    assert_eq!(seen, [1, 2]);
}
