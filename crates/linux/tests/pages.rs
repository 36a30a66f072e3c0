//! Each verb of the machine, on the real kernel.

mod common;

use common::*;
use faultless_addr::{Access, FrameNo, PAGE_SIZE, VirtAddr, VirtRange, WriteAccess};
use faultless_linux::{INLINE, PageError, THREAD, Verb};
use faultless_machine::{Machine, Segv, Stores, Then};
use faultless_sys::Errno;
use faultless_sys::uffd::Cause;

#[test]
fn round_trips_keep_contents() {
    let machine = machine(64, 16);
    let all = frames(0..40);
    for space in [THREAD, INLINE] {
        for write in [WriteAccess::Allowed, WriteAccess::Tracked, WriteAccess::Forbidden] {
            machine.back(&all).unwrap();
            for frame in &all {
                fill(&machine, *frame, frame.0 as u8 + 1);
            }
            let at = page(&machine, space, 100);
            machine.map(space, at, &all, write).unwrap();
            for i in 0..40 {
                assert_eq!(load(at.plus_pages(i)), i as u8 + 1);
            }
            if write == WriteAccess::Allowed {
                store(at.plus_pages(3), 99);
            }
            // With gaps.
            let list: Vec<_> = (0..40).map(|i| (at.plus_pages(i), all[i as usize])).collect();
            let (odd, even): (Vec<_>, Vec<_>) = list.iter().partition(|(_, f)| f.0 % 2 == 1);
            machine.unmap(space, &odd, Then::Keep(Stores::Pass)).unwrap();
            machine.unmap(space, &even, Then::Keep(Stores::Pass)).unwrap();
            for frame in &all {
                let byte = match frame.0 {
                    3 if write == WriteAccess::Allowed => 99,
                    n => n as u8 + 1,
                };
                assert_eq!(ends(&machine, *frame).1, frame.0 as u8 + 1);
                assert_eq!(ends(&machine, *frame).0, byte);
            }
            machine.release(&all);
        }
    }
}

#[test]
fn a_dropped_page_is_absent() {
    let machine = machine(64, 16);
    // Short runs are dropped, long ones move into the pool; both leave nothing behind.
    for count in [1, 3, 40] {
        let all = frames(0..count);
        machine.back(&all).unwrap();
        let at = page(&machine, THREAD, 0);
        machine.map(THREAD, at, &all, WriteAccess::Allowed).unwrap();
        let list: Vec<_> = (0u64..).map(|i| at.plus_pages(i)).zip(all.clone()).collect();
        machine.unmap(THREAD, &list, Then::Drop).unwrap();
        let last = at.plus_pages(u64::from(count) - 1);
        let reader = std::thread::spawn(move || load(last));
        let fault = next_fault(&machine);
        assert_eq!((fault.addr, fault.access, fault.cause), (last, Access::Read, Cause::Missing));
        machine.back(&all[..1]).unwrap();
        fill(&machine, all[0], 5);
        machine.map(THREAD, last, &all[..1], WriteAccess::Tracked).unwrap();
        assert_eq!(reader.join().unwrap(), 5);
        machine.unmap(THREAD, &[(last, all[0])], Then::Drop).unwrap();
    }
}

