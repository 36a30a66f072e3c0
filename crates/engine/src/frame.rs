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
//! Frames of *devices* have the numbers behind the budget's. They are none of this: a
//! device's driver lends them for good (`device`), nobody takes or reclaims them.
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
//!   a private store      Copying    copy it to another frame   copied
//!   fork                 Stopping   stop stores                stopped
//! ```
//!
//! A page is *dirty* from the moment a store is let through until a write of it
//! has ended well: `begin_write` leaves it dirty.

use alloc::vec::Vec;

use faultless_addr::{Access, FrameNo, ObjectId, PAGE_SHIFT, PageIndex, SpaceId, VirtAddr};

use crate::Tick;
use crate::object::cache::PageOf;
use crate::policy::PageKey;

/// Whether a frame holds a page, and if the page's bytes are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Holds nothing.
    Free,
    /// Belongs to a page whose bytes are on their way, or [to be given](Kind::ToBeGiven).
    Reading,
    /// Holds the bytes of its page.
    Resident,
    /// Belongs to a page whose bytes could not be had. It stays until those who
    /// wait for it have seen that.
    Failed,
    /// Is memory of a device. It holds a page of the device's object once it is lent.
    Device,
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
    /// Copying it to another frame.
    Copying,
    /// Stopping stores to it.
    Stopping,
}

/// What somebody needs of a frame that can't be given now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// Nothing.
    Nothing,
    /// To load from it.
    Read,
    /// To store to it.
    Write,
}

impl Want {
    /// What an access needs.
    pub fn of(access: Access) -> Want {
        match access {
            Access::Write => Want::Write,
            Access::Read | Access::Execute => Want::Read,
        }
    }
}

/// At how many addresses a frame is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// At none: it is aside, or empty.
    Nowhere,
    /// At the one in [`Frame::site`].
    Once,
    /// At several, which are in the engine's table of those.
    Often,
}

/// How a page stands to its backing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dirt {
    /// They are the same.
    None,
    /// They differ.
    Unwritten,
    /// They differ, and the last try to write the page failed.
    Refused,
}

/// What is special about a page's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Plain,
    /// It was taken from its addresses to see whether it is touched again.
    OnTrial,
    /// Touching it asks for the next read-ahead window; never mapped ahead.
    Marker,
    /// They came from swap with another page's; being touched says that it was worth it.
    Ahead,
    /// They are zeros in place of bytes that could not be read; never written back.
    Substitute,
    /// Nobody reads it: whoever pins it gives it its bytes, or forgoes that.
    ToBeGiven,
    /// They are on their way: it is dirty as soon as they are there.
    Given,
    /// The object was cut inside of the page while that was dirty: those behind the end are no
    /// more, so the page is doomed as soon as it is clean.
    Torn,
}

/// An address of a space, in 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site(u64);

impl Site {
    /// Nowhere.
    pub const NONE: Site = Site(u64::MAX);

    /// The page at `at` in `space`. There are fewer than 2^16 spaces, of 2^60 bytes.
    pub fn new(space: SpaceId, at: VirtAddr) -> Site {
        debug_assert!(space.0 < 1 << 16 && at.0 < 1 << 60);
        Site(u64::from(space.0) << 48 | at.0 >> PAGE_SHIFT)
    }

    /// The page with this number in `space`.
    pub fn of_number(space: SpaceId, number: u64) -> Site {
        Site(u64::from(space.0) << 48 | number)
    }

    /// The space.
    pub fn space(self) -> SpaceId {
        SpaceId((self.0 >> 48) as u32)
    }

    /// The page number of the address.
    pub fn number(self) -> u64 {
        self.0 & ((1 << 48) - 1)
    }

    /// The address.
    pub fn at(self) -> VirtAddr {
        VirtAddr(self.0 << PAGE_SHIFT & ((1 << 60) - 1))
    }
}

impl core::fmt::Debug for Site {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Site::NONE => f.write_str("nowhere"),
            site => write!(f, "{:?} of space {}", site.at(), site.space().0),
        }
    }
}

