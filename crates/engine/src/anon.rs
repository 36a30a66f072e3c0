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

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::RangeBounds;

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

/// One anonymous page.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnonPage {
    /// At how many addresses it is meant; 0 once it is only on its way out.
    pub refs: u32,
    /// Its bytes in memory.
    pub frame: Option<FrameNo>,
    /// Its bytes in swap; those in memory are newer if the frame is dirty.
    pub slot: Option<SwapSlot>,
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
            self.pages.push(AnonPage::default());
            AnonId(self.pages.len() as u32 - 1)
        });
        self[id] = AnonPage { refs: 1, ..AnonPage::default() };
        id
    }

    /// The page is no more; it has neither references nor a frame.
    pub fn remove(&mut self, id: AnonId) {
        debug_assert!(self[id].refs == 0 && self[id].frame.is_none(), "{:?}", self[id]);
        self[id] = AnonPage::default();
        self.free.push(id);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.pages.len() - self.free.len()
    }

    /// Every page that there is.
    pub fn iter(&self) -> impl Iterator<Item = (AnonId, &AnonPage)> {
        let ids = (0..).map(AnonId).zip(&self.pages);
        ids.filter(|(_, page)| page.refs > 0 || page.frame.is_some())
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

/// The anonymous pages of one space, by page number of their address.
#[derive(Clone, Default)]
pub struct AnonMap {
    pages: BTreeMap<u64, AnonId>,
}

impl AnonMap {
    /// The page at a page number.
    pub fn get(&self, number: u64) -> Option<AnonId> {
        self.pages.get(&number).copied()
    }

    /// Puts a page at a page number; answers what was there.
    pub fn insert(&mut self, number: u64, id: AnonId) -> Option<AnonId> {
        self.pages.insert(number, id)
    }

    /// Takes the page at a page number out.
    pub fn remove(&mut self, number: u64) -> Option<AnonId> {
        self.pages.remove(&number)
    }

    /// The first page whose number is in `numbers`.
    pub fn first(&self, numbers: impl RangeBounds<u64>) -> Option<(u64, AnonId)> {
        self.pages.range(numbers).next().map(|(number, id)| (*number, *id))
    }

    /// Those whose number is in `numbers`, in order.
    pub fn range(&self, numbers: core::ops::Range<u64>) -> impl Iterator<Item = (u64, AnonId)> {
        self.pages.range(numbers).map(|(number, id)| (*number, *id))
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, AnonId)> {
        self.pages.iter().map(|(number, id)| (*number, *id))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Bytes that the map takes, about.
    pub fn bookkeeping_bytes(&self) -> usize {
        // A node of a B-tree is two thirds full in the long run.
        self.pages.len() * size_of::<(u64, AnonId)>() * 3 / 2
    }
}

/// The page numbers of a range of addresses.
pub fn numbers(range: VirtRange) -> core::ops::Range<u64> {
    range.start.0 >> PAGE_SHIFT..range.end.0 >> PAGE_SHIFT
}
