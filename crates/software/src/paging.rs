//! What this machine can do beyond the trait: rights, accessed and dirty bits, guards,
//! bytes of frames, spaces.

use std::sync::MutexGuard;

use faultless_addr::{FrameNo, SpaceId, VirtAddr, VirtRange};

use crate::entry::{Flags, Marker, Rights};
use crate::error::MapError;
use crate::frames::Place;
use crate::machine::SoftwareMachine;
use crate::state::State;

/// Spaces.
impl SoftwareMachine {
    /// A space without translations. The number of a destroyed one is used again.
    pub fn add_space(&self) -> Result<SpaceId, MapError> {
        self.state().add_space()
    }

    /// Ends a space. Its markers go with it.
    ///
    /// # Panics
    ///
    /// Where a page is still mapped: unmap it first, so that its frame's place is known.
    pub fn destroy_space(&self, space: SpaceId) {
        self.state().destroy_space(space);
    }
}

/// Translations. Where one page is meant, it is the one that holds the address; but a
/// page is mapped at its first address, and ranges are of whole pages, or they panic.
impl SoftwareMachine {
    /// Maps one frame, aside or at other addresses already, with these rights.
    pub fn map_with(
        &self,
        space: SpaceId,
        at: VirtAddr,
        frame: FrameNo,
        rights: Rights,
    ) -> Result<(), MapError> {
        self.state().map(space, at, &[frame], rights)
    }

    /// Gives the page at `at` other rights; what is known of accesses stays.
    ///
    /// # Panics
    ///
    /// Where no page is there.
    pub fn protect(&self, space: SpaceId, at: VirtAddr, rights: Rights) {
        self.state().protect(space, at, rights);
    }

    /// Has a walk come by since the page was mapped, or since the last
    /// [`clear_accessed`](SoftwareMachine::clear_accessed)?
    pub fn accessed(&self, space: SpaceId, at: VirtAddr) -> bool {
        self.state().entry(space, at).has(Flags::PRESENT | Flags::ACCESSED)
    }

    /// Forgets accesses, with a flush; answers if there were any. Without the flush, TLBs
    /// would serve further accesses, and none would be seen.
    pub fn clear_accessed(&self, space: SpaceId, at: VirtAddr) -> bool {
        self.state().test_and_clear(space, at, Flags::ACCESSED)
    }

    /// Has a store come by since the page was mapped, or since the last
    /// [`clear_dirty`](SoftwareMachine::clear_dirty)?
    pub fn dirty(&self, space: SpaceId, at: VirtAddr) -> bool {
        self.state().entry(space, at).has(Flags::PRESENT | Flags::DIRTY)
    }

    /// Forgets stores, with a flush; answers if there were any.
    pub fn clear_dirty(&self, space: SpaceId, at: VirtAddr) -> bool {
        self.state().test_and_clear(space, at, Flags::DIRTY)
    }

    /// Makes touching the absent pages of `range` a fault that says so, as
    /// `MADV_GUARD_INSTALL` does; but present pages and markers stay as they are.
    pub fn guard(&self, space: SpaceId, range: VirtRange) -> Result<(), MapError> {
        self.state().mark(space, range, Marker::Guard)
    }

    /// Ends what [`guard`](SoftwareMachine::guard) began.
    pub fn unguard(&self, space: SpaceId, range: VirtRange) {
        self.state().unmark(space, range, Marker::Guard);
    }

    /// Makes every CPU forget what it knows of `range` (a TLB shootdown). Whatever takes
    /// something away does so by itself.
    pub fn flush(&self, space: SpaceId, range: VirtRange) {
        self.state().flush(space, range);
    }

    /// Makes every CPU forget all that it knows of a space.
    pub fn flush_space(&self, space: SpaceId) {
        self.state().flush_space(space);
    }
}

/// Bytes of frames, as a device or the kernel reaches them: by no translation. An empty
/// frame has none and panics, because nobody may see what was there.
impl SoftwareMachine {
    /// Copies bytes of a frame from `offset` on, which end within it.
    pub fn read_frame(&self, frame: FrameNo, offset: usize, into: &mut [u8]) {
        let _state = self.with_bytes(&[frame]);
        self.memory().read(frame, offset, into);
    }

    /// Changes bytes of a frame from `offset` on, which end within it. No dirty bit sees
    /// it.
    pub fn write_frame(&self, frame: FrameNo, offset: usize, from: &[u8]) {
        let _state = self.with_bytes(&[frame]);
        self.memory().write(frame, offset, from);
    }

    /// Makes frame `to` equal to frame `from`: the copy of copy-on-write.
    pub fn copy_frame(&self, from: FrameNo, to: FrameNo) {
        let _state = self.with_bytes(&[from, to]);
        self.memory().copy(from, to);
    }

    /// Makes all of a frame zeros.
    pub fn zero_frame(&self, frame: FrameNo) {
        let _state = self.with_bytes(&[frame]);
        self.memory().fill(frame, 0);
    }

    /// Takes the lock, and sees that the frames hold bytes.
    fn with_bytes(&self, frames: &[FrameNo]) -> MutexGuard<'_, State> {
        let state = self.state();
        for frame in frames {
            assert_ne!(state.frames.place(*frame), Place::Empty, "{frame:?} holds no bytes");
        }
        state
    }
}
