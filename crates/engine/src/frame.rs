//! The frame table: one entry for each frame of the budget, and the states that
//! a frame that holds a page goes through.
//!
//! ```text
//!            take              read_ended(ok)
//!   Free ──────────► Reading ────────────────► Resident
//!    ▲                  │ read_ended(error)        │
//!    │                  ▼                          │ give_back (clean, unmapped,
//!    ├─────────────── Failed                       │            unpinned, not busy)
//!    └─────────────────────────────────────────────┘
//! ```
//!
//! While a driver carries something out on a frame, the frame is **busy** and
//! nothing else is begun on it; whoever needs it says so by a *want* and is
//! served when it *settles*. (BSD's `PG_BUSY` and `PG_WANTED`, Linux's page lock.)
//!
//! ```text
//!   who begins it        busy       what the driver does       who ends it
//!   fault, pin           Reading    fill the frame             read_ended
//!   fault, pin, settle   Mapping    give it its address        mapped
//!   fault, pin, settle   Granting   let stores through         granted
//!   reclaim, truncate    Leaving    take its address away      unmapped
//!   write-back, reclaim  Writing    stop stores, then write    write_ended
//!   read_ended(error)    Poisoning  make touching it an error  poisoned
//! ```
//!
//! A page is *dirty* from the moment a store is let through until a write of it
//! has ended well: `begin_write` leaves it dirty.

use alloc::vec::Vec;

use faultless_addr::{FrameNo, ObjectId, PageIndex};

use crate::Tick;
use crate::object::cache::PageOf;
use crate::policy::PageKey;

/// Whether a frame holds a page, and if the page's bytes are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Holds nothing.
    Free,
    /// Belongs to a page whose bytes are on their way.
    Reading,
    /// Holds the bytes of its page.
    Resident,
    /// Belongs to a page whose bytes could not be had. It stays until those who
    /// wait for it have seen that.
    Failed,
}

/// What a driver is doing with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Nothing.
    Idle,
    /// Filling it.
    Reading,
    /// Giving it its address.
    Mapping,
    /// Letting stores through.
    Granting,
    /// Taking its address away.
    Leaving,
    /// Writing it to its backing.
    Writing,
    /// Making the touching of its address an error.
    Poisoning,
}

/// One frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The page it holds.
    pub page: PageIndex,
    /// The object of that page.
    pub object: ObjectId,
    /// When the page became dirty; of meaning only while it is.
    pub dirty_since: Tick,
    /// How many shared pins hold the page in place.
    pub pins: u16,
    /// See [`State`].
    pub state: State,
    /// See [`Busy`].
    pub busy: Busy,
    /// The page is at its address.
    pub mapped: bool,
    /// Stores to its address go through.
    pub writable: bool,
    /// It differs from its backing.
    pub dirty: bool,
    /// A pin that may store holds the page in place.
    pub pinned_for_write: bool,
    /// Somebody needs it mapped.
    pub want_read: bool,
    /// Somebody needs to store to it.
    pub want_write: bool,
    /// Somebody sleeps in the driver until it settles.
    pub waited: bool,
    /// The machine holds a thread that touched it.
    pub held: bool,
    /// Chosen to leave: it does as soon as it is clean.
    pub leaving: bool,
    /// Touching it asks for the next read-ahead window; never mapped ahead.
    pub marker: bool,
    /// Zeros in place of bytes that could not be read; never written back.
    pub substitute: bool,
    /// To be given back as soon as it settles: its page is no more.
    pub doomed: bool,
}

impl Frame {
    fn free() -> Frame {
        Frame {
            page: PageIndex(0),
            object: ObjectId(u32::MAX),
            dirty_since: 0,
            pins: 0,
            state: State::Free,
            busy: Busy::Idle,
            mapped: false,
            writable: false,
            dirty: false,
            pinned_for_write: false,
            want_read: false,
            want_write: false,
            waited: false,
            held: false,
            leaving: false,
            marker: false,
            substitute: false,
            doomed: false,
        }
    }

    /// The page it holds, with its object.
    pub fn key(&self) -> PageKey {
        PageKey { object: self.object, page: self.page }
    }

    /// Does a pin hold it in place?
    pub fn is_pinned(&self) -> bool {
        self.pins > 0 || self.pinned_for_write
    }

    /// Is nothing being done with it?
    pub fn is_idle(&self) -> bool {
        self.busy == Busy::Idle
    }

