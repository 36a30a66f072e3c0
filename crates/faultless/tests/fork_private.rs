//! Private memory in forked children: copies, under pressure and out of swap, that change
//! on both sides without either seeing the other.

mod family;

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use family::fork;
use faultless::{Delivery, MapOptions, Memory, OnFork, Vm, VmHeap};

const PAGE: usize = 4096;
const BUDGET: u64 = 1 << 20;
/// Pages of a memory four times as large as its budget.
const PAGES: usize = 4 * (BUDGET as usize) / PAGE;
const DELIVERIES: [Delivery; 2] = [Delivery::Thread, Delivery::Inline];

/// A `Vm` that has room for one [`PAGES`] long memory, and half of another.
fn vm() -> Vm {
    Vm::builder().memory(BUDGET).swap(env!("CARGO_TARGET_TMPDIR"), 5 << 20).build().unwrap()
}

/// What page `page` holds in generation `generation`, at its start and its end.
fn value(page: usize, generation: u64) -> u64 {
    (page as u64 + 1) * 1_000_003 + generation
}

fn put(bytes: &mut [u8], page: usize, generation: u64) {
    let value = value(page, generation).to_ne_bytes();
    bytes[page * PAGE..][..8].copy_from_slice(&value);
    bytes[(page + 1) * PAGE - 8..][..8].copy_from_slice(&value);
}

fn put_all(bytes: &mut [u8], generation: u64) {
    (0..bytes.len() / PAGE).for_each(|page| put(bytes, page, generation));
}

#[track_caller]
fn check(bytes: &[u8], page: usize, generation: u64) {
    let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
    let expected = value(page, generation);
    assert_eq!(word(page * PAGE), expected, "page {page} of generation {generation}");
    assert_eq!(word((page + 1) * PAGE - 8), expected, "the end of page {page}");
}

#[track_caller]
fn check_all(bytes: &[u8], generation: u64) {
    (0..bytes.len() / PAGE).for_each(|page| check(bytes, page, generation));
}

