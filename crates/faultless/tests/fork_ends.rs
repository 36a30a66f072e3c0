//! Forked children that end, become other programs, or get nothing; and what a fork costs.

mod family;

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use family::fork;
use family::pages::*;
use faultless::{MapOptions, OnFork, Vm};

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

/// Medians of forks of children that only end: until the parent goes on, until the child
/// does, and until it has ended.
fn measure(what: &str) {
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..15 {
        let (mut from, mut to) = std::io::pipe().unwrap();
        let since = Instant::now();
        let passed = || since.elapsed().as_secs_f64() * 1e3;
        // SAFETY: the child writes to a pipe, and ends.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            to.write_all(&passed().to_ne_bytes()).unwrap();
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(0) };
        }
        times[0].push(passed());
        let mut bytes = [0; 8];
        from.read_exact(&mut bytes).unwrap();
        times[1].push(f64::from_ne_bytes(bytes));
        // SAFETY: no status is asked for; the child is ours.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        times[2].push(passed());
    }
    let [parent, child, end] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    println!("{what:<28} parent {parent:6.2} ms, child {child:6.2} ms, its end {end:6.2} ms");
}

/// `cargo test --release -p faultless --test fork_ends -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn what_a_fork_costs() {
    const RESIDENT: usize = 256 << 20;
    measure("no Vm");
    // SAFETY: the kernel picks the place; ends with the process.
    let kernels = unsafe {
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let start = libc::mmap(std::ptr::null_mut(), RESIDENT, prot, flags, -1, 0);
        assert_ne!(start, libc::MAP_FAILED);
        libc::madvise(start, RESIDENT, libc::MADV_NOHUGEPAGE);
        std::slice::from_raw_parts_mut(start.cast::<u8>(), RESIDENT)
    };
    put_all(kernels, 1);
    measure("the kernel's memory");
    // SAFETY: it is ours, and not used again.
    unsafe { libc::munmap(kernels.as_mut_ptr().cast(), RESIDENT) };
    for (what, on_fork) in [("nothing inherited", OnFork::Nothing), ("copied", OnFork::Copy)] {
        for delivery in DELIVERIES {
            let dir = env!("CARGO_TARGET_TMPDIR");
            let builder = Vm::builder().memory(RESIDENT as u64 + (16 << 20)).swap(dir, 1 << 30);
            let vm = builder.on_fork(on_fork).build().unwrap();
            let mut memory = vm.anonymous_by(RESIDENT, delivery).unwrap();
            put_all(&mut memory, 1);
            measure(&format!("{what}, {delivery:?}"));
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