#[test]
fn a_run_is_one_call() {
    // Of so few frames none come by the huge page, which would leave no room for recycled ones.
    let machine = machine(400, 96);
    let run = frames(0..64);
    machine.back(&run).unwrap();
    for i in 1..64 {
        let start = machine.buffer(run[0]).start;
        assert_eq!(machine.buffer(run[i]).start, start.wrapping_add(i * PAGE_SIZE));
    }
    let at = page(&machine, THREAD, 7);
    let list: Vec<_> = (0..).map(|i| at.plus_pages(i)).zip(run.clone()).collect();
    let before = machine.calls();
    machine.map(THREAD, at, &run, WriteAccess::Allowed).unwrap();
    assert_eq!(machine.calls().moves, before.moves + 1);
    machine.unmap(THREAD, &list, Then::Keep(Stores::Pass)).unwrap();
    assert_eq!(machine.calls().moves, before.moves + 2);
    let before = machine.calls();
    machine.map(THREAD, at, &run, WriteAccess::Tracked).unwrap();
    assert_eq!(machine.calls().copies, before.copies + 1);
    machine.set_write(THREAD, pages(&machine, THREAD, 7, 64), WriteAccess::Allowed).unwrap();
    assert_eq!(machine.calls().protects, before.protects + 1);
    // A whole run is recycled, scattered pages are dropped together.
    machine.unmap(THREAD, &list, Then::Drop).unwrap();
    assert_eq!(machine.calls().moves, before.moves + 1);
    assert_eq!(machine.calls().drops, before.drops);
    machine.back(&run).unwrap();
    for (i, frame) in run.iter().enumerate() {
        let at = page(&machine, THREAD, i as u64 * 3);
        machine.map(THREAD, at, &[*frame], WriteAccess::Allowed).unwrap();
    }
    let list: Vec<_> = (0..).map(|i| page(&machine, THREAD, i * 3)).zip(run).collect();
    let before = machine.calls();
    machine.unmap(THREAD, &list, Then::Drop).unwrap();
    assert_eq!(machine.calls().drops, before.drops + 1);
    assert_eq!(machine.calls().moves, before.moves);
}

#[test]
fn a_page_of_a_long_run_is_moved_also_alone() {
    let machine = machine(400, 96);
    let (run, single) = (frames(0..64), frames(64..65));
    machine.back(&run).unwrap();
    machine.back(&single).unwrap();
    fill(&machine, run[5], 7);
    let before = machine.calls();
    let at = page(&machine, THREAD, 5);
    machine.map(THREAD, at, &run[5..6], WriteAccess::Forbidden).unwrap();
    let after = machine.calls();
    assert_eq!((after.moves, after.copies), (before.moves + 1, before.copies));
    assert_eq!(after.protects, before.protects + 1);
    assert_eq!(load(at), 7);
    // One that came alone has no neighbours to lose.
    let at = page(&machine, THREAD, 70);
    machine.map(THREAD, at, &single, WriteAccess::Forbidden).unwrap();
    assert_eq!((machine.calls().moves, machine.calls().copies), (after.moves, after.copies + 1));
}

#[test]
fn a_tracked_page_reads_and_its_first_store_waits() {
    let machine = machine(8, 8);
    let frame = [FrameNo(0)];
    machine.back(&frame).unwrap();
    fill(&machine, frame[0], 1);
    let at = page(&machine, THREAD, 9);
    machine.map(THREAD, at, &frame, WriteAccess::Tracked).unwrap();
    assert_eq!(load(at), 1);
    assert!(no_fault(&machine));
    let writer = std::thread::spawn(move || store(at, 2));
    let fault = next_fault(&machine);
    assert_eq!((fault.addr, fault.cause), (at, Cause::WriteProtected));
    assert_eq!(load(at), 1);
    assert!(!writer.is_finished());
    machine.set_write(THREAD, VirtRange::page(at), WriteAccess::Allowed).unwrap();
    writer.join().unwrap();
    assert_eq!(load(at), 2);
    // And again, after cleaning.
    machine.set_write(THREAD, VirtRange::page(at), WriteAccess::Tracked).unwrap();
    let writer = std::thread::spawn(move || store(at, 3));
    assert_eq!(next_fault(&machine).cause, Cause::WriteProtected);
    // Taken away while a store waits: the store faults again, on an absent page.
    machine.unmap(THREAD, &[(at, frame[0])], Then::Keep(Stores::Pass)).unwrap();
    machine.wake(THREAD, VirtRange::page(at));
    assert_eq!(next_fault(&machine).cause, Cause::Missing);
    assert_eq!(ends(&machine, frame[0]), (2, 1));
    machine.map(THREAD, at, &frame, WriteAccess::Allowed).unwrap();
    writer.join().unwrap();
    assert_eq!(load(at), 3);
}

#[test]
fn a_forbidden_page_faults_on_stores() {
    let machine = machine(8, 8);
    let two = frames(0..2);
    machine.back(&two).unwrap();
    let at = page(&machine, THREAD, 0);
    machine.map(THREAD, at, &two, WriteAccess::Forbidden).unwrap();
    load(at.plus_pages(1));
    let writer = std::thread::spawn(move || store(at.plus_pages(1), 2));
    assert_eq!(next_fault(&machine).cause, Cause::WriteProtected);
    machine.set_write(THREAD, pages(&machine, THREAD, 0, 2), WriteAccess::Allowed).unwrap();
    writer.join().unwrap();
}

