//! Parts of private memory that are forgotten, sent away and brought back, as by madvise(2).
#![cfg(target_arch = "x86_64")]

mod verbs_common;

use std::sync::atomic::{AtomicBool, Ordering};

use faultless::{Advice, Delivery, MapOptions};
use verbs_common::*;

#[test]
fn discarded_pages_are_zeros_and_give_memory_and_swap_back() {
    for delivery in DELIVERIES {
        let vm = small_vm();
        let mut memory = vm.anonymous_by(64 * PAGE, delivery).unwrap();
        memory.fill(9);
        let before = vm.stats();
        assert!(before.swap_slots_used >= 50 && before.frames_used > 0, "{before:?}");
        memory.discard(16 * PAGE..48 * PAGE).unwrap();
        let expected = |page: usize| if (16..48).contains(&page) { 0 } else { 9 };
        let in_swap = vm.stats().swap_slots_used;
        assert!(in_swap <= 32, "{in_swap} slots for 32 pages");
        assert!((0..64).all(|page| memory[page * PAGE + 77] == expected(page)), "{delivery:?}");
        memory.discard(..).unwrap();
        let after = vm.stats();
        assert_eq!((after.frames_used, after.swap_slots_used), (0, 0), "{delivery:?}");
    }
}

#[test]
fn the_end_of_a_range_is_rounded_up_as_by_the_kernel() {
    let (vm, kernel) = (small_vm(), Kernel::anonymous(4 * PAGE));
    let mut memory = vm.anonymous(4 * PAGE).unwrap();
    memory.fill(5);
    // SAFETY: the memory is this test's, and is used by pointers.
    let by_kernel = unsafe {
        kernel.start.write_bytes(5, 4 * PAGE);
        let at = |offset: usize| kernel.start.add(offset).cast();
        assert_eq!(libc::madvise(at(PAGE), 1, libc::MADV_DONTNEED), 0);
        let unaligned = errno_of(libc::madvise(at(1), PAGE, libc::MADV_DONTNEED));
        // Where nobody may map anything: a hole of ours could be another thread's by now.
        let nowhere = std::ptr::without_provenance_mut(PAGE);
        let outside = errno_of(libc::madvise(nowhere, 2 * PAGE, libc::MADV_DONTNEED));
        let bytes = [PAGE - 1, PAGE, 2 * PAGE - 1, 2 * PAGE].map(|at| kernel.start.add(at).read());
        (unaligned, outside, bytes)
    };
    memory.discard(PAGE..PAGE + 1).unwrap();
    let unaligned = memory.discard(1..PAGE).map_err(|error| error.errno());
    let outside = memory.discard(3 * PAGE..5 * PAGE).map_err(|error| error.errno());
    let bytes = [PAGE - 1, PAGE, 2 * PAGE - 1, 2 * PAGE].map(|at| memory[at]);
    assert_eq!((unaligned, outside, bytes), by_kernel);
}

#[test]
fn a_copy_is_the_files_again() {
    for delivery in DELIVERIES {
        let (vm, file) = (small_vm(), file(40));
        let options = MapOptions::new().delivery(delivery).offset(100);
        // SAFETY: nobody changes the file.
        let mut copy = unsafe { options.map_copy(&vm, &file) }.unwrap();
        copy.fill(255);
        copy.discard(8 * PAGE - 100..24 * PAGE - 100).unwrap();
        let expected = |page| if (8..24).contains(&page) { byte(page) } else { 255 };
        assert!((0..40).all(|page| copy[page * PAGE] == expected(page)), "{delivery:?}");
        assert_eq!(copy.discard(8 * PAGE..).unwrap_err().errno(), libc::EINVAL);
        copy.discard(..).unwrap();
        assert!((0..40).all(|page| copy[page * PAGE] == byte(page)), "{delivery:?}");
        assert_eq!(vm.stats().swap_slots_used, 0);
    }
}

#[test]
fn pages_are_sent_away_and_brought_back() {
    for delivery in DELIVERIES {
        let vm = vm(64 * PAGE as u64, 1 << 20);
        let mut memory = vm.anonymous_by(24 * PAGE, delivery).unwrap();
        for page in 0..24 {
            memory[page * PAGE] = byte(page);
        }
        assert_eq!((vm.stats().frames_used, vm.stats().swap_slots_used), (24, 0));
        memory.advise(.., Advice::PageOut).unwrap();
        // A page that has just come may still be in a handler's hands, and stays.
        let left = vm.stats().frames_used;
        assert!(left <= 1 && vm.stats().swap_slots_used + left == 24, "{delivery:?}");
        memory.advise(8 * PAGE..16 * PAGE, Advice::WillNeed).unwrap();
        assert_eq!(vm.stats().frames_used, left + 8);
        let before = vm.stats();
        assert!((8..16).all(|page| memory[page * PAGE] == byte(page)));
        assert_eq!(vm.stats().faults_major, before.faults_major, "they were to be there");
        assert!((0..24).all(|page| memory[page * PAGE] == byte(page)));
        memory.advise(.., Advice::Free).unwrap();
        assert!((0..24).all(|page| memory[page * PAGE] == 0));
    }
}

/// One thread forgets pages, others count in their own beside them.
fn neighbours(delivery: Delivery) {
    let vm = vm(32 * PAGE as u64, 16 << 20);
    let mut memory = vm.anonymous_by(96 * PAGE, delivery).unwrap();
    let stop = AtomicBool::new(false);
    let start = memory.as_mut_ptr() as usize;
    let at = |page: usize| (start + page * PAGE) as *mut u8;
    std::thread::scope(|scope| {
        let (stop, at) = (&stop, &at);
        let counters = [0, 1].map(|n| {
            scope.spawn(move || {
                let mut rounds = 0u8;
                while !stop.load(Ordering::Relaxed) {
                    for page in (n..96).step_by(3) {
                        assert_eq!(load(at(page)), Ok(rounds), "a store to {page} is lost");
                        store(at(page), rounds.wrapping_add(1)).unwrap();
                    }
                    rounds = rounds.wrapping_add(1);
                }
            })
        });
        for round in 1..80u8 {
            for page in (2..96).step_by(3) {
                assert_eq!(load(at(page)), Ok(0));
                store(at(page), round).unwrap();
                if round % 3 == 0 {
                    memory.advise(page * PAGE..(page + 1) * PAGE, Advice::PageOut).unwrap();
                    assert_eq!(load(at(page)), Ok(round));
                }
                memory.discard(page * PAGE..(page + 1) * PAGE).unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
        counters.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn neighbours_go_on_meanwhile() {
    DELIVERIES.into_iter().for_each(neighbours);
}
