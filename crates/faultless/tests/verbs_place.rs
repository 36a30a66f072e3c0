//! Memory and files at chosen places, as by mmap(2) with MAP_FIXED.
#![cfg(target_arch = "x86_64")]

mod verbs_common;

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};

use faultless::{Delivery, Error, MapOptions, Over, Reservation, Vm};
use verbs_common::*;

fn reserve(vm: &Vm, pages: usize, delivery: Delivery) -> Reservation {
    vm.reserve_by(pages * PAGE, delivery).unwrap()
}

fn place(to: &mut Reservation, page: usize, file: &File, over: Over) -> Result<usize, Error> {
    place_from(to, page, &MapOptions::new(), file, over)
}

fn place_from(
    to: &mut Reservation,
    page: usize,
    options: &MapOptions,
    file: &File,
    over: Over,
) -> Result<usize, Error> {
    // SAFETY: nobody changes the file.
    unsafe { to.place_file(page * PAGE, options, file, over) }
}

#[test]
fn two_files_and_memory_are_one_slice() {
    for delivery in DELIVERIES {
        let (vm, one, two) = (small_vm(), file(40), file(30));
        let mut all = reserve(&vm, 100, delivery);
        assert!(all.slice(..PAGE).is_none(), "nothing is there yet");
        assert_eq!(place(&mut all, 0, &one, Over::Refuse).unwrap(), 40 * PAGE);
        assert_eq!(place(&mut all, 40, &two, Over::Refuse).unwrap(), 30 * PAGE);
        all.place_anonymous(70 * PAGE..80 * PAGE, Over::Refuse).unwrap();
        assert!(all.slice(..80 * PAGE + 1).is_none() && all.slice(..).is_none());
        let expected = |page: usize| match page {
            0..40 => byte(page),
            40..70 => byte(page - 40),
            _ => 0,
        };
        let bytes = all.slice(..80 * PAGE).unwrap();
        assert!(bytes.iter().enumerate().all(|(n, byte)| *byte == expected(n / PAGE)));
        // What is stored is its own, and survives swap.
        let bytes = all.slice_mut(..80 * PAGE).unwrap();
        bytes.iter_mut().step_by(3 * PAGE).for_each(|byte| *byte = !*byte);
        for (page, bytes) in all.slice(..80 * PAGE).unwrap().chunks(PAGE).enumerate() {
            let first = if page % 3 == 0 { !expected(page) } else { expected(page) };
            assert_eq!((bytes[0], bytes[1]), (first, expected(page)), "{delivery:?}, {page}");
        }
        for (file, pages) in [(&one, 40), (&two, 30)] {
            let map = MapOptions::new().map_raw(&vm, file).unwrap();
            let mut seen = [0];
            for page in 0..pages {
                map.read_at((page * PAGE) as u64, &mut seen).unwrap();
                assert_eq!(seen[0], byte(page), "the file has changed");
            }
        }
        let (start, middle) = (all.as_ptr(), all.as_ptr().wrapping_add(90 * PAGE));
        assert_eq!(load(middle), Err(denied(middle)));
        drop(all);
        assert_eq!(load(start), Err(Refused { code: MAPERR, ..denied(start) }));
        assert_eq!((vm.stats().frames_used, vm.stats().swap_slots_used), (0, 0));
    }
}

#[test]
fn what_is_replaced_is_gone_and_what_is_beside_it_stays() {
    for delivery in DELIVERIES {
        let (vm, below, above) = (small_vm(), file(32), file(8));
        let mut all = reserve(&vm, 32, delivery);
        place(&mut all, 0, &below, Over::Refuse).unwrap();
        all.slice_mut(..).unwrap().iter_mut().step_by(PAGE).for_each(|byte| *byte = 99);
        let error = place(&mut all, 30, &above, Over::Refuse).unwrap_err();
        assert_eq!(error.errno(), libc::ENOMEM, "it is longer than that");
        let error = place(&mut all, 10, &above, Over::Refuse).unwrap_err();
        assert_eq!(error.errno(), libc::EEXIST, "{error}");
        assert!(all.slice(..).unwrap().iter().step_by(PAGE).all(|byte| *byte == 99));
        place(&mut all, 10, &above, Over::Replace).unwrap();
        all.place_anonymous(14 * PAGE..16 * PAGE, Over::Replace).unwrap();
        all.remove(20 * PAGE..22 * PAGE).unwrap();
        assert!(all.slice(..21 * PAGE).is_none());
        let seen = |page: usize| {
            let bytes = all.slice(page * PAGE..(page + 1) * PAGE).unwrap();
            (bytes[0], bytes[1])
        };
        for page in (0..32).filter(|page| !(20..22).contains(page)) {
            let expected = match page {
                14 | 15 => (0, 0),
                10..18 => (byte(page - 10), byte(page - 10)),
                _ => (99, byte(page)),
            };
            assert_eq!(seen(page), expected, "{delivery:?}, page {page}");
        }
        let hole = all.as_ptr().wrapping_add(20 * PAGE);
        assert_eq!(load(hole), Err(denied(hole)));
    }
}

