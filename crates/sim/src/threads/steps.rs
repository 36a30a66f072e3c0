//! Single steps of the machine and of pagers, each with what it must find.

use faultless_addr::{
    FrameNo, ObjectId, PAGE_SIZE, PageIndex, SpaceId, VirtAddr, VirtRange, WriteAccess,
};
use faultless_engine::Leaver;
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

    pub(super) fn fill(&mut self, object: ObjectId, first: PageIndex, frames: &[FrameNo]) {
        for (n, frame) in frames.iter().enumerate() {
            let page = first.plus(n as u64);
            let bytes = self.backings[&object.0].page(page).expect("nothing becomes shorter");
            self.machine.write_frame(*frame, 0, bytes);
        }
    }

    pub(super) fn write(
        &mut self,
        object: ObjectId,
        first: PageIndex,
        frames: &[FrameNo],
        bytes: &[Vec<u8>],
    ) {
        for (n, (frame, bytes)) in frames.iter().zip(bytes).enumerate() {
            let now = self.bytes_of(*frame);
            assert_eq!(now, *bytes, "{frame:?}: a store passed while it was written");
            let backing = self.backings.get_mut(&object.0).expect("it has a backing");
            backing.write(first.plus(n as u64), bytes);
        }
    }
}