#[test]
fn a_poisoned_page_is_sigbus_until_it_is_healed() {
    // A process of its own, because it sets a handler.
    for space in [THREAD, INLINE] {
        let status = in_child(|| {
            let machine = machine(8, 8);
            let range = pages(&machine, space, 2, 3);
            // One present page within: it stays.
            machine.back(&[FrameNo(0)]).unwrap();
            machine
                .map(space, page(&machine, space, 3), &[FrameNo(0)], WriteAccess::Allowed)
                .unwrap();
            machine.poison(space, range).unwrap();
            machine.poison(space, range).unwrap();
            load(page(&machine, space, 3));
            set_handler(libc::SIGBUS, exit_with_code as *const () as usize);
            load(VirtAddr(page(&machine, space, 4).0 + 7));
            0
        });
        let code = libc::WEXITSTATUS(status) >> 4;
        println!("{space:?}: si_code of a poisoned page is {code}");
        assert!([libc::BUS_ADRERR, libc::BUS_MCEERR_AR].contains(&code), "status {status:#x}");
        assert_eq!(libc::WEXITSTATUS(status) & 1, 1, "si_addr is exact");
    }
    let machine = machine(8, 8);
    // Four pages are moved, and a move refuses what is in its way.
    let (at, poisoned) = (page(&machine, THREAD, 5), page(&machine, THREAD, 7));
    let frames = frames(0..4);
    machine.poison(THREAD, VirtRange::page(poisoned)).unwrap();
    machine.back(&frames).unwrap();
    frames.iter().for_each(|frame| fill(&machine, *frame, 6));
    let error = machine.map(THREAD, at, &frames, WriteAccess::Allowed).unwrap_err();
    let inner = error.get_ref().unwrap().downcast_ref::<PageError>().unwrap();
    assert_eq!((inner.verb, inner.addr, inner.errno), (Verb::Map, poisoned, Errno::EXIST));
    machine.heal(THREAD, VirtRange::page(poisoned)).unwrap();
    machine.map(THREAD, at, &frames, WriteAccess::Allowed).unwrap();
    assert_eq!(load(poisoned), 6);
}

#[test]
fn poison_ends_a_wait() {
    let machine = machine(8, 8);
    let at = page(&machine, THREAD, 1);
    // A system call that waits for the page gets EFAULT.
    let caller = std::thread::spawn(move || {
        let mut pipe = [0; 2];
        // SAFETY: 1. `pipe` is two descriptors; 2. the bytes are the arena's.
        unsafe {
            assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
            let result = libc::write(pipe[1], at.0 as *const _, 1);
            (result, std::io::Error::last_os_error().raw_os_error())
        }
    });
    if !machine.capabilities().is_user_mode_only() {
        assert_eq!(next_fault(&machine).addr, at);
        machine.poison(THREAD, VirtRange::page(at)).unwrap();
    }
    assert_eq!(caller.join().unwrap(), (-1, Some(libc::EFAULT)));
}

