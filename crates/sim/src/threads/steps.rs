//! Single steps of the machine and of pagers, each with what it must find.

use faultless_addr::{
    FrameNo, ObjectId, PAGE_SIZE, PageIndex, SpaceId, VirtAddr, VirtRange, WriteAccess,
};
use faultless_engine::{Failure, Leaver, ReadEnd};
use faultless_machine::{Machine, Then};

use super::State;

impl State {
    pub(super) fn back(&mut self, frames: &[FrameNo]) {
        self.machine.release(frames);
        self.machine.back(frames).expect("frames have memory");
    }

    pub(super) fn bytes_of(&self, frame: FrameNo) -> Vec<u8> {
        let mut bytes = vec![0; PAGE_SIZE];
        self.machine.read_frame(frame, 0, &mut bytes);
        bytes
    }

    pub(super) fn unmap(&mut self, leaver: &Leaver, then: Then) {
        let pages = [(leaver.at, leaver.frame)];
        let done = self.machine.unmap(leaver.space, &pages, then).expect("the page is there");
        assert_eq!(done, 1);
    }

    pub(super) fn map(&mut self, space: SpaceId, at: VirtAddr, frame: FrameNo, write: WriteAccess) {
        if let Err(error) = self.machine.map(space, at, &[frame], write) {
            let there = self.machine.translation(space, at).map(|it| self.engine.frame(it.frame));
            panic!("{error}: {there:?} is at {at:?}, which gets {:?}", self.engine.frame(frame));
        }
    }

    pub(super) fn set_write(&mut self, space: SpaceId, at: VirtAddr, write: WriteAccess) {
        assert!(self.machine.translation(space, at).is_some(), "no page at {at:?}");
        self.machine.set_write(space, VirtRange::page(at), write).expect("the page is there");
    }

    pub(super) fn stop_range(&mut self, space: SpaceId, range: VirtRange) {
        self.tally.note("thread: stores are stopped in a range");
        let stopped = self.machine.set_write(space, range, WriteAccess::Tracked);
        stopped.expect("stores can be stopped");
    }

    /// A read ends, perhaps too early.
    pub(super) fn fill(
        &mut self,
        object: ObjectId,
        first: PageIndex,
        frames: &[FrameNo],
    ) -> ReadEnd {
        let good = match self.fails() {
            true => self.rng.usize(..frames.len()),
            false => frames.len(),
        };
        for (n, frame) in frames[..good].iter().enumerate() {
            let page = first.plus(n as u64);
            let bytes = self.backings[&object.0].page(page).expect("nothing becomes shorter");
            self.machine.write_frame(*frame, 0, bytes);
        }
        ReadEnd { good: good as u64, failure: Failure::Read, errno: 5 }
    }

    fn fails(&mut self) -> bool {
        let fails = self.failing && self.rng.u32(..3) == 0;
        self.failed |= fails;
        fails
    }

    /// A write ends, perhaps with some of its sectors only.
    pub(super) fn write(
        &mut self,
        object: ObjectId,
        first: PageIndex,
        frames: &[FrameNo],
        bytes: &[Vec<u8>],
    ) -> Result<(), (Failure, i32)> {
        let fails = self.fails();
        for (n, (frame, bytes)) in frames.iter().zip(bytes).enumerate() {
            let now = self.bytes_of(*frame);
            assert_eq!(now, *bytes, "{frame:?}: a store passed while it was written");
            let backing = self.backings.get_mut(&object.0).expect("it has a backing");
            match fails {
                true => backing.tear(first.plus(n as u64), bytes, &mut self.rng),
                false => backing.write(first.plus(n as u64), bytes),
            }
        }
        if fails { Err((Failure::Write, 5)) } else { Ok(()) }
    }
}
