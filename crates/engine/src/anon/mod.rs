//! Anonymous pages: those that belong to no object, because a program has stored
//! to private memory.
//!
//! ```text
//!   space 0, page 7 ──┐                     ┌─► frame   (in memory)
//!                     ├─► AnonPage { refs } ─┤
//!   space 1, page 7 ──┘   2: after a fork    └─► slot    (in swap)
//! ```
//!
//! An anonymous page is named by the addresses that show it, as many as it has
//! `refs`; with more than one, a store promotes it to a copy of its own. It may have
//! a frame, a slot of swap, both (then it is in the swap cache), or neither (then it
//! is all zeros). This is UVM's `vm_anon` (Cranor, "Design and Implementation of the
//! UVM Virtual Memory System", 1998), without the maps between: a space has one map
//! of all its anonymous pages.

mod map;

use alloc::vec::Vec;

pub use map::AnonMap;

use faultless_addr::{FrameNo, ObjectId, PAGE_SHIFT, PageIndex, VirtRange};

use crate::policy::PageKey;
use crate::swap::SwapSlot;

/// In place of an object, in the keys of anonymous pages.
pub const ANON: ObjectId = ObjectId(u32::MAX - 1);

/// Names an anonymous page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnonId(u32);

impl AnonId {
    /// As the key of a frame.
    pub fn key(self) -> PageKey {
        PageKey { object: ANON, page: PageIndex(u64::from(self.0)) }
    }

    /// The page that a frame's key names, if that is an anonymous one.
    pub fn of(key: PageKey) -> Option<AnonId> {
        (key.object == ANON).then_some(AnonId(key.page.0 as u32))
    }
}

/// One anonymous page: 12 bytes, because those that are in swap are many.
#[derive(Clone, Copy, Debug)]
pub struct AnonPage {
    /// At how many addresses it is meant; 0 once it is only on its way out.
    pub refs: u32,
    frame: u32,
    slot: u32,
}

/// In place of a frame, or of a slot.
const NONE: u32 = u32::MAX;

impl AnonPage {
    /// Zeros, meant at so many addresses.
    fn zeros(refs: u32) -> AnonPage {
        AnonPage { refs, frame: NONE, slot: NONE }
    }

    /// Its bytes in memory.
    pub fn frame(&self) -> Option<FrameNo> {
        (self.frame != NONE).then_some(FrameNo(self.frame))
    }

    /// Its bytes in swap; those in memory are newer if the frame is dirty.
    pub fn slot(&self) -> Option<SwapSlot> {
        (self.slot != NONE).then_some(SwapSlot(self.slot))
    }

    /// Its bytes are in memory, or not any more.
    pub fn set_frame(&mut self, frame: Option<FrameNo>) {
        self.frame = frame.map_or(NONE, |no| no.0);
    }

    /// Its bytes are in swap, or not any more.
    pub fn set_slot(&mut self, slot: Option<SwapSlot>) {
        self.slot = slot.map_or(NONE, |slot| slot.0);
    }
}

/// All anonymous pages.
#[derive(Default)]
pub struct AnonPages {
    pages: Vec<AnonPage>,
    free: Vec<AnonId>,
}

impl AnonPages {
    /// A page of zeros, with one reference.
    pub fn create(&mut self) -> AnonId {
        let id = self.free.pop().unwrap_or_else(|| {
            grow(&mut self.pages);
            self.pages.push(AnonPage::zeros(0));
            AnonId(self.pages.len() as u32 - 1)
        });
        self[id] = AnonPage::zeros(1);
        id
    }

    /// The page is no more; it has neither references nor a frame.
    pub fn remove(&mut self, id: AnonId) {
        debug_assert!(self[id].refs == 0 && self[id].frame().is_none(), "{:?}", self[id]);
        self[id] = AnonPage::zeros(0);
        grow(&mut self.free);
        self.free.push(id);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.pages.len() - self.free.len()
    }

    /// Every page that there is.
    pub fn iter(&self) -> impl Iterator<Item = (AnonId, &AnonPage)> {
        let ids = (0..).map(AnonId).zip(&self.pages);
        ids.filter(|(_, page)| page.refs > 0 || page.frame().is_some())
    }

    /// Bytes that the table takes.
    pub fn bookkeeping_bytes(&self) -> usize {
        self.pages.capacity() * size_of::<AnonPage>() + self.free.capacity() * size_of::<AnonId>()
    }
}

impl core::ops::Index<AnonId> for AnonPages {
    type Output = AnonPage;

    fn index(&self, id: AnonId) -> &AnonPage {
        &self.pages[id.0 as usize]
    }
}

impl core::ops::IndexMut<AnonId> for AnonPages {
    fn index_mut(&mut self, id: AnonId) -> &mut AnonPage {
        &mut self.pages[id.0 as usize]
    }
}

/// Room for one more, and an eighth: a table of millions is not to be twice as long as
/// it need be.
pub(crate) fn grow<T>(table: &mut Vec<T>) {
    if table.len() == table.capacity() {
        table.reserve_exact(table.len() / 8 + 16);
    }
}

/// The page numbers of a range of addresses.
pub fn numbers(range: VirtRange) -> core::ops::Range<u64> {
    range.start.0 >> PAGE_SHIFT..range.end.0 >> PAGE_SHIFT
}
