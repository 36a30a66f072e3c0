//! Pages that stay in memory, come before they are touched, and are looked for, as by
//! mlock(2), `MADV_POPULATE_WRITE`, mincore(2) and /proc/PID/maps.
#![cfg(target_arch = "x86_64")]

mod verbs_common;

use faultless::{Advice, Delivery, MapOptions, Over, Protection, Vm};
use verbs_common::*;

#[test]
fn locked_pages_never_leave() {
    for delivery in DELIVERIES {
        let vm = small_vm();
        let mut memory = vm.anonymous_by(64 * PAGE, delivery).unwrap();
        let mut other = vm.anonymous_by(128 * PAGE, delivery).unwrap();
        memory[8 * PAGE] = 1;
        memory.lock(8 * PAGE..12 * PAGE).unwrap();
        assert_eq!(memory.residency(8 * PAGE..12 * PAGE).unwrap(), [true; 4]);
        for round in 0..4u8 {
            other.fill(round);
            memory[40 * PAGE..].fill(round);
            assert_eq!(memory.residency(8 * PAGE..12 * PAGE).unwrap(), [true; 4], "{delivery:?}");
        }
        let discarded = memory.discard(9 * PAGE..10 * PAGE).map_err(|error| error.errno());
        let sent_away = memory.advise(.., Advice::PageOut).map_err(|error| error.errno());
        assert_eq!((discarded, sent_away), (Err(libc::EINVAL), Err(libc::EINVAL)));
        memory.unlock(..).unwrap();
        memory.advise(.., Advice::PageOut).unwrap();
        let left = memory.residency(8 * PAGE..12 * PAGE).unwrap();
        assert_ne!(left, [true; 4], "{delivery:?}: they were to leave");
        assert_eq!((memory[8 * PAGE], memory[8 * PAGE + 1]), (1, 0));
    }
}

