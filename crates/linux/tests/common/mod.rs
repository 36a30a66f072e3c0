//! A small machine, and touching its memory.
#![allow(dead_code, reason = "each test file uses a part")]

use std::os::raw::c_void;

use faultless_addr::{FrameNo, PAGE_SIZE, SpaceId, VirtAddr, VirtRange};
use faultless_linux::{Config, LinuxMachine};
use faultless_machine::Machine;
use faultless_sys::uffd::{Event, PageFault};

/// A machine with arenas of 1 GiB.
pub fn machine(frames: u32, spare: u32) -> LinuxMachine {
    LinuxMachine::new(Config { frames, spare, arena_bytes: 1 << 30 }).unwrap()
}

/// Page `page` of the arena.
pub fn page(machine: &LinuxMachine, space: SpaceId, page: u64) -> VirtAddr {
    machine.arena(space).start.plus_pages(page)
}

/// `count` pages of the arena.
pub fn pages(machine: &LinuxMachine, space: SpaceId, first: u64, count: u64) -> VirtRange {
    VirtRange::new(page(machine, space, first), page(machine, space, first + count))
}

pub fn frames(range: std::ops::Range<u32>) -> Vec<FrameNo> {
    range.map(FrameNo).collect()
}

/// Fills the frame, which is aside, with `byte`.
pub fn fill(machine: &dyn Machine, frame: FrameNo, byte: u8) {
    let buffer = machine.buffer(frame);
    // SAFETY: 1. the frame is aside, so its bytes are there and nobody else's.
    unsafe { buffer.start.write_bytes(byte, buffer.len) };
}

/// The first and last byte of a frame that is aside.
pub fn ends(machine: &dyn Machine, frame: FrameNo) -> (u8, u8) {
    let start = machine.buffer(frame).start;
    // SAFETY: 1. the frame is aside.
    unsafe { (start.read_volatile(), start.add(PAGE_SIZE - 1).read_volatile()) }
}

/// Loads as a program does. The address is in an arena.
pub fn load(at: VirtAddr) -> u8 {
    // SAFETY: 1. the tests pass addresses of live arenas only.
    unsafe { (at.0 as *const u8).read_volatile() }
}

/// Stores as a program does. The address is in an arena.
pub fn store(at: VirtAddr, byte: u8) {
    // SAFETY: as in `load`.
    unsafe { (at.0 as *mut u8).write_volatile(byte) }
}

/// The next fault message, which must come.
pub fn next_fault(machine: &LinuxMachine) -> PageFault {
    let mut events = [Event::Other(0)];
    loop {
        if machine.events(faultless_linux::THREAD).read_messages(&mut events).unwrap() == 1 {
            match events[0] {
                Event::PageFault(fault) => return fault,
                other => panic!("{other:?}"),
            }
        }
        std::thread::yield_now();
    }
}

/// Is there no fault message?
pub fn no_fault(machine: &LinuxMachine) -> bool {
    let mut events = [Event::Other(0)];
    machine.events(faultless_linux::THREAD).read_messages(&mut events).unwrap() == 0
}

/// Runs `body` in a forked child, which ends with its answer; the wait status.
pub fn in_child(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: 1. the child never returns into the test harness.
    unsafe {
        match libc::fork() {
            0 => {
                let code = body();
                libc::_exit(code)
            }
            child => {
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &mut status, 0), child);
                status
            }
        }
    }
}

/// Ends the process with `si_code * 16 + (is si_addr's offset in its page 7)`.
pub extern "C" fn exit_with_code(_: i32, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: 1. the kernel's pointer, alive while the handler runs.
    unsafe {
        let exact = (*info).si_addr() as usize % PAGE_SIZE == 7;
        libc::_exit((*info).si_code << 4 | i32::from(exact))
    }
}

pub fn set_handler(signal: i32, handler: usize) {
    // SAFETY: 1. zeros are a value of it; 2. the handlers have SA_SIGINFO's signature.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
    }
}

/// A small generator, so that a seed is a run.
pub struct Random(pub u64);

impl Random {
    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}
