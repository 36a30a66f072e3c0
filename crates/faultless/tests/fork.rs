//! A forked child has none of what is shared: it is told so by errors and SIGBUS, never by
//! zeros or somebody's bytes, and its parent goes on unharmed. (What is private is in
//! `fork_private.rs`.)

use std::os::unix::fs::FileExt;

use faultless::{Delivery, Error, MapOptions, MapRaw, OnFork, Vm};

const PAGE: usize = 4096;
const DELIVERIES: [Delivery; 2] = [Delivery::Thread, Delivery::Inline];

/// Every combination.
fn kinds() -> impl Iterator<Item = (Delivery, OnFork)> {
    let both = |delivery| [(delivery, OnFork::Copy), (delivery, OnFork::Nothing)];
    DELIVERIES.into_iter().flat_map(both)
}

fn vm_of(bytes: u64, on_fork: OnFork) -> Vm {
    Vm::builder().memory(bytes).on_fork(on_fork).build().unwrap()
}

/// Runs `body` in a forked child; answers the child's wait status.
fn fork(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child runs `body`, which takes memory (the C library's allocator
    // permits that after a fork), and ends without unwinding into the parent's test.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork");
    if child == 0 {
        // SAFETY: plain calls; a SIGBUS is to leave no core, a hang no process.
        unsafe {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            libc::alarm(20);
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(result.unwrap_or(99)) };
    }
    let mut status = 0;
    // SAFETY: a live integer; the child is ours.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    status
}

fn load(map: &MapRaw, at: usize) -> u8 {
    // SAFETY: callers stay within the map, and nobody stores meanwhile.
    unsafe { map.as_ptr().add(at).read_volatile() }
}

/// Eight pages, of which the first and the third are in memory and the third is dirty.
fn mapped(vm: &Vm, delivery: Delivery) -> (std::fs::File, MapRaw) {
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all_at(&[7; 8 * PAGE], 0).unwrap();
    let options = MapOptions::new().delivery(delivery).read_ahead(faultless::Pattern::Random);
    let map = options.map_raw_mut(vm, &file).unwrap();
    assert_eq!(load(&map, 0), 7);
    map.write_at(2 * PAGE as u64, &[8; 10]).unwrap();
    (file, map)
}

fn check_parent(file: &std::fs::File, map: &MapRaw) {
    for at in 0..8 * PAGE {
        let expected = if (2 * PAGE..2 * PAGE + 10).contains(&at) { 8 } else { 7 };
        assert_eq!(load(map, at), expected);
    }
    map.write_at(5, b"parent").unwrap();
    map.flush().unwrap();
    let mut bytes = [0; 11];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, *b"\x07\x07\x07\x07\x07parent");
}

#[test]
fn pointers_of_a_child_are_sigbus() {
    for (delivery, on_fork) in kinds() {
        let vm = vm_of(1 << 20, on_fork);
        let (file, map) = mapped(&vm, delivery);
        for page in [0, 2, 5, 7] {
            let status = fork(|| load(&map, page * PAGE + 3).into());
            let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
            assert_eq!(
                signal,
                Some(libc::SIGBUS),
                "{delivery:?} {on_fork:?}: load of page {page}: {status:#x}"
            );
            let status = fork(|| {
                // SAFETY: an access that doesn't come back.
                unsafe { map.as_mut_ptr().add(page * PAGE).write_volatile(1) };
                0
            });
            let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
            assert_eq!(
                signal,
                Some(libc::SIGBUS),
                "{delivery:?} {on_fork:?}: store to page {page}: {status:#x}"
            );
        }
        check_parent(&file, &map);
    }
}

fn is_forked<T>(result: Result<T, Error>) -> bool {
    let error = result.err();
    error.is_some_and(|error| error.errno() == libc::EPERM && error.to_string().contains("fork"))
}

