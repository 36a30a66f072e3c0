//! Other rights for parts of mappings, as mprotect(2) gives them.
#![cfg(target_arch = "x86_64")]

mod verbs_common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use faultless::{Delivery, MapOptions, Protection};
use verbs_common::*;

/// What was seen at a byte: of a load, and of a store after it.
type Seen = (Result<u8, (i32, i32)>, Result<(), (i32, i32)>);

const STEPS: [(std::ops::Range<usize>, Protection, i32); 7] = [
    (0..8, Protection::READ, libc::PROT_READ),
    (2..5, Protection::NONE, libc::PROT_NONE),
    (4..6, Protection::WRITE, libc::PROT_WRITE),
    (3..4, Protection::READ, libc::PROT_READ),
    (0..3, Protection::READ_WRITE, libc::PROT_READ | libc::PROT_WRITE),
    (7..8, Protection::NONE, libc::PROT_NONE),
    (0..8, Protection::READ_WRITE, libc::PROT_READ | libc::PROT_WRITE),
];

/// Touches every page after each step.
fn walk(start: *mut u8, mut protect: impl FnMut(usize)) -> Vec<Seen> {
    let mut seen = Vec::new();
    for step in 0..STEPS.len() {
        protect(step);
        for page in 0..8 {
            let at = start.wrapping_add(page * PAGE + 5);
            let place = |why: Refused| {
                assert_eq!(why.addr, at as usize, "another address");
                (why.signal, why.code)
            };
            seen.push((load(at).map_err(place), store(at, (step * 8 + page) as u8).map_err(place)));
        }
    }
    seen
}

fn by_kernel() -> Vec<Seen> {
    catch_signals();
    let memory = Kernel::anonymous(8 * PAGE);
    walk(memory.start, |step| {
        let (pages, _, prot) = STEPS[step].clone();
        let at = memory.start.wrapping_add(pages.start * PAGE);
        // SAFETY: the memory is this test's; it is touched by probes only.
        assert_eq!(unsafe { libc::mprotect(at.cast(), pages.len() * PAGE, prot) }, 0);
    })
}

#[test]
fn rights_are_those_of_the_kernel_step_by_step() {
    let kernel = by_kernel();
    assert!(kernel.iter().any(|(load, _)| *load == Err((libc::SIGSEGV, ACCERR))));
    for delivery in DELIVERIES {
        let vm = small_vm();
        let mut memory = vm.anonymous_by(8 * PAGE, delivery).unwrap();
        let start = memory.as_mut_ptr();
        let ours = walk(start, |step| {
            let (pages, protection, _) = STEPS[step].clone();
            // SAFETY: touched by probes only.
            unsafe { memory.protect(pages.start * PAGE..pages.end * PAGE, protection) }.unwrap();
        });
        assert_eq!(ours, kernel, "{delivery:?}");
    }
}

#[test]
fn bytes_survive_without_rights_in_swap_too() {
    for delivery in DELIVERIES {
        let vm = small_vm();
        let mut memory = vm.anonymous_by(64 * PAGE, delivery).unwrap();
        let start = memory.as_mut_ptr();
        for page in 0..64 {
            memory[page * PAGE] = byte(page);
        }
        // SAFETY: touched by probes only.
        unsafe { memory.protect(.., Protection::NONE) }.unwrap();
        for page in 0..64 {
            let at = start.wrapping_add(page * PAGE);
            assert_eq!(load(at), Err(denied(at)));
            assert_eq!(load_by_call(at), Err(libc::EFAULT), "{delivery:?}");
        }
        // SAFETY: as above.
        unsafe { memory.protect(.., Protection::READ) }.unwrap();
        for page in 0..64 {
            let at = start.wrapping_add(page * PAGE);
            assert_eq!((load(at), store(at, 0)), (Ok(byte(page)), Err(denied(at))));
        }
        // SAFETY: all rights are back.
        unsafe { memory.protect(.., Protection::READ_WRITE) }.unwrap();
        assert!((0..64).all(|page| memory[page * PAGE] == byte(page)));
    }
}

