//! Private memory in forked children: copies, under pressure and out of swap, that change
//! on both sides without either seeing the other.

mod family;

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use family::fork;
use family::pages::*;
use faultless::{Delivery, MapOptions, Memory, Vm, VmHeap};

#[test]
fn both_sides_of_a_fork_have_their_own_memory() {
    let with = |vm: fn() -> Vm| DELIVERIES.map(|delivery| (vm(), delivery));
    for (vm, delivery) in [with(vm), with(compressed_vm)].concat() {
        let mut memory = vm.anonymous_by(PAGES * PAGE, delivery).unwrap();
        put_all(&mut memory, 1);
        let mut child = fork(|parent| {
            // The parent has changed everything by now, and written it to swap.
            parent.wait();
            check_all(&memory, 1);
            put_all(&mut memory, 2);
            parent.tell();
            parent.wait();
            check_all(&memory, 2);
            put_all(&mut memory, 4);
            check_all(&memory, 4);
        });
        put_all(&mut memory, 3);
        child.tell();
        child.wait();
        check_all(&memory, 3);
        put_all(&mut memory, 5);
        child.tell();
        check_all(&memory, 5);
        child.end();
        check_all(&memory, 5);
        drop(memory);
        wait_for_no_slots(&vm);
    }
}

#[test]
fn a_child_has_its_parents_guards() {
    let vm = vm();
    let mut memory = vm.anonymous(3 * PAGE).unwrap();
    memory.fill(7);
    // SAFETY: the page is not touched by a slice until it is none any more.
    unsafe { memory.guard(PAGE..2 * PAGE).unwrap() };
    let look = |memory: &Memory| {
        let (_reader, writer) = std::io::pipe().unwrap();
        let written = |page: usize| {
            let at = memory.as_ptr().wrapping_add(page * PAGE);
            // SAFETY: 1. the kernel checks the address.
            unsafe { libc::write(writer.as_raw_fd(), at.cast(), 1) }
        };
        [0, 1, 2].map(written)
    };
    let child = fork(|_| {
        assert_eq!(look(&memory), [1, -1, 1]);
        memory.unguard(..).unwrap();
        assert_eq!((memory[0], memory[PAGE], memory[2 * PAGE]), (7, 0, 7));
    });
    child.end();
    assert_eq!(look(&memory), [1, -1, 1]);
    memory.unguard(..).unwrap();
    assert_eq!(memory[PAGE], 0);
}

#[test]
fn a_child_that_changes_first_does_not_change_its_parents() {
    let with = |vm: fn() -> Vm| DELIVERIES.map(|delivery| (vm(), delivery));
    for (vm, delivery) in [with(vm), with(compressed_vm)].concat() {
        let mut memory = vm.anonymous_by(PAGES * PAGE, delivery).unwrap();
        put_all(&mut memory, 1);
        let mut child = fork(|parent| {
            for generation in 2..5 {
                put_all(&mut memory, generation);
                check_all(&memory, generation);
            }
            parent.tell();
        });
        child.wait();
        check_all(&memory, 1);
        child.end();
        // Memory asked for on both sides after a fork is apart, too.
        let half = PAGES * PAGE / 4;
        let child = fork(|_| {
            let mut more = vm.anonymous_by(half, delivery).unwrap();
            assert!(more.iter().all(|byte| *byte == 0));
            put_all(&mut more, 7);
            check_all(&memory, 1);
            check_all(&more, 7);
        });
        let mut more = vm.anonymous_by(half, delivery).unwrap();
        put_all(&mut more, 8);
        child.end();
        check_all(&more, 8);
        check_all(&memory, 1);
    }
}

#[test]
fn pages_that_were_only_read_since_they_came_back_are_copied_at_the_first_store() {
    for delivery in DELIVERIES {
        let vm = vm();
        let mut memory = vm.anonymous_by(PAGES * PAGE, delivery).unwrap();
        put_all(&mut memory, 1);
        // Clean now, and protected, as far as they are in memory.
        check_all(&memory, 1);
        let child = fork(|_| {
            // Stores to protected pages; then all leave, and come back.
            for page in (0..PAGES).rev().step_by(3) {
                put(&mut memory, page, 2);
            }
            for _ in 0..2 {
                for page in 0..PAGES {
                    check(&memory, page, if (PAGES - 1 - page).is_multiple_of(3) { 2 } else { 1 });
                }
            }
        });
        for page in (0..PAGES).rev().step_by(2) {
            put(&mut memory, page, 3);
        }
        child.end();
        for page in 0..PAGES {
            check(&memory, page, if (PAGES - 1 - page).is_multiple_of(2) { 3 } else { 1 });
        }
    }
}

