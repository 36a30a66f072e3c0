//! Looking at an engine: for checkers, and for people.

use faultless_addr::{FrameNo, SpaceId, VirtAddr};

use crate::engine::{Engine, References};
use crate::frame::{Frame, State};

impl Engine {
    /// Every frame with its number.
    pub fn frames(&self) -> impl Iterator<Item = (FrameNo, &Frame)> {
        self.frames.iter()
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

    /// Does a frame hold a page's bytes, with nothing being done to it?
    pub fn is_settled(&self, no: FrameNo) -> bool {
        self.frames[no].state == State::Resident && self.frames[no].is_idle()
    }
}
