//! Faults served by the thread that makes them. One process, one SIGBUS hook: the
//! tests of this file share it, each with a machine of its own.

mod common;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use common::*;
use faultless_addr::{Access, FrameNo, VirtAddr, VirtRange, WriteAccess};
use faultless_linux::{INLINE, LinuxMachine, Resolved};
use faultless_machine::{Machine, Segv};

#[test]
fn a_fault_is_served_in_its_own_thread() {
    let machine = Arc::new(machine(64, 16));
    let next = AtomicU32::new(0);
    let weak: Weak<LinuxMachine> = Arc::downgrade(&machine);
    let thread: OnceLock<std::thread::ThreadId> = OnceLock::new();
    let serve = move |addr: VirtAddr, access: Option<Access>| {
        assert_eq!(
            *thread.get_or_init(|| std::thread::current().id()),
            std::thread::current().id()
        );
        let machine = weak.upgrade().unwrap();
        let page = addr.page_start();
        let index = (page.0 - machine.arena(INLINE).start.0) >> 12;
        if index >= 50 {
            return Resolved::NotOurs;
        }
        if index.is_multiple_of(2) && access == Some(Access::Write) && machine.calls().copies > 1 {
            // Second fault of a page that was mapped for reading.
            machine.set_write(INLINE, VirtRange::page(page), WriteAccess::Allowed).unwrap();
            return Resolved::Yes;
        }
        let frame = FrameNo(next.fetch_add(1, Ordering::Relaxed));
        machine.back(&[frame]).unwrap();
        fill(&*machine, frame, index as u8);
        let write = match access {
            Some(Access::Write) => WriteAccess::Allowed,
            _ => WriteAccess::Tracked,
        };
        machine.map(INLINE, page, &[frame], write).unwrap();
        Resolved::Yes
    };
    machine.on_inline_fault(Box::new(serve)).unwrap();
    for i in 0..50 {
        let at = VirtAddr(page(&machine, INLINE, i).0 + 5);
        assert_eq!(load(at), i as u8);
        assert_eq!(load(at), i as u8);
    }
    for i in (0..50).step_by(2) {
        let at = page(&machine, INLINE, i);
        store(at, 200);
        assert_eq!(load(at), 200);
    }
}

#[test]
fn a_declined_fault_goes_to_the_earlier_handler() {
    let status = in_child(|| {
        set_handler(libc::SIGBUS, exit_with_code as *const () as usize);
        let machine = machine(4, 4);
        machine.on_inline_fault(Box::new(|_, _| Resolved::NotOurs)).unwrap();
        load(VirtAddr(page(&machine, INLINE, 3).0 + 7));
        0
    });
    // The hook of this process may have been installed before the fork by another
    // test; then what was earlier is the harness's handler, and the child dies.
    let died = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGBUS;
    assert!(died || libc::WEXITSTATUS(status) == libc::BUS_ADRERR << 4 | 1, "status {status:#x}");
}

#[test]
fn a_fault_can_be_a_segmentation_fault() {
    let status = in_child(|| {
        set_handler(libc::SIGSEGV, exit_with_code as *const () as usize);
        let machine = machine(4, 4);
        machine.on_inline_fault(Box::new(|_, _| Resolved::Segv(Segv::MapErr))).unwrap();
        load(VirtAddr(page(&machine, INLINE, 3).0 + 7));
        0
    });
    assert_eq!(libc::WEXITSTATUS(status), 1 << 4 | 1, "status {status:#x}");
}

#[test]
fn a_machine_can_go_and_another_come() {
    for round in 0..100u32 {
        let machine = Arc::new(machine(4, 4));
        let weak = Arc::downgrade(&machine);
        let serve = move |addr: VirtAddr, _| {
            let machine = weak.upgrade().unwrap();
            machine.back(&[FrameNo(0)]).unwrap();
            fill(&*machine, FrameNo(0), round as u8);
            machine.map(INLINE, addr.page_start(), &[FrameNo(0)], WriteAccess::Allowed).unwrap();
            Resolved::Yes
        };
        machine.on_inline_fault(Box::new(serve)).unwrap();
        assert_eq!(load(page(&machine, INLINE, 1000)), round as u8);
    }
}

#[test]
fn a_system_call_on_an_absent_page_answers_efault() {
    let machine = machine(4, 4);
    let at = page(&machine, INLINE, 0);
    let mut pipe = [0; 2];
    // SAFETY: 1. `pipe` is two descriptors; 2. the byte is the arena's.
    unsafe {
        assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
        assert_eq!(libc::write(pipe[1], at.0 as *const _, 1), -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EFAULT));
    }
}
