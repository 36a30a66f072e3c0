//! The suite of all machines, on the one of real pointers: the program is a thread.

mod common;

use std::io::{Write, pipe};
use std::thread;

use faultless_addr::{FrameNo, SpaceId, VirtAddr};
use faultless_linux::{LinuxMachine, THREAD};
use faultless_machine::Machine;
use faultless_machine::conform::{self, Act, Attempt, Subject};

struct Linux(LinuxMachine);

impl Subject for Linux {
    fn machine(&self) -> &dyn Machine {
        &self.0
    }

    fn space(&self) -> SpaceId {
        THREAD
    }

    fn base(&self) -> VirtAddr {
        common::page(&self.0, THREAD, 100)
    }

    fn fill(&self, frame: FrameNo, byte: u8) {
        common::fill(&self.0, frame, byte);
    }

    fn byte(&self, frame: FrameNo) -> u8 {
        common::ends(&self.0, frame).0
    }

    fn begin(&self, at: VirtAddr, act: Act) -> Attempt<'_> {
        let program = thread::spawn(move || match act {
            Act::Load => common::load(at),
            Act::Store(byte) => {
                common::store(at, byte);
                byte
            }
        });
        let mut held = Vec::new();
        loop {
            // It has ended before the look, or it is held, or neither has happened yet.
            let ended = program.is_finished();
            self.0.held(1, &mut held).expect("faults can be asked for");
            if let [held] = held[..] {
                assert_eq!((held.addr.page_start(), held.access), (at, act.access()));
                return Attempt::Held(Box::new(|| program.join().expect("it goes on")));
            }
            if ended {
                return Attempt::Done(program.join().expect("it has ended"));
            }
            thread::yield_now();
        }
    }

    /// A system call says what a pointer would die of.
    fn refuses(&self, at: VirtAddr) -> bool {
        let (_reader, mut writer) = pipe().expect("a pipe");
        // SAFETY: 1. the byte is in a live arena; 2. the program, which alone changes it,
        // does nothing now; the kernel reads it, and refuses where it can't.
        let byte = unsafe { std::slice::from_raw_parts(at.0 as *const u8, 1) };
        let written = writer.write(byte);
        written.is_err_and(|error| error.raw_os_error() == Some(libc::EFAULT))
    }
}

#[test]
fn it_does_what_every_machine_does() {
    conform::all(|| Linux(common::machine(16, 8)));
}
