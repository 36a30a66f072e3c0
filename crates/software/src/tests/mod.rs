//! The whole machine: each promise by an example, and all of them against a model.

mod access;
mod bits;
mod flush;
mod model;
mod verbs;
mod view;

use faultless_addr::{FrameNo, SpaceId, VirtAddr, VirtRange, WriteAccess};
use faultless_machine::Machine;

use crate::*;

const SPACE: SpaceId = SpaceId(0);
const OTHER: SpaceId = SpaceId(1);
const CPU: CpuNo = CpuNo(0);
const AT: VirtAddr = VirtAddr(0x40_0000);

/// 16 frames, 16 for tables, two CPUs and two spaces.
fn config() -> Config {
    Config { table_frames: 16, cpus: 2, spaces: 2, ..Config::new(16) }
}

/// A machine with the frames from 0 on mapped at the pages from [`AT`] on.
fn mapped(count: u32) -> SoftwareMachine {
    let machine = SoftwareMachine::new(config());
    let frames: Vec<FrameNo> = (0..count).map(FrameNo).collect();
    machine.back(&frames).unwrap();
    machine.map(SPACE, AT, &frames, WriteAccess::Allowed).unwrap();
    machine
}

fn page(n: u64) -> VirtAddr {
    AT.plus_pages(n)
}

fn pages(range: std::ops::Range<u64>) -> VirtRange {
    VirtRange::new(page(range.start), page(range.end))
}

fn byte(machine: &SoftwareMachine, addr: VirtAddr) -> Result<u8, Cause> {
    let mut byte = [0];
    machine.load(CPU, SPACE, addr, &mut byte).map(|()| byte[0]).map_err(|fault| fault.cause)
}

fn store(machine: &SoftwareMachine, addr: VirtAddr, byte: u8) -> Result<(), Cause> {
    machine.store(CPU, SPACE, addr, &[byte]).map_err(|fault| fault.cause)
}