/// One frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The page it holds; of a free frame's meaning only the table knows.
    pub page: PageIndex,
    /// Where it is shown, if once; else where it is wanted.
    pub site: Site,
    /// The object of that page.
    pub object: ObjectId,
    /// When the page became dirty, or was last refused; of meaning only while it is dirty.
    pub dirty_since: Tick,
    /// How many shared pins hold the page in place.
    pub pins: u16,
    /// Parts of what is being done that have not been reported.
    pub parts: u16,
    /// See [`State`].
    pub state: State,
    /// See [`Busy`].
    pub busy: Busy,
    /// At how many addresses it is.
    pub shown: Shown,
    /// What is needed of it at `site`.
    pub want: Want,
    /// See [`Kind`].
    pub kind: Kind,
    /// Stores to some address of it go through.
    pub writable: bool,
    /// See [`Dirt`].
    pub dirt: Dirt,
    /// A pin that may store holds the page in place.
    pub pinned_for_write: bool,
    /// Somebody sleeps in the driver until it settles.
    pub waited: bool,
    /// The machine holds a thread that touched it.
    pub held: bool,
    /// Chosen to leave: it does as soon as it is clean.
    pub leaving: bool,
    /// To be given back as soon as it settles: its page is no more.
    pub doomed: bool,
}

impl Frame {
    fn free() -> Frame {
        Frame {
            page: PageIndex(0),
            site: Site::NONE,
            object: ObjectId(u32::MAX),
            dirty_since: 0,
            pins: 0,
            parts: 0,
            state: State::Free,
            busy: Busy::Idle,
            shown: Shown::Nowhere,
            want: Want::Nothing,
            kind: Kind::Plain,
            writable: false,
            dirt: Dirt::None,
            pinned_for_write: false,
            waited: false,
            held: false,
            leaving: false,
            doomed: false,
        }
    }

    /// The page it holds, with its object.
    pub fn key(&self) -> PageKey {
        PageKey { object: self.object, page: self.page }
    }

    /// Does it differ from its backing?
    pub fn is_dirty(&self) -> bool {
        self.dirt != Dirt::None
    }

    /// Is it at any address?
    pub fn is_mapped(&self) -> bool {
        self.shown != Shown::Nowhere
    }

    /// Is it memory of a device?
    pub fn is_device(&self) -> bool {
        self.state == State::Device
    }

    /// Does it hold a page, or is it meant to?
    pub fn has_page(&self) -> bool {
        match self.state {
            State::Free => false,
            State::Device => self.object != ObjectId(u32::MAX),
            State::Reading | State::Resident | State::Failed => true,
        }
    }

    /// Does a pin hold it in place?
    pub fn is_pinned(&self) -> bool {
        self.pins > 0 || self.pinned_for_write
    }

    /// Is nothing being done with it?
    pub fn is_idle(&self) -> bool {
        self.busy == Busy::Idle
    }

    /// Does it hold zeros in place of bytes that could not be read?
    pub fn is_substitute(&self) -> bool {
        self.kind == Kind::Substitute
    }

    /// Begins `busy` on an idle frame, in `parts` that are reported one by one.
    pub fn begin(&mut self, busy: Busy, parts: u16) {
        debug_assert!(self.is_idle(), "{:?} begun on a frame that is {:?}", busy, self.busy);
        debug_assert!(parts > 0, "{busy:?} of nothing");
        self.busy = busy;
        self.parts = parts;
    }

    /// Ends a part of `busy`, which was begun; answers whether it was the last.
    pub fn end(&mut self, busy: Busy) -> bool {
        assert_eq!(self.busy, busy, "a driver reported the end of what it wasn't told to do");
        self.parts -= 1;
        if self.parts == 0 {
            self.busy = Busy::Idle;
        }
        self.parts == 0
    }
}

/// All frames of a budget, and of devices.
pub struct FrameTable {
    frames: Vec<Frame>,
    budget: u32,
    free: u32,
    /// The free frame that was given back last. Each has the number of the one before as its
    /// page: a list of its own would be as long as there are frames.
    top: PageIndex,
}

/// Below the last free frame.
const NONE: PageIndex = PageIndex(u64::MAX);

