//! How much of a range is in memory, and in swap (proc_pid_smaps(5)).
//!
//! ```text
//!   what is meant at an address     in memory if               shared if
//!   an anonymous page               it has a frame             it is meant at others, too
//!   an object's page                it is shown there,         it is shown at others, too
//!                                   or was, and is kept since
//! ```
//!
//! Linux counts what page tables show. Here a page may be kept for its next touch without
//! being shown: it takes memory all the same, so it counts, but not as referenced.

use faultless_addr::{FrameNo, PAGE_BYTES, PageRange, SpaceId, VirtRange};

use crate::anon::numbers;
use crate::engine::Engine;
use crate::frame::{Shown, Site, State};
use crate::space::{Usage, Vma};

impl Engine {
    /// What of a range is in memory and in swap, whatever areas it has.
    pub fn usage(&self, space: SpaceId, range: VirtRange) -> Usage {
        let mut usage = Usage::default();
        for area in self.spaces[space.index()].overlapping(range) {
            let range = area.range.intersect(range);
            self.count_own(space, range, &mut usage);
            self.count_object(space, area, range, &mut usage);
        }
        usage
    }

    /// The space's own pages.
    fn count_own(&self, space: SpaceId, range: VirtRange, usage: &mut Usage) {
        for (number, id) in self.privates[space.index()].range(numbers(range)) {
            let page = &self.anons[id];
            let users = u64::from(page.refs);
            match page.frame() {
                Some(no) if self.frames[no].state == State::Resident => {
                    usage.anonymous += 1;
                    self.count(no, Site::of_number(space, number), users, usage);
                }
                // On its way from there.
                _ if page.slot().is_some() => {
                    usage.swap += 1;
                    usage.proportional_swap_bytes += PAGE_BYTES / users.max(1);
                }
                _ => {}
            }
        }
    }

    /// Pages of the object that an area shows where the space has none of its own.
    fn count_object(&self, space: SpaceId, area: &Vma, range: VirtRange, usage: &mut Usage) {
        let (Some(object), Some(first)) = (area.object(), area.page_at(range.start)) else {
            return;
        };
        let object = self.object(object);
        let mut pages = PageRange::from_len(first, range.pages());
        while let Some((page, no)) = object.cache.first_in(pages, &self.nodes, &self.frames) {
            pages.start = page.next();
            let Some(at) = area.addr_of(page) else { continue };
            let site = Site::new(space, at);
            let frame = &self.frames[no];
            let kept = frame.shown == Shown::Nowhere && frame.site == site;
            let here = kept || self.shown_at(no, site).is_some();
            if frame.state == State::Resident && here && self.anon_at(site).is_none() {
                let users = self.translations.of(&self.frames, no).count() as u64;
                self.count(no, site, users, usage);
            }
        }
    }

    /// One page that is in memory, and so many use.
    fn count(&self, no: FrameNo, site: Site, users: u64, usage: &mut Usage) {
        let dirty = self.frames[no].is_dirty();
        let count = match (users > 1, dirty) {
            (true, true) => &mut usage.shared_dirty,
            (true, false) => &mut usage.shared_clean,
            (false, true) => &mut usage.private_dirty,
            (false, false) => &mut usage.private_clean,
        };
        *count += 1;
        let bytes = PAGE_BYTES / users.max(1);
        usage.proportional_bytes += bytes;
        usage.proportional_dirty_bytes += if dirty { bytes } else { 0 };
        usage.referenced += u64::from(self.shown_at(no, site).is_some());
    }
}
