//! Devices: objects whose pages are frames that a driver lends.
//!
//! ```text
//!   frames    0 … budget - 1                budget … budget + device_frames - 1
//!             the engine's: taken, read,    the devices': lent once, page by page,
//!             reclaimed, given back         never read, reclaimed or written back
//! ```
//!
//! A lent frame is found in its object's page cache, so all else is as with any page: it is
//! shown at many addresses, and munmap, mprotect and the end of a process take it away
//! from theirs; a private store copies it to a frame of the budget. A driver either lends
//! all pages of an area when it is mapped, and has them shown at once
//! ([`show_device`](Engine::show_device), Linux's `remap_pfn_range`), or each when it is
//! touched (its `fault`, once called `nopage`). No policy knows of these frames, nothing
//! counts them as used, and no store makes them dirty.

use faultless_addr::{FrameNo, ObjectId, PageIndex, PageRange, SpaceId, VirtRange};

use crate::engine::Engine;
use crate::frame::Site;
use crate::object::Backing;
use crate::plan::Plan;

/// Why a frame is not lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LendError {
    /// It is not one of the devices' frames.
    #[error("{0:?} is no device's frame")]
    NotDevice(FrameNo),
    /// It holds another page already.
    #[error("{0:?} is lent as another page")]
    Lent(FrameNo),
    /// Another frame is lent as this page.
    #[error("{0:?} is another frame already")]
    Taken(PageIndex),
    /// The object has no such page.
    #[error("{0:?} is beyond the device")]
    Beyond(PageIndex),
}

impl Engine {
    /// From now on `frame`, which holds a device's bytes, is this page of the device's
    /// object. Saying so again changes nothing.
    pub fn lend(
        &mut self,
        object: ObjectId,
        page: PageIndex,
        frame: FrameNo,
    ) -> Result<(), LendError> {
        assert_eq!(self.object(object).options.backing, Backing::Device, "{object:?} is no device");
        if !self.frames.of_devices().contains(&frame.0) {
            return Err(LendError::NotDevice(frame));
        }
        if !self.object(object).pages().contains(page) {
            return Err(LendError::Beyond(page));
        }
        match self.lookup(object, page) {
            Some(there) if there == frame => return Ok(()),
            Some(_) => return Err(LendError::Taken(page)),
            None if self.frames[frame].has_page() => return Err(LendError::Lent(frame)),
            None => {}
        }
        self.frames[frame].object = object;
        self.frames[frame].page = page;
        let object = self.objects[object.index()].as_deref_mut().expect("the object exists");
        object.cache.insert(page, frame, &mut self.nodes, &self.frames);
        object.resident += 1;
        Ok(())
    }

    /// The first page of a range of a device's object that is not lent yet.
    pub fn not_lent(&self, object: ObjectId, pages: PageRange) -> Option<PageIndex> {
        pages.iter().find(|page| self.lookup(object, *page).is_none())
    }

    /// Shows the lent pages of a range of areas at once, with the rights that their areas
    /// have: later accesses are no faults.
    pub fn show_device(&mut self, space: SpaceId, range: VirtRange, plan: &mut Plan) {
        for piece in self.pieces(space, range) {
            let Some(object) = piece.object() else { continue };
            for n in 0..piece.range.pages() {
                let site = Site::new(space, piece.range.start.plus_pages(n));
                let page = piece.page_at(site.at());
                let Some(no) = page.and_then(|page| self.lookup(object, page)) else { continue };
                if self.frames[no].is_idle()
                    && self.shown_at(no, site).is_none()
                    && let Some(stores) = self.stores_at(no, site)
                {
                    self.begin_map(no, site, stores, plan);
                }
            }
        }
    }
}
