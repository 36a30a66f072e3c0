//! Memory that becomes longer and shorter, and goes elsewhere for it, as by mremap(2).
#![cfg(target_arch = "x86_64")]

mod verbs_common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use faultless::{Advice, Delivery, HeapOptions, Memory, Protection, Vm};
use verbs_common::*;

/// Memory behind which something is, so that it can't grow where it is.
fn walled_in(vm: &Vm, pages: usize, delivery: Delivery) -> (Memory, Memory) {
    let wall = vm.anonymous_by(PAGE, delivery).unwrap();
    let memory = vm.anonymous_by(pages * PAGE, delivery).unwrap();
    assert_eq!(wall.as_ptr() as usize, memory.as_ptr() as usize + (pages + 1) * PAGE);
    (memory, wall)
}

fn fill(memory: &mut Memory) {
    memory.chunks_mut(PAGE).enumerate().for_each(|(page, bytes)| bytes.fill(byte(page)));
}

fn is_filled(memory: &Memory, pages: usize) -> bool {
    let mut all = memory.chunks(PAGE).enumerate();
    all.all(|(page, bytes)| {
        let expected = if page < pages { byte(page) } else { 0 };
        bytes.iter().all(|byte| *byte == expected)
    })
}

#[test]
fn it_grows_where_it_is_or_elsewhere_and_shrinks() {
    for delivery in DELIVERIES {
        let vm = small_vm();
        let (mut memory, wall) = walled_in(&vm, 64, delivery);
        fill(&mut memory);
        let before = memory.as_ptr() as usize;
        let moved = memory.resize(100 * PAGE).unwrap() as usize;
        assert_ne!(before, moved, "there is a wall");
        assert_eq!((moved, 100 * PAGE), (memory.as_ptr() as usize, memory.len()));
        assert!(is_filled(&memory, 64), "{delivery:?}");
        let old = before as *const u8;
        assert_eq!(load(old), Err(Refused { code: MAPERR, ..denied(old) }));
        // There is room behind it now.
        assert_eq!(memory.resize(150 * PAGE).unwrap() as usize, moved);
        assert!(is_filled(&memory, 64));
        assert_eq!(memory.resize(20 * PAGE + 1).unwrap() as usize, moved);
        assert_eq!(memory.len(), 20 * PAGE + 1);
        assert!(is_filled(&memory, 21));
        let cut = memory.as_ptr().wrapping_add(21 * PAGE);
        assert_eq!(load(cut), Err(Refused { code: MAPERR, ..denied(cut) }));
        assert!(vm.stats().swap_slots_used <= 21 + 14, "what was cut off is still in swap");
        memory.resize(64 * PAGE).unwrap();
        assert!(is_filled(&memory, 21), "{delivery:?}: what was cut off came back");
        drop((memory, wall));
        assert_eq!((vm.stats().frames_used, vm.stats().swap_slots_used), (0, 0));
    }
}

#[test]
fn pages_in_swap_move_without_being_read() {
    for delivery in DELIVERIES {
        let vm = vm(64 * PAGE as u64, 4 << 20);
        let (mut memory, _wall) = walled_in(&vm, 512, delivery);
        fill(&mut memory);
        memory.advise(.., Advice::PageOut).unwrap();
        let before = vm.stats();
        memory.resize(768 * PAGE).unwrap();
        let after = vm.stats();
        let counts = |stats: &faultless::Stats| {
            (stats.faults_major, stats.pages_demanded, stats.pages_ahead, stats.pages_written)
        };
        assert_eq!(counts(&before), counts(&after), "{delivery:?}: pages were read or written");
        assert!(is_filled(&memory, 512));
    }
}

#[test]
fn what_cannot_be_is_refused_as_by_the_kernel_and_changes_nothing() {
    let kernel = Kernel::anonymous(8 * PAGE);
    // SAFETY: the memory is this test's, and not touched.
    let by_kernel = |old: usize, new: usize| unsafe {
        let moved = libc::mremap(kernel.start.cast(), old, new, libc::MREMAP_MAYMOVE);
        assert_eq!(moved, libc::MAP_FAILED);
        *libc::__errno_location()
    };
    // SAFETY: as above.
    let half = unsafe { libc::mprotect(kernel.start.cast(), 4 * PAGE, libc::PROT_READ) };
    assert_eq!(half, 0);
    let vm = small_vm();
    let (mut memory, _wall) = walled_in(&vm, 8, Delivery::Thread);
    fill(&mut memory);
    // SAFETY: it is only read.
    unsafe { memory.protect(..4 * PAGE, Protection::READ) }.unwrap();
    let start = memory.as_ptr() as usize;
    let mut errno = |len| memory.resize(len).unwrap_err().errno();
    assert_eq!(errno(0), by_kernel(8 * PAGE, 0));
    assert_eq!(errno(16 * PAGE), by_kernel(8 * PAGE, 16 * PAGE));
    assert_eq!(errno(64 << 20), libc::ENOMEM);
    assert_eq!(errno(usize::MAX / 2), libc::ENOMEM);
    assert!(memory.as_ptr() as usize == start && is_filled(&memory, 8));
    // Nothing was set aside for what was refused.
    drop(memory);
    vm.anonymous((16 << 20) + 10 * PAGE).unwrap();
}