#[test]
fn what_is_locked_stays_so_elsewhere_and_with_other_rights() {
    for delivery in DELIVERIES {
        let vm = small_vm();
        let _wall = vm.anonymous_by(PAGE, delivery).unwrap();
        let mut memory = vm.anonymous_by(4 * PAGE, delivery).unwrap();
        let mut other = vm.anonymous_by(128 * PAGE, delivery).unwrap();
        memory.fill(7);
        memory.lock(..).unwrap();
        let before = memory.as_ptr() as usize;
        assert_ne!(memory.resize(6 * PAGE).unwrap() as usize, before, "there is a wall");
        other.fill(1);
        assert_eq!(memory.residency(..).unwrap(), [true; 6], "{delivery:?}");
        // SAFETY: it is only read until rights are given back.
        unsafe { memory.protect(.., Protection::READ) }.unwrap();
        other.fill(2);
        assert_eq!(memory.residency(..).unwrap(), [true; 6], "{delivery:?}");
        // SAFETY: as above.
        unsafe { memory.protect(.., Protection::READ_WRITE) }.unwrap();
        let error = memory.resize(20 * PAGE).unwrap_err();
        assert_eq!((error.errno(), memory.len()), (libc::EAGAIN, 6 * PAGE), "{error}");
        assert!(memory[..4 * PAGE].iter().all(|byte| *byte == 7));
        assert!(memory[4 * PAGE..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing_locked() {
    for delivery in DELIVERIES {
        let vm = small_vm();
        let file = file(16);
        let mut memory = vm.anonymous_by(64 * PAGE, delivery).unwrap();
        let error = memory.lock(..).unwrap_err();
        assert!(error.is_no_room() && error.errno() == libc::ENOMEM, "{error}");
        memory.lock(..6 * PAGE).unwrap();
        let error = memory.lock(..20 * PAGE).unwrap_err();
        assert!(error.is_no_room(), "{error}");
        // Pins and locks share what there is: ten pages of this budget.
        let map = MapOptions::new().map_raw(&vm, &file).unwrap();
        assert!(map.pin(0, 5 * PAGE).unwrap_err().is_no_room());
        let pin = map.pin(0, 4 * PAGE).unwrap();
        assert!(memory.lock(6 * PAGE..7 * PAGE).unwrap_err().is_no_room());
        drop(pin);
        memory.lock(6 * PAGE..7 * PAGE).unwrap();
        // A page that can't be had: nothing of the range is locked.
        // SAFETY: it is not touched.
        unsafe { memory.protect(12 * PAGE..13 * PAGE, Protection::NONE) }.unwrap();
        assert_eq!(memory.lock(10 * PAGE..13 * PAGE).unwrap_err().errno(), libc::ENOMEM);
        memory.discard(10 * PAGE..12 * PAGE).unwrap();
        assert_eq!(memory.lock(64 * PAGE..65 * PAGE).unwrap_err().errno(), libc::ENOMEM);
        drop(memory);
        vm.anonymous_by(10 * PAGE, delivery).unwrap().lock(..).unwrap();
    }
}

#[test]
fn a_copy_is_locked_with_copies_of_its_own() {
    for delivery in DELIVERIES {
        let (vm, file) = (small_vm(), file(64));
        // SAFETY: nobody changes the file.
        let mut copy =
            unsafe { MapOptions::new().delivery(delivery).map_copy(&vm, &file) }.unwrap();
        copy.lock(3 * PAGE..5 * PAGE + 1).unwrap();
        for _ in 0..3 {
            assert!((0..64).all(|page| copy[page * PAGE] == byte(page)));
            assert_eq!(copy.residency(3 * PAGE..6 * PAGE).unwrap(), [true; 3], "{delivery:?}");
        }
        copy[4 * PAGE] = 77;
        assert_eq!(copy.residency(4 * PAGE..5 * PAGE).unwrap(), [true]);
        assert!(copy.residency(..).unwrap().iter().filter(|there| **there).count() <= 14);
    }
}

#[test]
fn populated_pages_are_there_without_a_fault() {
    for delivery in DELIVERIES {
        let vm = vm(64 * PAGE as u64, 1 << 20);
        let mut memory = vm.anonymous_by(32 * PAGE, delivery).unwrap();
        assert_eq!(memory.residency(..).unwrap(), [false; 32]);
        memory[3 * PAGE] = 1;
        let expected: Vec<bool> = (0..32).map(|page| page == 3).collect();
        assert_eq!(memory.residency(..).unwrap(), expected);
        memory.populate(8 * PAGE..24 * PAGE).unwrap();
        let before = vm.stats();
        memory[8 * PAGE..24 * PAGE].iter_mut().step_by(PAGE).for_each(|byte| *byte = 5);
        let after = vm.stats();
        let faults = |stats: &faultless::Stats| {
            (stats.faults_zero, stats.faults_minor, stats.faults_write, stats.faults_major)
        };
        assert_eq!(faults(&before), faults(&after), "{delivery:?}");
        let expected: Vec<bool> =
            (0..32).map(|page| page == 3 || (8..24).contains(&page)).collect();
        assert_eq!(memory.residency(..).unwrap(), expected);
    }
}

/// The fields of a line but the name, which is the sixth.
fn fields(line: &str) -> (String, String, String, &str) {
    let mut fields = line.splitn(6, ' ');
    let mut next = || fields.next().unwrap().to_owned();
    let (range, rights, offset) = (next(), next(), next());
    let name = line.split_once('/').map_or("", |(before, _)| &line[before.len()..]);
    (range, rights, offset, name)
}

#[test]
fn areas_are_told_in_the_kernels_words() {
    let vm: Vm = small_vm();
    let dir = tempfile::tempdir_in(swap_dir()).unwrap();
    let path = dir.path().join("shown");
    std::fs::write(&path, [7; 3 * PAGE]).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let mut memory = vm.anonymous_by(4 * PAGE, Delivery::Inline).unwrap();
    // SAFETY: it is not touched.
    unsafe { memory.protect(PAGE..2 * PAGE, Protection::READ) }.unwrap();
    let mut all = vm.reserve(8 * PAGE).unwrap();
    // SAFETY: nobody changes the file.
    unsafe { all.place_file(4 * PAGE, &MapOptions::new().offset(4096), &file, Over::Refuse) }
        .unwrap();
    let maps = vm.maps().unwrap();
    let range = |start: *const u8, from: usize, to: usize| {
        let start = start as usize;
        format!("{:08x}-{:08x}", start + from * PAGE, start + to * PAGE)
    };
    let name = path.to_str().unwrap();
    let mut expected = vec![
        (range(memory.as_ptr(), 0, 1), "rw-p", "00000000", ""),
        (range(memory.as_ptr(), 1, 2), "r--p", "00000000", ""),
        (range(memory.as_ptr(), 2, 4), "rw-p", "00000000", ""),
        (range(all.as_ptr(), 0, 4), "---p", "00000000", ""),
        (range(all.as_ptr(), 4, 6), "rw-p", "00001000", name),
        (range(all.as_ptr(), 6, 8), "---p", "00000000", ""),
    ];
    let home = MapOptions::new().map_raw(&vm, &file).unwrap();
    expected.push((range(home.as_ptr(), 0, 3), "r--s", "00000000", name));
    expected.sort();
    let mut seen: Vec<_> = maps.lines().map(fields).collect();
    assert!(seen.is_sorted(), "by address:\n{maps}");
    seen.sort();
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(range, rights, offset, name)| (range, rights.into(), offset.into(), name))
        .collect();
    assert_eq!(seen, expected, "{maps}");
    // The kernel's own line for the same file says the same of device, inode and column.
    let kernel = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(!kernel.contains(name));
    // SAFETY: a new map of a file of this test's.
    let mapped = unsafe {
        use std::os::fd::AsRawFd as _;
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
        libc::mmap(std::ptr::null_mut(), 2 * PAGE, prot, flags, file.as_raw_fd(), 4096)
    };
    let kernel = std::fs::read_to_string("/proc/self/maps").unwrap();
    // SAFETY: it is this test's.
    unsafe { libc::munmap(mapped, 2 * PAGE) };
    let after_range = |line: &str| line.split_once(' ').map(|(_, rest)| rest.to_owned());
    let theirs = kernel.lines().find(|line| line.contains(name)).and_then(after_range);
    let ours = maps.lines().find(|line| line.contains(name) && line.contains("rw-p"));
    assert_eq!(ours.and_then(after_range), theirs);
}
