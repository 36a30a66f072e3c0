//! The machine as other crates see it: by the trait, by pointers, from several threads.

use std::thread;

use faultless_addr::{FrameNo, PAGE_SIZE, SpaceId, VirtAddr, VirtRange, WriteAccess};
use faultless_machine::{Buffer, Machine, Stores, Then};
use faultless_software::{Config, CpuNo, SoftwareMachine, UNREAD};

const SPACE: SpaceId = SpaceId(0);
const AT: VirtAddr = VirtAddr(0x7000_0000_0000);

/// What a pager does with the bytes of a frame that is aside, and a writer with mapped
/// ones.
fn slice(buffer: &mut Buffer) -> &mut [u8] {
    // SAFETY: 1. the machine gave the pointer for so many bytes, and it lives longer;
    // 2. no call and no program touches these frames meanwhile: we are the driver.
    unsafe { std::slice::from_raw_parts_mut(buffer.start, buffer.len) }
}

#[test]
fn what_a_pager_reads_into_a_frame_a_program_loads() {
    let machine = SoftwareMachine::new(Config::new(4));
    let frames = [FrameNo(1), FrameNo(2)];
    machine.back(&frames).unwrap();
    for (frame, byte) in frames.into_iter().zip([7, 8]) {
        let mut buffer = machine.buffer(frame);
        assert!(buffer.start.addr().is_multiple_of(PAGE_SIZE), "direct I/O wants whole pages");
        let bytes = slice(&mut buffer);
        assert_eq!(bytes, [UNREAD; PAGE_SIZE]);
        bytes.fill(byte);
    }
    machine.map(SPACE, AT, &frames, WriteAccess::Allowed).unwrap();
    let mut loaded = [0; 2];
    machine.load(CpuNo(0), SPACE, VirtAddr(AT.plus_pages(1).0 - 1), &mut loaded).unwrap();
    assert_eq!(loaded, [7, 8]);

    machine.store(CpuNo(0), SPACE, VirtAddr(AT.0 + 5000), b"stored").unwrap();
    let range = VirtRange::new(AT, AT.plus_pages(2));
    machine.set_write(SPACE, range, WriteAccess::Tracked).unwrap();
    let mut buffer = machine.mapped(SPACE, AT.plus_pages(1), frames[1]);
    assert_eq!(&slice(&mut buffer)[904..910], b"stored");

    let pages = [(AT, frames[0]), (AT.plus_pages(1), frames[1])];
    machine.unmap(SPACE, &pages, Then::Keep(Stores::Pass)).unwrap();
    assert_eq!(&slice(&mut machine.buffer(frames[1]))[904..910], b"stored");
}

#[test]
fn locked_instructions_of_several_cpus_lose_nothing() {
    const ADDITIONS: u64 = 500;
    let machine = SoftwareMachine::new(Config::new(2));
    let (first, second) = (FrameNo(0), FrameNo(1));
    machine.back(&[first, second]).unwrap();
    [first, second].into_iter().for_each(|frame| machine.zero_frame(frame));
    machine.map(SPACE, AT, &[first, second], WriteAccess::Allowed).unwrap();
    // Across two pages, where it is hardest.
    let counter = VirtAddr(AT.plus_pages(1).0 - 4);
    let add_one = || {
        let mut expected = 0;
        loop {
            let new = expected + 1;
            let found =
                machine.compare_exchange_u64(CpuNo(0), SPACE, counter, expected, new).unwrap();
            if found == expected {
                return;
            }
            expected = found;
        }
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..ADDITIONS).for_each(|_| add_one()));
        }
    });
    let mut bytes = [0; 8];
    machine.load(CpuNo(0), SPACE, counter, &mut bytes).unwrap();
    assert_eq!(u64::from_le_bytes(bytes), 2 * ADDITIONS);
}

#[test]
fn machines_are_the_same_by_the_trait() {
    let machine: Box<dyn Machine> = Box::new(SoftwareMachine::new(Config::new(4)));
    let before = machine.bookkeeping_bytes();
    machine.back(&[FrameNo(0)]).unwrap();
    machine.map(SPACE, AT, &[FrameNo(0)], WriteAccess::Forbidden).unwrap();
    assert_eq!(machine.bookkeeping_bytes(), before + 3 * PAGE_SIZE, "three tables more");
}