#[test]
fn segv_is_a_signal_to_an_instruction_and_efault_to_a_system_call() {
    let status = in_child(|| {
        let machine = machine(8, 8);
        if machine.capabilities().is_user_mode_only() {
            return 0;
        }
        machine.back(&[FrameNo(0)]).unwrap();
        let (absent, present) = (page(&machine, THREAD, 0), page(&machine, THREAD, 1));
        machine.map(THREAD, present, &[FrameNo(0)], WriteAccess::Forbidden).unwrap();
        extern "C" fn nothing(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
        set_handler(libc::SIGUSR1, nothing as *const () as usize);
        for (at, signalled) in [(absent, false), (present, false), (absent, true), (present, true)]
        {
            // /dev/zero is read into the page by the kernel.
            let caller = std::thread::spawn(move || {
                let zero = std::fs::File::open("/dev/zero").unwrap();
                let fd = std::os::fd::AsRawFd::as_raw_fd(&zero);
                // SAFETY: 1. the byte is the arena's.
                let result = unsafe { libc::read(fd, at.0 as *mut _, 1) };
                (result, std::io::Error::last_os_error().raw_os_error())
            });
            while !caller.is_finished() {
                for held in held(&machine) {
                    assert_eq!((held.addr, held.access), (at, Access::Write));
                    if signalled {
                        // From here on it doesn't wait in the call, but asks again and again.
                        use std::os::unix::thread::JoinHandleExt;
                        // SAFETY: 1. the thread has not been joined; 2. the signal's handler
                        // does nothing.
                        unsafe { libc::pthread_kill(caller.as_pthread_t(), libc::SIGUSR1) };
                    }
                    machine.segv(&held, Segv::AccErr).unwrap();
                }
            }
            assert_eq!(caller.join().unwrap(), (-1, Some(libc::EFAULT)));
        }
        // Nothing has changed: an instruction is held as before.
        load(present);
        set_handler(libc::SIGSEGV, exit_with_code as *const () as usize);
        std::thread::spawn(move || store(VirtAddr(absent.0 + 7), 1));
        loop {
            for held in held(&machine) {
                machine.segv(&held, Segv::AccErr).unwrap();
            }
        }
    });
    let efault_only = status == 0; // User mode only.
    let denied = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 2 << 4 | 1;
    assert!(efault_only || denied, "status {status:#x}");
}

fn held(machine: &faultless_linux::LinuxMachine) -> Vec<faultless_machine::Held> {
    let mut held = Vec::new();
    machine.held(16, &mut held).unwrap();
    held
}

#[test]
fn a_failed_map_leaves_all_frames_aside() {
    let machine = machine(16, 8);
    let six = frames(0..6);
    for write in [WriteAccess::Allowed, WriteAccess::Tracked] {
        machine.back(&six).unwrap();
        for frame in &six {
            fill(&machine, *frame, frame.0 as u8);
        }
        let at = page(&machine, THREAD, 0);
        let taken = (at.plus_pages(4), FrameNo(6));
        machine.back(&[taken.1]).unwrap();
        machine.map(THREAD, taken.0, &[taken.1], WriteAccess::Allowed).unwrap();
        let error = machine.map(THREAD, at, &six, write).unwrap_err();
        let inner = error.get_ref().unwrap().downcast_ref::<PageError>().unwrap();
        assert_eq!((inner.addr, inner.errno), (taken.0, Errno::EXIST));
        for frame in &six {
            assert_eq!(ends(&machine, *frame), (frame.0 as u8, frame.0 as u8));
        }
        machine.unmap(THREAD, &[taken], Then::Drop).unwrap();
        machine.release(&six);
    }
}

#[test]
fn a_forked_child_gets_sigbus_and_eperm() {
    let machine = machine(8, 8);
    machine.back(&frames(0..2)).unwrap();
    let at = page(&machine, THREAD, 0);
    fill(&machine, FrameNo(0), 8);
    machine.map(THREAD, at, &[FrameNo(0)], WriteAccess::Allowed).unwrap();
    let aside = machine.buffer(FrameNo(1)).start as u64;
    let elsewhere = page(&machine, INLINE, 77);
    for touched in [at, elsewhere, VirtAddr(aside)] {
        let status = in_child(|| {
            // SAFETY: 1. the default action is no pointer.
            unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
            i32::from(load(touched))
        });
        assert_eq!(libc::WTERMSIG(status), libc::SIGBUS, "{touched:?}: status {status:#x}");
    }
    let status = in_child(|| {
        let error = machine.unmap(THREAD, &[(at, FrameNo(0))], Then::Drop).unwrap_err();
        let refused = error.kind() == std::io::ErrorKind::PermissionDenied;
        i32::from(!(refused && machine.back(&[FrameNo(5)]).is_err()))
    });
    assert_eq!(status, 0);
    assert_eq!(load(at), 8);
}

#[test]
fn bookkeeping_is_small() {
    let machine = machine(1 << 18, 256);
    let budget = (1 << 18) * PAGE_SIZE;
    assert!(machine.bookkeeping_bytes() * 500 < budget, "{}", machine.bookkeeping_bytes());
    println!("{}", machine.capabilities());
}