/// Slots of swap come back when children are gone: at once, but the keeper has to see it.
#[track_caller]
fn wait_for_no_slots(vm: &Vm) {
    let since = Instant::now();
    while vm.stats().swap_slots_used > 0 {
        assert!(since.elapsed() < Duration::from_secs(10), "{:?}", vm.stats());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn both_sides_of_a_fork_have_their_own_memory() {
    for delivery in DELIVERIES {
        let vm = vm();
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
fn a_child_that_changes_first_does_not_change_its_parents() {
    for delivery in DELIVERIES {
        let vm = vm();
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
            map.discard().unwrap();
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
    const THREADS: usize = 3;
    let pages = PAGES / 4;
    let vm =
        Vm::builder().memory(BUDGET).swap(env!("CARGO_TARGET_TMPDIR"), 8 << 20).build().unwrap();
    // With `Delivery::Inline` memory of several threads isn't safe yet (README).
    let memories: Vec<Memory> =
        (0..THREADS).map(|_| vm.anonymous(2 * pages * PAGE).unwrap()).collect();
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
            for _ in 0..20 {
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
            after_some = Some((count("/proc/self/fd"), count("/proc/self/task"), resident()));
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    let (fds, threads, bytes) = after_some.unwrap();
    assert!(count("/proc/self/fd") <= fds + 4, "descriptors");
    assert!(count("/proc/self/task") <= threads + 4, "threads");
    assert!(resident() <= bytes + (2 << 20), "{bytes} bytes resident, now {}", resident());
    check_all(&memory, 1);
    drop(memory);
    wait_for_no_slots(&vm);
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * PAGE
}

#[test]
fn a_program_that_a_child_becomes_keeps_no_swap() {
    let vm = vm();
    let mut memory = vm.anonymous(PAGES * PAGE).unwrap();
    put_all(&mut memory, 1);
    let mut command = Command::new("sleep");
    command.arg("100");
    let plain = Command::new("true").status().unwrap();
    assert!(plain.success(), "posix_spawn");
    // SAFETY: the closure makes no call at all; it is there to have it forked.
    let mut forked = unsafe { command.pre_exec(|| Ok(())) }.spawn().unwrap();
    put_all(&mut memory, 2);
    check_all(&memory, 2);
    drop(memory);
    wait_for_no_slots(&vm);
    assert!(forked.try_wait().unwrap().is_none(), "the program runs on");
    forked.kill().unwrap();
    forked.wait().unwrap();
}

#[test]
fn a_child_that_is_killed_is_noticed() {
    let vm = vm();
    let mut memory = vm.anonymous(PAGES * PAGE).unwrap();
    put_all(&mut memory, 1);
    let mut child = fork(|parent| {
        parent.tell();
        (0..u64::MAX).for_each(|generation| put_all(&mut memory, generation));
    });
    child.wait();
    put_all(&mut memory, 2);
    child.kill();
    check_all(&memory, 2);
    drop(memory);
    wait_for_no_slots(&vm);
}

#[test]
fn nothing_is_inherited_where_that_is_chosen_or_cannot_be() {
    for delivery in DELIVERIES {
        let vm = Vm::builder().memory(BUDGET).on_fork(OnFork::Nothing).build().unwrap();
        let mut memory = vm.anonymous_by(8 * PAGE, delivery).unwrap();
        put_all(&mut memory, 1);
        assert_eq!(fork(|_| check_all(&memory, 1)).signal(), Some(libc::SIGBUS));
        assert_eq!(fork(|_| put_all(&mut memory, 2)).signal(), Some(libc::SIGBUS));
        fork(|_| {
            assert!(vm.anonymous(PAGE).unwrap_err().to_string().contains("fork"));
            assert!(memory.clear().unwrap_err().to_string().contains("fork"));
            // Its own children are quick, and know as much.
            assert_eq!(fork(|_| check_all(&memory, 1)).signal(), Some(libc::SIGBUS));
        })
        .end();
        check_all(&memory, 1);
    }
}

#[test]
fn a_child_that_gets_no_descriptors_has_nothing() {
    // Processes of their own, as the limit is a process's.
    for delivery in DELIVERIES {
        fork(|_| {
            let vm = Vm::with_memory(BUDGET).unwrap();
            let mut memory = vm.anonymous_by(8 * PAGE, delivery).unwrap();
            put_all(&mut memory, 1);
            let limit = |most: u64| {
                let limit = libc::rlimit { rlim_cur: most, rlim_max: 1024 };
                // SAFETY: a live structure.
                assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
            };
            limit(0);
            // SAFETY: the child makes an access, and ends.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                check_all(&memory, 1);
                // SAFETY: ends this process at once.
                unsafe { libc::_exit(0) };
            }
            limit(1024);
            let mut status = 0;
            // SAFETY: a live integer; the child is ours.
            assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
            let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
            assert_eq!(signal, Some(libc::SIGBUS), "{delivery:?}: {status:#x}");
            check_all(&memory, 1);
            put_all(&mut memory, 2);
            fork(|_| check_all(&memory, 2)).end();
        })
        .end();
    }
}

/// A backing that forks while it is asked for a page.
struct Forks(std::sync::Mutex<Option<i32>>);

impl faultless::Pager for Forks {
    fn name(&self) -> String {
        "one that forks".into()
    }

    fn size(&self) -> std::io::Result<u64> {
        Ok(PAGE as u64)
    }

    fn read(&self, _: u64, bufs: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<usize> {
        // SAFETY: the child only ends.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(5) };
        }
        let mut status = 0;
        // SAFETY: a live integer; the child is ours.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
        *self.0.lock().unwrap() = Some(libc::WEXITSTATUS(status));
        Ok(bufs
            .iter_mut()
            .map(|buf| {
                buf.fill(1);
                buf.len()
            })
            .sum())
    }

    fn write(&self, _: u64, _: &[std::io::IoSlice<'_>]) -> std::io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> std::io::Result<()> {
        Ok(())
    }

    fn resize(&self, _: u64) -> std::io::Result<()> {
        Ok(())
    }

    fn punch(&self, _: u64, _: u64) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_fork_within_a_call_does_not_wait_for_its_end() {
    let vm = vm();
    let pager = std::sync::Arc::new(Forks(std::sync::Mutex::new(None)));
    let map = MapOptions::new().map_pager(&vm, pager.clone()).unwrap();
    let since = Instant::now();
    assert_eq!(map.pin(0, 4).unwrap()[..], [1; 4]);
    assert_eq!(*pager.0.lock().unwrap(), Some(5));
    assert!(since.elapsed() < Duration::from_secs(4));
}

/// `cargo test --release -p faultless --test fork_private -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn what_a_fork_costs() {
    const RESIDENT: usize = 256 << 20;
    let measure = |what: &str, body: &mut dyn FnMut()| {
        let mut times: Vec<f64> = (0..15)
            .map(|_| {
                let since = Instant::now();
                // SAFETY: the child only ends.
                let pid = unsafe { libc::fork() };
                if pid == 0 {
                    // SAFETY: ends this process at once.
                    unsafe { libc::_exit(0) };
                }
                let forked = since.elapsed().as_secs_f64() * 1e3;
                // SAFETY: no status is asked for; the child is ours.
                unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
                let all = since.elapsed().as_secs_f64() * 1e3;
                body();
                forked + all * 1e-9
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("{what:<28} fork() {:7.2} ms ({:.2} to {:.2})", times[7], times[0], times[14]);
    };
    measure("no Vm", &mut || {});
    for (what, on_fork) in [("nothing inherited", OnFork::Nothing), ("copied", OnFork::Copy)] {
        for delivery in DELIVERIES {
            let dir = env!("CARGO_TARGET_TMPDIR");
            let builder = Vm::builder().memory(RESIDENT as u64 + (16 << 20)).swap(dir, 1 << 30);
            let vm = builder.on_fork(on_fork).build().unwrap();
            let mut memory = vm.anonymous_by(RESIDENT, delivery).unwrap();
            put_all(&mut memory, 1);
            measure(&format!("{what}, {delivery:?}"), &mut || {});
            let mut command = Command::new("true");
            // SAFETY: the closure makes no call at all; it is there to have it forked.
            let command = unsafe { command.pre_exec(|| Ok(())) };
            let mut times: Vec<Duration> = (0..15)
                .map(|_| {
                    let since = Instant::now();
                    assert!(command.status().unwrap().success());
                    since.elapsed()
                })
                .collect();
            times.sort();
            println!("{:<28} fork, exec, wait {:.2?}", "", times[7]);
            let since = Instant::now();
            put_all(&mut memory, 2);
            println!("{:<28} stores to all after it {:.2?}", "", since.elapsed());
        }
    }
}