#[test]
fn ranges_that_are_none_are_refused_as_by_the_kernel() {
    let vm = small_vm();
    let mut memory = vm.anonymous(4 * PAGE).unwrap();
    let mut refused = |range: std::ops::Range<usize>, protection| {
        // SAFETY: nothing changes.
        unsafe { memory.protect(range, protection) }.unwrap_err().errno()
    };
    // Low, where the system places nothing by itself: behind the fourth page stays a hole.
    let low: *mut libc::c_void = std::ptr::without_provenance_mut(1 << 20);
    let (rights, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
    let flags = flags | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: nothing is replaced.
    let kernel = unsafe { libc::mmap(low, 4 * PAGE, rights, flags, -1, 0) };
    assert_eq!(kernel, low);
    // SAFETY: the memory is this test's, and not touched.
    let by_kernel = |at: usize, len: usize| unsafe {
        errno_of(libc::mprotect(kernel.wrapping_byte_add(at), len, libc::PROT_READ)).unwrap_err()
    };
    assert_eq!(refused(1..PAGE, Protection::READ), by_kernel(1, PAGE - 1));
    assert_eq!(refused(0..5 * PAGE, Protection::READ), by_kernel(0, 5 * PAGE));
    assert_eq!(refused(5 * PAGE..6 * PAGE, Protection::READ), by_kernel(5 * PAGE, PAGE));
    let exec = refused(0..PAGE, Protection::READ | Protection::EXEC);
    assert_eq!(exec, libc::EINVAL);
    // An empty range is fine, and what was refused has changed nothing.
    // SAFETY: nothing is taken away.
    unsafe { memory.protect(PAGE..PAGE, Protection::NONE) }.unwrap();
    memory.fill(1);
}

#[test]
fn a_copy_keeps_its_own_bytes_and_the_files() {
    for delivery in DELIVERIES {
        let (vm, file) = (small_vm(), file(32));
        let options = MapOptions::new().delivery(delivery);
        // SAFETY: nobody changes the file.
        let mut copy = unsafe { options.map_copy(&vm, &file) }.unwrap();
        let start = copy.as_mut_ptr();
        (0..32).step_by(2).for_each(|page| copy[page * PAGE] = 200 + page as u8);
        let expected =
            |page: usize| if page.is_multiple_of(2) { 200 + page as u8 } else { byte(page) };
        for protection in [Protection::NONE, Protection::READ, Protection::READ_WRITE] {
            // SAFETY: touched by probes only.
            unsafe { copy.protect(.., protection) }.unwrap();
            for page in 0..32 {
                let at = start.wrapping_add(page * PAGE);
                let readable = protection != Protection::NONE;
                let seen = if readable { Ok(expected(page)) } else { Err(denied(at)) };
                assert_eq!(load(at), seen, "{delivery:?}, page {page}");
                let stores = protection == Protection::READ_WRITE;
                let stored = if stores { Ok(()) } else { Err(denied(at)) };
                assert_eq!(store(at, expected(page)), stored);
            }
        }
    }
}

#[test]
fn a_shared_map_loses_rights_for_pointers_and_pins_and_no_change() {
    for delivery in DELIVERIES {
        let (vm, file) = (small_vm(), file(32));
        let map = MapOptions::new().delivery(delivery).map_raw_mut(&vm, &file).unwrap();
        let start = map.as_mut_ptr();
        for page in 0..32 {
            store(start.wrapping_add(page * PAGE), 100 + page as u8).unwrap();
        }
        map.protect(8 * PAGE..16 * PAGE, Protection::NONE).unwrap();
        map.protect(16 * PAGE.., Protection::READ).unwrap();
        for page in 0..32 {
            let at = start.wrapping_add(page * PAGE);
            let (readable, writable) = (!(8..16).contains(&page), page < 8);
            let (offset, mut byte) = ((page * PAGE) as u64, [0]);
            assert_eq!(load(at).is_ok(), readable);
            assert_eq!(store(at, 100 + page as u8).is_ok(), writable, "page {page}");
            let read = map.read_at(offset, &mut byte).map_err(|error| error.errno());
            assert_eq!(read, if readable { Ok(1) } else { Err(libc::EACCES) });
            let written = map.write_at(offset, &[100 + page as u8]).map_err(|error| error.errno());
            assert_eq!(written, if writable { Ok(()) } else { Err(libc::EACCES) });
        }
        map.flush().unwrap();
        let bytes = std::os::unix::fs::FileExt::read_exact_at;
        for page in 0..32 {
            let mut on_disk = [0];
            bytes(&file, &mut on_disk, (page * PAGE) as u64).unwrap();
            assert_eq!(on_disk[0], 100 + page as u8, "a change is lost");
        }
    }
}

#[test]
fn a_pin_is_in_the_way_and_a_file_for_reading_stays_so() {
    let (vm, file) = (small_vm(), file(8));
    let writable = MapOptions::new().map_raw_mut(&vm, &file).unwrap();
    let read_only = MapOptions::new().map_raw(&vm, &file).unwrap();
    let pin = read_only.pin(2 * PAGE as u64, 10).unwrap();
    let error = writable.protect(PAGE..4 * PAGE, Protection::READ).unwrap_err();
    assert!(error.is_pinned() && error.errno() == libc::EBUSY, "{error}");
    writable.protect(3 * PAGE.., Protection::NONE).unwrap();
    assert_eq!(pin[..], [byte(2); 10]);
    drop(pin);
    writable.protect(PAGE..4 * PAGE, Protection::READ).unwrap();
    let error = read_only.protect(..PAGE, Protection::READ_WRITE).unwrap_err();
    assert_eq!(error.errno(), libc::EACCES);
    assert_eq!(load(read_only.as_ptr()), Ok(byte(0)));
}

/// One thread takes rights away and gives them back; others count in pages beside its own,
/// and one loads from its pages all the time.
fn neighbours(delivery: Delivery) {
    let vm = vm(32 * PAGE as u64, 16 << 20);
    let mut memory = vm.anonymous_by(96 * PAGE, delivery).unwrap();
    let (stop, refused) = (AtomicBool::new(false), AtomicU64::new(0));
    let start = memory.as_mut_ptr() as usize;
    let counter = |page: usize| (start + page * PAGE) as *mut u8;
    std::thread::scope(|scope| {
        let (stop, refused, counter) = (&stop, &refused, &counter);
        let counters = [0, 1].map(|n| {
            scope.spawn(move || {
                let mut rounds = 0u8;
                while !stop.load(Ordering::Relaxed) {
                    rounds = rounds.wrapping_add(1);
                    for page in (n..96).step_by(3) {
                        let before = load(counter(page)).expect("rights were never taken");
                        assert_eq!(before, rounds.wrapping_sub(1), "a store is lost, {page}");
                        store(counter(page), rounds).expect("rights were never taken");
                    }
                }
            })
        });
        let looker = scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                for page in (2..96).step_by(3) {
                    match load(counter(page)) {
                        Ok(_) => {}
                        Err(why) if why == denied(counter(page)) => {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(why) => panic!("{why:?}"),
                    }
                }
            }
        });
        for round in 1..60u8 {
            for page in (2..96).step_by(3) {
                let range = page * PAGE..(page + 1) * PAGE;
                store(counter(page), round).unwrap();
                // SAFETY: everybody uses pointers.
                unsafe { memory.protect(range.clone(), Protection::NONE) }.unwrap();
                assert_eq!(load(counter(page)), Err(denied(counter(page))));
                // SAFETY: as above.
                unsafe { memory.protect(range.clone(), Protection::READ) }.unwrap();
                assert_eq!(load(counter(page)), Ok(round));
                assert_eq!(store(counter(page), 0), Err(denied(counter(page))));
                // SAFETY: as above.
                unsafe { memory.protect(range, Protection::READ_WRITE) }.unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
        counters.into_iter().for_each(|thread| thread.join().unwrap());
        looker.join().unwrap();
    });
    println!("{delivery:?}: {} loads were refused", refused.load(Ordering::Relaxed));
}

#[test]
fn neighbours_go_on_meanwhile() {
    DELIVERIES.into_iter().for_each(neighbours);
}
