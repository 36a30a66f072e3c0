//! The suite of all machines, on the one in software.

use faultless_addr::{FrameNo, SpaceId, VirtAddr};
use faultless_machine::Machine;
use faultless_machine::conform::{self, Act, Attempt, Subject};
use faultless_software::{Cause, Config, CpuNo, Marker, PageFault, SoftwareMachine};

struct Software(SoftwareMachine);

impl Software {
    fn access(&self, at: VirtAddr, act: Act) -> Result<u8, PageFault> {
        let (cpu, space, mut byte) = (CpuNo(0), self.space(), [0]);
        match act {
            Act::Load => self.0.load(cpu, space, at, &mut byte).map(|()| byte[0]),
            Act::Store(byte) => self.0.store(cpu, space, at, &[byte]).map(|()| byte),
        }
    }
}

impl Subject for Software {
    fn machine(&self) -> &dyn Machine {
        &self.0
    }

    fn space(&self) -> SpaceId {
        SpaceId(0)
    }

    fn base(&self) -> VirtAddr {
        VirtAddr(0x7000_0000_0000)
    }

    fn fill(&self, frame: FrameNo, byte: u8) {
        self.0.write_frame(frame, 0, &[byte; 4096]);
    }

    fn byte(&self, frame: FrameNo) -> u8 {
        let mut byte = [0];
        self.0.read_frame(frame, 0, &mut byte);
        byte[0]
    }

    fn begin(&self, at: VirtAddr, act: Act) -> Attempt<'_> {
        match self.access(at, act) {
            Ok(byte) => Attempt::Done(byte),
            Err(fault) => {
                assert_eq!((fault.addr, fault.access), (at, act.access()));
                Attempt::Held(Box::new(move || self.access(at, act).expect("it may go on")))
            }
        }
    }

    fn refuses(&self, at: VirtAddr) -> bool {
        let poisoned = |fault: PageFault| fault.cause == Cause::Marked(Marker::Poison);
        self.access(at, Act::Load).is_err_and(poisoned)
    }
}

#[test]
fn it_does_what_every_machine_does() {
    conform::all(|| Software(SoftwareMachine::new(Config::new(16))));
}