#[test]
fn private_maps_are_copied_and_read_on() {
    for delivery in DELIVERIES {
        let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut bytes = vec![0; PAGES * PAGE];
        put_all(&mut bytes, 1);
        file.write_all_at(&bytes, 0).unwrap();
        let vm = vm();
        let options = MapOptions::new().delivery(delivery);
        // SAFETY: nobody changes the file.
        let mut map = unsafe { options.map_copy(&vm, &file) }.unwrap();
        for page in (0..PAGES).step_by(2) {
            put(&mut map, page, 2);
        }
        let of = |page: usize, even: u64, odd: u64| if page.is_multiple_of(2) { even } else { odd };
        let mut child = fork(|parent| {
            parent.wait();
            (0..PAGES).for_each(|page| check(&map, page, of(page, 2, 1)));
            for page in (1..PAGES).step_by(2) {
                put(&mut map, page, 3);
            }
            (0..PAGES).for_each(|page| check(&map, page, of(page, 2, 3)));
            map.discard(..).unwrap();
            check_all(&map, 1);
        });
        put_all(&mut map, 4);
        child.tell();
        check_all(&map, 4);
        child.end();
        check_all(&map, 4);
        let mut now = vec![0; PAGES * PAGE];
        file.read_exact_at(&mut now, 0).unwrap();
        assert!(now == bytes, "the file is as it was");
    }
}

#[test]
fn collections_go_on_on_both_sides() {
    for delivery in DELIVERIES {
        let vm = vm();
        let heap = faultless::HeapOptions::new().delivery(delivery).build(&vm);
        let mut numbers = allocator_api2::vec::Vec::<u64, VmHeap>::new_in(heap.clone());
        let mut index = hashbrown::HashMap::<u64, u64, _, VmHeap>::new_in(heap.clone());
        // Both together are more than the budget; the fork is in the middle of their growth.
        let (middle, end) = (60_000, 80_000);
        let grow = |numbers: &mut allocator_api2::vec::Vec<u64, VmHeap>,
                    index: &mut hashbrown::HashMap<u64, u64, _, VmHeap>,
                    range: std::ops::Range<u64>,
                    salt: u64| {
            for n in range {
                numbers.push(n ^ salt);
                if n.is_multiple_of(2) {
                    index.insert(n, n ^ salt);
                }
            }
        };
        let right = |numbers: &[u64], index: &hashbrown::HashMap<u64, u64, _, VmHeap>, salt| {
            for n in 0..end {
                let expected = if n < middle { n } else { n ^ salt };
                assert_eq!(numbers[n as usize], expected);
                assert_eq!(index.get(&n).copied(), n.is_multiple_of(2).then_some(expected));
            }
        };
        grow(&mut numbers, &mut index, 0..middle, 0);
        let child = fork(|_| {
            grow(&mut numbers, &mut index, middle..end, 0xff00);
            right(&numbers, &index, 0xff00);
        });
        grow(&mut numbers, &mut index, middle..end, 0xee00);
        right(&numbers, &index, 0xee00);
        child.end();
        right(&numbers, &index, 0xee00);
        drop((numbers, index, heap));
        wait_for_no_slots(&vm);
    }
}

#[test]
fn a_sort_in_the_middle_of_which_a_fork_happens_ends_on_both_sides() {
    for delivery in DELIVERIES {
        let vm = vm();
        let mut memory = vm.anonymous_by(PAGES * PAGE, delivery).unwrap();
        // SAFETY: whole pages are aligned, any bytes are numbers, and nobody else has them.
        let (_, numbers, _) = unsafe { memory.align_to_mut::<u64>() };
        let count = numbers.len() as u64;
        for (n, number) in numbers.iter_mut().enumerate() {
            *number = (n as u64 * 7919) % count;
        }
        let (mut compared, mut child) = (0u64, None);
        numbers.sort_unstable_by(|a, b| {
            compared += 1;
            if compared == 4_000_000 {
                // SAFETY: the child goes on with this very test, and ends below.
                child = Some(unsafe { libc::fork() });
            }
            a.cmp(b)
        });
        let right = (0..count).zip(&*numbers).all(|(n, number)| n == *number);
        match child.expect("the sort takes so many comparisons") {
            // SAFETY: ends this process at once.
            0 => unsafe { libc::_exit(i32::from(!right)) },
            pid => {
                let mut status = 0;
                // SAFETY: a live integer; the child is ours.
                assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
                assert!(right, "the parent's numbers");
                assert_eq!(status, 0, "the child's");
            }
        }
    }
}

#[test]
fn a_fork_while_others_store_loses_nothing() {
    DELIVERIES.into_iter().for_each(fork_while_others_store);
}