impl FrameTable {
    /// `budget` free frames, and behind them so many of devices.
    pub fn new(budget: u32, of_devices: u32) -> FrameTable {
        let mut frames = Vec::new();
        frames.resize_with(budget as usize, Frame::free);
        let device = Frame { state: State::Device, ..Frame::free() };
        frames.resize(budget as usize + of_devices as usize, device);
        let mut table = FrameTable { frames, budget, free: 0, top: NONE };
        (0..budget).rev().for_each(|no| table.push_free(FrameNo(no)));
        table
    }

    fn push_free(&mut self, no: FrameNo) {
        self.frames[no.index()].page = core::mem::replace(&mut self.top, PageIndex(no.0.into()));
        self.free += 1;
    }

    fn pop_free(&mut self) -> Option<FrameNo> {
        if self.top == NONE {
            return None;
        }
        let no = FrameNo(self.top.0 as u32);
        self.top = self.frames[no.index()].page;
        self.free -= 1;
        Some(no)
    }

    /// How many frames the budget has.
    pub fn count(&self) -> u32 {
        self.budget
    }

    /// The numbers of the devices' frames.
    pub fn of_devices(&self) -> core::ops::Range<u32> {
        self.budget..self.frames.len() as u32
    }

    /// How many hold nothing.
    pub fn free(&self) -> u32 {
        self.free
    }

    /// Free → Reading: a frame for `key`'s page, if there is one.
    pub fn take(&mut self, key: PageKey) -> Option<FrameNo> {
        let no = self.pop_free()?;
        self.frames[no.index()] = Frame {
            page: key.page,
            object: key.object,
            state: State::Reading,
            busy: Busy::Reading,
            parts: 1,
            ..Frame::free()
        };
        Some(no)
    }

    /// Resident or Failed → Free.
    pub fn give_back(&mut self, no: FrameNo) {
        let frame = &mut self.frames[no.index()];
        assert!(
            frame.is_idle()
                && !frame.is_mapped()
                && !frame.is_pinned()
                && frame.state != State::Free,
            "a frame in use was given back: {frame:?}"
        );
        *frame = Frame::free();
        self.push_free(no);
    }

    /// The bug [`DoubleFree`](crate::Canary::DoubleFree).
    pub(crate) fn give_back_again(&mut self, no: FrameNo) {
        self.push_free(no);
    }

    /// Every frame with its number.
    pub fn iter(&self) -> impl Iterator<Item = (FrameNo, &Frame)> {
        self.frames.iter().enumerate().map(|(n, frame)| (FrameNo(n as u32), frame))
    }

    /// Bytes that the table takes.
    pub fn bookkeeping_bytes(&self) -> usize {
        self.frames.capacity() * size_of::<Frame>()
    }

    /// Free frames are listed once each, and are free.
    pub fn check_invariants(&self) {
        let mut listed = alloc::vec![false; self.frames.len()];
        let (mut next, mut count) = (self.top, 0);
        while next != NONE {
            let no = FrameNo(next.0 as u32);
            assert!(!core::mem::replace(&mut listed[no.index()], true), "{no:?} is free twice");
            assert_eq!(self[no].state, State::Free);
            (next, count) = (self[no].page, count + 1);
        }
        assert_eq!(self.free, count, "free frames");
        for (no, frame) in self.iter() {
            assert_eq!(frame.state == State::Free, listed[no.index()], "{no:?} is lost: {frame:?}");
            assert!(!frame.writable || frame.is_mapped(), "{no:?} is writable nowhere");
            assert!(
                !frame.writable || frame.is_dirty() || frame.is_substitute() || frame.is_device(),
                "{no:?}: unseen stores"
            );
            assert_eq!(frame.parts == 0, frame.is_idle(), "{no:?}: {frame:?}");
            assert!(
                !frame.is_dirty() || frame.state == State::Resident,
                "{no:?} is dirty with nothing"
            );
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

    fn is_dirty(&self, frame: FrameNo) -> bool {
        self[frame].is_dirty()
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
        let mut table = FrameTable::new(3, 2);
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