#[test]
fn calls_of_a_child_are_errors() {
    for (delivery, on_fork) in kinds() {
        let vm = vm_of(1 << 20, on_fork);
        let (file, map) = mapped(&vm, delivery);
        let status = fork(|| {
            let calls: [(&str, bool); 10] = [
                ("pin", is_forked(map.pin(0, 1))),
                ("pin_mut", is_forked(map.pin_mut(0, 1))),
                ("pin_many", is_forked(map.pin_many([(0, 1)]))),
                ("read_at", is_forked(map.read_at(0, &mut [0; 4]))),
                ("write_at", is_forked(map.write_at(0, &[0; 4]))),
                ("prefetch", is_forked(map.prefetch([(0, 1)]))),
                ("flush", is_forked(map.flush())),
                ("refresh", is_forked(map.refresh())),
                ("resize", is_forked(map.resize(5))),
                ("punch_hole", is_forked(map.punch_hole(0, 4096))),
            ];
            for (call, is_forked) in calls {
                if !is_forked {
                    eprintln!("{call} is no error");
                }
            }
            i32::from(calls.iter().any(|(_, is_forked)| !is_forked))
        });
        assert_eq!(status, 0, "{delivery:?} {on_fork:?}");
        let other = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        other.write_all_at(&[9; PAGE], 0).unwrap();
        for (file, first) in [(&file, 7), (&other, 9)] {
            let status = fork(|| {
                let mapped = MapOptions::new().delivery(delivery).map_raw(&vm, file);
                let right = match on_fork {
                    OnFork::Copy => mapped.is_ok_and(|map| load(&map, 5) == first),
                    OnFork::Nothing => is_forked(mapped),
                };
                i32::from(!right)
            });
            assert_eq!(status, 0, "{delivery:?} {on_fork:?}: a map of the child's own");
        }
        // What has no error to give does nothing.
        let status = fork(|| {
            let _ = map.advise(faultless::Pattern::Sequential);
            let _ = (map.release(0, 4096), map.flush_async(), map.check());
            let _ = (map.resident(), vm.stats(), format!("{map:?} {vm:?}"));
            0
        });
        assert_eq!(status, 0, "{delivery:?}: calls without errors");
        check_parent(&file, &map);
    }
}

#[test]
fn a_child_drops_everything_and_exits() {
    for (delivery, on_fork) in kinds() {
        let vm = vm_of(1 << 20, on_fork);
        let (file, map) = mapped(&vm, delivery);
        let pin = map.pin(0, 10).unwrap();
        let (mut all, mut status) = (Some((map, vm, pin)), 0);
        for _ in 0..2 {
            status |= fork(|| {
                drop(all.take());
                // A child may have a Vm of its own.
                let vm = Vm::with_memory(1 << 20).unwrap();
                let (file, map) = mapped(&vm, delivery);
                check_parent(&file, &map);
                0
            });
        }
        assert_eq!(status, 0, "{delivery:?} {on_fork:?}");
        let (map, _vm, pin) = all.take().unwrap();
        assert_eq!(pin[..], [7; 10]);
        drop(pin);
        check_parent(&file, &map);
    }
}

#[test]
fn forks_in_the_middle_of_work() {
    for (delivery, on_fork) in kinds() {
        let vm = vm_of(64 << 10, on_fork);
        let (file, map) = mapped(&vm, delivery);
        let done = std::sync::atomic::AtomicBool::new(false);
        let mut statuses = Vec::new();
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (map, done) = (&map, &done);
                scope.spawn(move || {
                    let mut at = thread;
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        at = (at * 5 + 4099) % (8 * PAGE);
                        let expected = [7, 8];
                        assert!(expected.contains(&load(map, at)));
                        map.release(0, 8 * PAGE as u64).unwrap();
                    }
                });
            }
            // Judged when the threads have ended: they would outlive a panic here.
            while statuses.len() < 50 && statuses.iter().all(|status| *status == 0) {
                statuses.push(fork(|| i32::from(!is_forked(map.pin(0, 1)))));
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(statuses, [0; 50], "{delivery:?} {on_fork:?}");
        check_parent(&file, &map);
    }
}