/// Memories that grow past each other and go, where others count in theirs.
fn neighbours(delivery: Delivery) {
    let vm = vm(32 * PAGE as u64, 32 << 20);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for n in 0..2u8 {
            let (vm, stop) = (&vm, &stop);
            scope.spawn(move || {
                let mut memory = vm.anonymous_by(48 * PAGE, delivery).unwrap();
                let mut round = 0u8;
                while !stop.load(Ordering::Relaxed) {
                    for page in 0..48 {
                        let expected = if round == 0 { 0 } else { round.wrapping_add(n) };
                        assert_eq!(memory[page * PAGE], expected, "page {page} lost a store");
                        memory[page * PAGE] = (round + 1).wrapping_add(n);
                    }
                    round = round % 100 + 1;
                    if round == 100 {
                        memory.clear().unwrap();
                        round = 0;
                    }
                }
            });
        }
        for round in 0..60usize {
            let (mut memory, _wall) = {
                let wall = vm.anonymous_by(PAGE, delivery).unwrap();
                (vm.anonymous_by(8 * PAGE, delivery).unwrap(), wall)
            };
            let mut pages = 8;
            fill(&mut memory);
            for _ in 0..5 {
                let more = pages + 1 + round % 7 * 3;
                memory.resize(more * PAGE).unwrap();
                assert!(is_filled(&memory, pages), "round {round}, {pages} pages");
                pages = more;
                fill(&mut memory);
            }
            memory.resize(3 * PAGE).unwrap();
            assert!(is_filled(&memory, 3));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn neighbours_go_on_meanwhile() {
    DELIVERIES.into_iter().for_each(neighbours);
}

/// Before it could move, a vector that grew had to be held twice.
#[test]
fn a_vector_grows_where_two_copies_would_not_fit() {
    for delivery in DELIVERIES {
        let vm = vm(1 << 20, 20 << 20);
        let heap = HeapOptions::new().delivery(delivery).build(&vm);
        let mut numbers = allocator_api2::vec::Vec::<u64, _>::new_in(heap);
        numbers.reserve_exact(12 << 17);
        numbers.extend(0..12 << 17);
        // The addresses that were left free behind it: the highest gap of all.
        let wall = vm.reserve_by(3 * (12 << 20) - PAGE, delivery).unwrap();
        assert!(wall.as_ptr() as usize > numbers.as_ptr() as usize);
        let before = (numbers.as_ptr(), vm.stats());
        numbers.reserve_exact(8 << 17);
        let after = (numbers.as_ptr(), vm.stats());
        assert!(after.1.pages_demanded == before.1.pages_demanded, "pages were read to grow");
        numbers.extend(12 << 17..20 << 17);
        assert!(numbers.iter().enumerate().all(|(n, number)| n as u64 == *number));
        assert_ne!(before.0, after.0, "{delivery:?}: it grew where it was");
    }
}

/// The time that it takes, and what the first touch of every page in memory costs after it.
#[test]
#[ignore = "1 GiB of disk"]
fn full_size_one_gibibyte_moves() {
    for delivery in DELIVERIES {
        let vm = vm(256 << 20, 2 << 30);
        let (mut memory, _wall) = walled_in(&vm, 1 << 18, delivery);
        let started = Instant::now();
        memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        let filled = started.elapsed();
        let before = vm.stats();
        let started = Instant::now();
        memory.resize((1 << 30) + PAGE).unwrap();
        let moved = started.elapsed();
        let in_memory = before.frames_used as usize;
        let started = Instant::now();
        let last = &memory[((1 << 18) - in_memory / 2) * PAGE..1 << 30];
        assert!(last.iter().step_by(PAGE).all(|byte| *byte == 1));
        println!(
            "{delivery:?}: filled in {filled:?}; moved in {moved:?}, with {in_memory} pages in \
             memory; {} of them loaded in {:?}",
            in_memory / 2,
            started.elapsed()
        );
    }
}
