//! Looking at an engine: for checkers, and for people.

use alloc::vec::Vec;

use faultless_addr::{FrameNo, ObjectId, PageIndex, SpaceId, VirtAddr};

use crate::anon::AnonPage;
use crate::engine::{Engine, References};
use crate::frame::{Frame, Site, State};
use crate::object::reverse::Window;
use crate::space::Sharing;

/// Where the bytes of a page are (mincore(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residency {
    /// In a frame.
    Memory,
    /// In swap, or they are zeros that nobody has a frame for.
    Swap,
}

impl Engine {
    /// Every frame with its number.
    pub fn frames(&self) -> impl Iterator<Item = (FrameNo, &Frame)> {
        self.frames.iter()
    }

    /// The frame of the space's own page at an address, if it has one there, in memory.
    pub fn own_frame(&self, space: SpaceId, at: VirtAddr) -> Option<FrameNo> {
        let id = self.anon_at(Site::new(space, at.page_start()))?;
        self.anons[id].frame()
    }

    /// One frame.
    pub fn frame(&self, no: FrameNo) -> &Frame {
        &self.frames[no]
    }

    /// Where a frame is shown, and whether stores pass there.
    pub fn addresses_of(
        &self,
        no: FrameNo,
    ) -> impl Iterator<Item = (SpaceId, VirtAddr, bool)> + '_ {
        let shown = self.translations.of(&self.frames, no);
        shown.map(|it| (it.space(), it.at(), it.writable))
    }

    /// How the machine shows that pages are used.
    pub fn references(&self) -> References {
        self.config.references
    }

    /// Anonymous pages that there are.
    pub fn anonymous_pages(&self) -> usize {
        self.anons.count()
    }

    /// The policy's lists by name, each with its frames: those that leave first are first.
    pub fn lists(&self) -> Vec<(&'static str, Vec<FrameNo>)> {
        self.policy.lists()
    }

    /// The space's own pages (those that a store to private memory made, and zeros) by
    /// address, each with its frame and its slot of swap.
    pub fn own_pages(&self, space: SpaceId) -> impl Iterator<Item = (VirtAddr, &AnonPage)> {
        let pages = self.privates[space.index()].iter();
        pages.map(move |(number, id)| (Site::of_number(space, number).at(), &self.anons[id]))
    }

    /// The reverse map of an object: which of its pages are meant at which addresses.
    pub fn windows(&self, object: ObjectId) -> &[Window] {
        self.object(object).windows.windows()
    }

    /// Is what is meant at an address in memory? `None`: nothing has been meant there yet.
    pub fn residency(&self, space: SpaceId, at: VirtAddr) -> Option<Residency> {
        let site = Site::new(space, at.page_start());
        let area = self.spaces[space.index()].find(at)?;
        if let Some(id) = self.anon_at(site).filter(|_| area.sharing == Sharing::Private) {
            let frame = self.anons[id].frame();
            return Some(if frame.is_some() { Residency::Memory } else { Residency::Swap });
        }
        let no = self.lookup(area.object()?, area.page_at(site.at())?);
        no.map(|_| Residency::Memory)
    }

    /// How many of an object's pages are not in memory.
    pub fn absent(&self, object: ObjectId, pages: &[PageIndex]) -> usize {
        pages.iter().filter(|page| self.lookup(object, **page).is_none()).count()
    }

    /// Are the bytes that are meant at an address in a frame, all of them?
    pub fn is_in_memory(&self, space: SpaceId, at: VirtAddr) -> bool {
        let no = self.meant_at(Site::new(space, at.page_start()));
        no.is_some_and(|no| self.frames[no].state == State::Resident)
    }

    /// Is a page of the space's own meant at an address, in place of an object's or zeros?
    pub fn has_own_page(&self, space: SpaceId, at: VirtAddr) -> bool {
        self.anon_at(Site::new(space, at.page_start())).is_some()
    }

    /// Does a frame hold a page's bytes, with nothing being done to it?
    pub fn is_settled(&self, no: FrameNo) -> bool {
        self.frames[no].state == State::Resident && self.frames[no].is_idle()
    }
}