#[test]
fn a_part_of_a_file_begins_with_a_page_and_ends_in_zeros() {
    let (vm, file) = (small_vm(), file(4));
    file.set_len(2 * PAGE as u64 + 100).unwrap();
    let mut all = reserve(&vm, 8, Delivery::Thread);
    let part = MapOptions::new().offset(PAGE as u64);
    assert_eq!(place_from(&mut all, 3, &part, &file, Over::Refuse).unwrap(), 2 * PAGE);
    let bytes = all.slice(3 * PAGE..5 * PAGE).unwrap();
    assert_eq!((bytes[0], bytes[PAGE], bytes[PAGE + 99]), (byte(1), byte(2), byte(2)));
    assert!(bytes[PAGE + 100..].iter().all(|byte| *byte == 0));
}

#[test]
fn what_cannot_be_placed_is_refused_as_by_the_kernel() {
    let (vm, file) = (small_vm(), file(4));
    let kernel = Kernel::anonymous(8 * PAGE);
    let by_kernel = |at: usize, len: usize, flags: libc::c_int, offset: i64| {
        let (at, prot) = (kernel.start.wrapping_add(at), libc::PROT_READ);
        let flags = flags | libc::MAP_PRIVATE;
        // SAFETY: over this test's own memory, if at all.
        unsafe {
            let mapped = libc::mmap(at.cast(), len, prot, flags, file.as_raw_fd(), offset);
            assert_eq!(mapped, libc::MAP_FAILED);
            *libc::__errno_location()
        }
    };
    let mut all = reserve(&vm, 8, Delivery::Thread);
    all.place_anonymous(.., Over::Refuse).unwrap();
    let mut errno = |at: usize, options: &MapOptions, over| {
        // SAFETY: nobody changes the file.
        unsafe { all.place_file(at, options, &file, over) }.unwrap_err().errno()
    };
    let (whole, crooked) = (MapOptions::new(), MapOptions::new().offset(100));
    let fixed = libc::MAP_FIXED;
    assert_eq!(errno(1, &whole, Over::Replace), by_kernel(1, PAGE, fixed, 0));
    assert_eq!(errno(0, &crooked, Over::Replace), by_kernel(0, PAGE, fixed, 100));
    let empty = MapOptions::new().len(0);
    assert_eq!(errno(0, &empty, Over::Replace), by_kernel(0, 0, fixed, 0));
    let there = by_kernel(0, PAGE, libc::MAP_FIXED_NOREPLACE, 0);
    assert_eq!(errno(0, &whole, Over::Refuse), there);
    assert_eq!(errno(6 * PAGE, &whole, Over::Replace), libc::ENOMEM);
    assert_eq!(errno(usize::MAX, &whole, Over::Replace), libc::ENOMEM);
    assert!(all.slice(..).unwrap().iter().all(|byte| *byte == 0), "nothing has changed");
    assert_eq!(vm.reserve(0).unwrap_err().errno(), libc::ENOMEM);
    // More than there are addresses.
    assert_eq!(vm.reserve(usize::MAX).unwrap_err().errno(), libc::ENOMEM);
}

#[test]
fn addresses_cost_nothing_and_what_is_placed_is_paid() {
    let vm = small_vm();
    let mut all = vm.reserve(1 << 40).unwrap();
    let error = all.place_anonymous(..32 << 20, Over::Refuse).unwrap_err();
    assert_eq!(error.errno(), libc::ENOMEM);
    for round in 0..10 {
        let at = round << 30;
        all.place_anonymous(at..at + (16 << 20), Over::Refuse).unwrap();
        assert!(vm.anonymous(1 << 20).is_err(), "there is no room for both");
        match round % 2 {
            0 => all.remove(at..at + (16 << 20)).unwrap(),
            _ => all.remove(..).unwrap(),
        }
    }
    all.place_anonymous(..16 << 20, Over::Refuse).unwrap();
    drop(all);
    vm.anonymous(16 << 20).unwrap();
}

/// Places are used and given up beside pages in which others count.
#[test]
fn neighbours_go_on_meanwhile() {
    for delivery in DELIVERIES {
        let (vm, shown) = (vm(48 * PAGE as u64, 16 << 20), file(2));
        let mut all = reserve(&vm, 96, delivery);
        for page in (0..96).step_by(3) {
            all.place_anonymous(page * PAGE..(page + 1) * PAGE, Over::Refuse).unwrap();
        }
        let stop = AtomicBool::new(false);
        let start = all.as_mut_ptr() as usize;
        let at = |page: usize| (start + page * PAGE) as *mut u8;
        std::thread::scope(|scope| {
            let (stop, at) = (&stop, &at);
            let counters = [0, 3].map(|n| {
                scope.spawn(move || {
                    let mut rounds = 0u8;
                    while !stop.load(Ordering::Relaxed) {
                        for page in (n..96).step_by(6) {
                            assert_eq!(load(at(page)), Ok(rounds), "a store to {page} is lost");
                            store(at(page), rounds.wrapping_add(1)).unwrap();
                        }
                        rounds = rounds.wrapping_add(1);
                    }
                })
            });
            for round in 0..20u8 {
                for page in (1..96).step_by(3) {
                    let range = page * PAGE..(page + 2) * PAGE;
                    all.place_anonymous(range.clone(), Over::Replace).unwrap();
                    assert_eq!((load(at(page)), store(at(page), round)), (Ok(0), Ok(())));
                    place(&mut all, page, &shown, Over::Replace).unwrap();
                    assert_eq!(load(at(page + 1)), Ok(byte(1)));
                    store(at(page + 1), round).unwrap();
                    all.remove(range).unwrap();
                    assert_eq!(load(at(page)), Err(denied(at(page))));
                }
            }
            stop.store(true, Ordering::Relaxed);
            counters.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}