    /// Begins `busy` on an idle frame.
    pub fn begin(&mut self, busy: Busy) {
        debug_assert!(self.is_idle(), "{:?} begun on a frame that is {:?}", busy, self.busy);
        self.busy = busy;
    }

    /// Ends `busy`, which was begun.
    pub fn end(&mut self, busy: Busy) {
        assert_eq!(self.busy, busy, "a driver reported the end of what it wasn't told to do");
        self.busy = Busy::Idle;
    }
}

/// All frames of a budget.
pub struct FrameTable {
    frames: Vec<Frame>,
    /// Free frames, the last one given back on top.
    free: Vec<FrameNo>,
}

impl FrameTable {
    /// `count` free frames.
    pub fn new(count: u32) -> FrameTable {
        let mut frames = Vec::new();
        frames.resize_with(count as usize, Frame::free);
        FrameTable { frames, free: (0..count).rev().map(FrameNo).collect() }
    }

    /// How many frames there are.
    pub fn count(&self) -> u32 {
        self.frames.len() as u32
    }

    /// How many hold nothing.
    pub fn free(&self) -> u32 {
        self.free.len() as u32
    }

    /// Free → Reading: a frame for `key`'s page, if there is one.
    pub fn take(&mut self, key: PageKey) -> Option<FrameNo> {
        let no = self.free.pop()?;
        self.frames[no.index()] = Frame {
            page: key.page,
            object: key.object,
            state: State::Reading,
            busy: Busy::Reading,
            ..Frame::free()
        };
        Some(no)
    }

    /// Resident or Failed → Free.
    pub fn give_back(&mut self, no: FrameNo) {
        let frame = &mut self.frames[no.index()];
        assert!(
            frame.is_idle() && !frame.mapped && !frame.is_pinned() && frame.state != State::Free,
            "a frame in use was given back: {frame:?}"
        );
        *frame = Frame::free();
        self.free.push(no);
    }

    /// Every frame with its number.
    pub fn iter(&self) -> impl Iterator<Item = (FrameNo, &Frame)> {
        self.frames.iter().enumerate().map(|(n, frame)| (FrameNo(n as u32), frame))
    }

    /// Bytes that the table takes.
    pub fn bookkeeping_bytes(&self) -> usize {
        self.frames.capacity() * size_of::<Frame>() + self.free.capacity() * size_of::<FrameNo>()
    }

    /// Free frames are listed once each, and are free.
    pub fn check_invariants(&self) {
        let mut listed = alloc::vec![false; self.frames.len()];
        for no in &self.free {
            assert!(!core::mem::replace(&mut listed[no.index()], true), "{no:?} is free twice");
            assert_eq!(self[*no].state, State::Free);
        }
        for (no, frame) in self.iter() {
            assert_eq!(frame.state == State::Free, listed[no.index()], "{no:?} is lost: {frame:?}");
            assert!(!frame.writable || frame.mapped, "{no:?} is writable nowhere");
            assert!(!frame.writable || frame.dirty || frame.substitute, "{no:?}: unseen stores");
            assert!(!frame.dirty || frame.state == State::Resident, "{no:?} is dirty with nothing");
        }
    }
}

impl core::ops::Index<FrameNo> for FrameTable {
    type Output = Frame;

    fn index(&self, no: FrameNo) -> &Frame {
        &self.frames[no.index()]
    }
}

impl core::ops::IndexMut<FrameNo> for FrameTable {
    fn index_mut(&mut self, no: FrameNo) -> &mut Frame {
        &mut self.frames[no.index()]
    }
}

impl PageOf for FrameTable {
    fn page_of(&self, frame: FrameNo) -> PageIndex {
        self[frame].page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small() {
        // Links and policies take 12 bytes a frame more; the aim is 64 in all.
        assert!(size_of::<Frame>() <= 40, "{}", size_of::<Frame>());
    }

    #[test]
    fn frames_are_never_more_than_the_budget() {
        let mut table = FrameTable::new(3);
        let key = |n| PageKey { object: ObjectId(0), page: PageIndex(n) };
        let taken: Vec<_> = (0..3).map(|n| table.take(key(n)).unwrap()).collect();
        assert_eq!(table.take(key(3)), None);
        for no in taken {
            table[no].end(Busy::Reading);
            table[no].state = State::Resident;
            table.give_back(no);
        }
        assert_eq!(table.free(), 3);
        table.check_invariants();
    }
}