fn fork_while_others_store(delivery: Delivery) {
    const THREADS: usize = 3;
    let pages = PAGES / 4;
    let vm =
        Vm::builder().memory(BUDGET).swap(env!("CARGO_TARGET_TMPDIR"), 8 << 20).build().unwrap();
    let memories: Vec<Memory> =
        (0..THREADS).map(|_| vm.anonymous_by(2 * pages * PAGE, delivery).unwrap()).collect();
    // By page: a value that has been stored for sure.
    let stored: Vec<Vec<AtomicU64>> =
        (0..THREADS).map(|_| (0..2 * pages).map(|_| AtomicU64::new(0)).collect()).collect();
    let done = AtomicBool::new(false);
    let word = |thread: usize, page: usize| {
        let at = memories[thread].as_ptr().wrapping_add(page * PAGE);
        // SAFETY: within the memory, which outlives this, and aligned.
        unsafe { AtomicU64::from_ptr(at as *mut u64) }
    };
    std::thread::scope(|scope| {
        for (thread, stored) in stored.iter().enumerate() {
            let (done, word) = (&done, &word);
            scope.spawn(move || {
                for round in 1.. {
                    for (page, stored) in stored.iter().enumerate() {
                        let before = word(thread, page).swap(round, Ordering::SeqCst);
                        assert_eq!(before, round - 1, "page {page} of the parent");
                        stored.store(round, Ordering::SeqCst);
                        if done.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                }
            });
        }
        let outcome = std::panic::catch_unwind(|| {
            for _ in 0..10 {
                let child = fork(|_| {
                    for (thread, stored) in stored.iter().enumerate() {
                        for (page, stored) in stored.iter().enumerate() {
                            let (least, is) = (
                                stored.load(Ordering::SeqCst),
                                word(thread, page).load(Ordering::SeqCst),
                            );
                            assert!(is >= least, "page {page}: {is}, and {least} was stored");
                            word(thread, page).store(is + 1_000_000, Ordering::SeqCst);
                        }
                    }
                    for (thread, stored) in stored.iter().enumerate() {
                        for (page, stored) in stored.iter().enumerate() {
                            let least = stored.load(Ordering::SeqCst) + 1_000_000;
                            assert!(word(thread, page).load(Ordering::SeqCst) >= least);
                        }
                    }
                });
                child.end();
            }
        });
        done.store(true, Ordering::Relaxed);
        outcome.unwrap();
    });
}

#[test]
fn grandchildren_read_the_swap_of_all_who_were_before() {
    for delivery in DELIVERIES {
        let vm = vm();
        let mut memory = vm.anonymous_by(PAGES * PAGE, delivery).unwrap();
        put_all(&mut memory, 1);
        let mut child = fork(|parent| {
            for page in (0..PAGES).step_by(3) {
                put(&mut memory, page, 2);
            }
            check(&memory, 1, 1);
            let mut grandchild = fork(|child| {
                child.wait();
                for page in 0..PAGES {
                    check(&memory, page, if page.is_multiple_of(3) { 2 } else { 1 });
                }
                put_all(&mut memory, 5);
                fork(|_| check_all(&memory, 5)).end();
                check_all(&memory, 5);
            });
            put_all(&mut memory, 3);
            parent.tell();
            parent.wait();
            grandchild.tell();
            check_all(&memory, 3);
            grandchild.end();
        });
        child.wait();
        put_all(&mut memory, 4);
        child.tell();
        child.end();
        check_all(&memory, 4);
        drop(memory);
        wait_for_no_slots(&vm);
    }
}

#[test]
fn a_child_outlives_its_parent() {
    for delivery in DELIVERIES {
        let (mut from, to) = std::io::pipe().unwrap();
        let parent = fork(|_| {
            let vm = vm();
            let mut memory = vm.anonymous_by(PAGES * PAGE, delivery).unwrap();
            put_all(&mut memory, 1);
            let id = std::process::id();
            let mut child = fork(|parent| {
                parent.tell();
                while std::os::unix::process::parent_id() == id {
                    std::thread::sleep(Duration::from_millis(1));
                }
                check_all(&memory, 1);
                put_all(&mut memory, 2);
                check_all(&memory, 2);
                (&to).write_all(b"!").unwrap();
            });
            child.wait();
            // Not killed.
            std::mem::forget(child);
        });
        parent.end();
        drop(to);
        let mut told = Vec::new();
        from.read_to_end(&mut told).unwrap();
        assert_eq!(told, b"!", "{delivery:?}");
    }
}

#[test]
fn forks_without_end_leave_nothing_behind() {
    // In a process of its own, whose threads and descriptors it counts.
    fork(|_| fork_again_and_again()).end();
}

fn fork_again_and_again() {
    let vm = vm();
    let mut memory = vm.anonymous(PAGES * PAGE).unwrap();
    put_all(&mut memory, 1);
    let count = |dir: &str| std::fs::read_dir(dir).unwrap().count();
    let mut after_some = None;
    for n in 0..200 {
        let child = fork(|_| check(&memory, n, 1));
        put(&mut memory, n, 1);
        child.end();
        if n == 50 {
            std::thread::sleep(Duration::from_millis(500));
            after_some = Some((count("/proc/self/fd"), threads(), resident()));
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    let (fds, threads_then, bytes) = after_some.unwrap();
    assert!(count("/proc/self/fd") <= fds + 4, "descriptors");
    assert!(threads().len() <= threads_then.len(), "{:?}, then {threads_then:?}", threads());
    assert!(resident() <= bytes + (2 << 20), "{bytes} bytes resident, now {}", resident());
    check_all(&memory, 1);
    drop(memory);
    wait_for_no_slots(&vm);
}

/// The names of this process's threads, but for those that the kernel makes for io_uring while
/// there is much to do, and ends by itself.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| !name.starts_with("iou-")).collect()
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * PAGE
}
