//! [`SoftwareMachine`]: the trait's verbs.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use faultless_addr::{FrameNo, PAGE_SIZE, SpaceId, VirtAddr, VirtRange, WriteAccess};
use faultless_machine::{Buffer, Held, Machine, Segv, Then};

use crate::config::Config;
use crate::entry::{Marker, Rights};
use crate::frames::Place;
use crate::memory::Memory;
use crate::state::State;

/// The software machine. See the [crate's description](crate).
///
/// What a driver promises to the trait is checked: a frame that isn't where it must be,
/// a page that isn't there, an address between pages and a space or CPU that doesn't
/// exist panic. The one lock guards everything but bytes that are accessed by
/// [`Buffer`]s; nothing is ever waited for under it.
pub struct SoftwareMachine {
    memory: Memory,
    state: Mutex<State>,
}

impl SoftwareMachine {
    /// A machine with all frames empty.
    ///
    /// # Panics
    ///
    /// Without a CPU, with fewer table frames than spaces, or with more frames than
    /// their numbers can name.
    pub fn new(config: Config) -> SoftwareMachine {
        assert!(config.cpus > 0, "a machine needs a CPU");
        let frames = config.frames.checked_add(config.table_frames);
        let memory = Memory::new(frames.expect("frame numbers have 32 bits"));
        let mut state = State::new(config, memory.clone());
        for _ in 0..config.spaces {
            state.add_space().expect("each space needs a table frame");
        }
        SoftwareMachine { memory, state: Mutex::new(state) }
    }

    /// What changes. A panic under the lock is a driver's mistake, and leaves nothing
    /// behind that is worse than that.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }
}

/// What [`Machine::map`] gives: the trait knows nothing of executing, so it is allowed.
fn rights_for(write: WriteAccess) -> Rights {
    match write {
        WriteAccess::Allowed => Rights::all(),
        WriteAccess::Tracked | WriteAccess::Forbidden => Rights::all() - Rights::WRITE,
    }
}

impl Machine for SoftwareMachine {
    /// The bytes are [`UNREAD`](crate::UNREAD), so that unfilled ones are noticed.
    fn back(&self, frames: &[FrameNo]) -> io::Result<()> {
        let mut state = self.state();
        frames.iter().for_each(|frame| state.back(*frame));
        Ok(())
    }

    fn buffer(&self, frame: FrameNo) -> Buffer {
        let place = self.state().frames.place(frame);
        assert_eq!(place, Place::Aside, "{frame:?} has no buffer");
        Buffer { start: self.memory.pointer(frame, 1), len: PAGE_SIZE }
    }

    /// # Panics
    ///
    /// Where the frame isn't there.
    fn mapped(&self, space: SpaceId, at: VirtAddr, frame: FrameNo) -> Buffer {
        let there = self.state().present(space, at).map(|(_, entry)| entry.frame());
        assert_eq!(there, Some(frame), "at {at:?} of {space:?}");
        Buffer { start: self.memory.pointer(frame, 1), len: PAGE_SIZE }
    }

    fn map(
        &self,
        space: SpaceId,
        at: VirtAddr,
        frames: &[FrameNo],
        write: WriteAccess,
    ) -> io::Result<()> {
        Ok(self.state().map(space, at, frames, rights_for(write))?)
    }

    /// A frame at several addresses stays what it is until its last one goes. Without
    /// any, and with [`Then::Drop`], its bytes become [`DROPPED`](crate::DROPPED).
    fn unmap(
        &self,
        space: SpaceId,
        pages: &[(VirtAddr, FrameNo)],
        then: Then,
    ) -> io::Result<usize> {
        debug_assert!(pages.is_sorted(), "pages to unmap are sorted");
        let mut state = self.state();
        pages.iter().for_each(|(at, frame)| state.unmap(space, *at, *frame, then));
        Ok(pages.len())
    }

    fn release(&self, frames: &[FrameNo]) {
        let mut state = self.state();
        frames.iter().for_each(|frame| state.release(*frame));
    }

    /// Absent pages of `range` stay as they are.
    fn set_write(&self, space: SpaceId, range: VirtRange, write: WriteAccess) -> io::Result<()> {
        self.state().set_write(space, range, rights_for(write));
        Ok(())
    }

    /// Pages of `range` that are present or have a marker stay as they are. On an error
    /// nothing is poisoned.
    fn poison(&self, space: SpaceId, range: VirtRange) -> io::Result<()> {
        Ok(self.state().mark(space, range, Marker::Poison)?)
    }

    /// Present pages and guards stay as they are.
    fn heal(&self, space: SpaceId, range: VirtRange) -> io::Result<()> {
        self.state().unmark(space, range, Marker::Poison);
        Ok(())
    }

    /// Nobody waits here: an access that can't go on has answered already.
    fn wake(&self, _space: SpaceId, _range: VirtRange) {}

    /// No access is ever held: it answers its fault.
    fn held_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn held(&self, _limit: usize, _out: &mut Vec<Held>) -> io::Result<()> {
        Ok(())
    }

    /// Nothing is held; whoever drives the program ends it.
    fn segv(&self, _held: &Held, _why: Segv) -> io::Result<()> {
        Ok(())
    }

    fn bookkeeping_bytes(&self) -> usize {
        size_of::<SoftwareMachine>() + self.state().bookkeeping_bytes()
    }
}
