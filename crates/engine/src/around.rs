//! Fault-around: pages in memory near one that is touched are shown together with it.
//!
//! Where a page is in memory but not at this address (another area shows it, or did), to show
//! it costs a fault and nothing else, and who touches it mostly touches its neighbours next.
//! So a load that finds its page shows the neighbours that are in memory, too, where they are
//! meant: those in one leaf of the page cache, which are 64 KiB, aligned.
//!
//! Left out are pages for which that would cost somebody something: what is busy; what would
//! have to leave another address first; a window's marker, which is to be touched; and what is
//! on trial, which would leave without anybody having had to touch it. Nor is it a touch; but a
//! page that was judged while no address showed it is not on trial, and counts as used when it
//! is shown here.
//!
//! Source: `do_fault_around` in Linux's mm/memory.c, and its `fault_around_bytes`, which is
//! 64 KiB, too.

use faultless_addr::{Access, FrameNo};

use crate::anon::ANON;
use crate::engine::{Addresses, Engine};
use crate::fault::Touch;
use crate::frame::{Kind, Site, State, Want};
use crate::mark::Marked;
use crate::object::cache::{FANOUT, Leaf};
use crate::plan::Plan;

impl Engine {
    /// Serves an access to an idle page, and shows what is around it if it has to be mapped for
    /// a load.
    pub(crate) fn serve_around(&mut self, no: FrameNo, touch: Touch, plan: &mut Plan) {
        let (site, want) = (touch.site, Want::of(touch.access));
        let Some(leaf) = self.leaf_to_show(no, touch) else {
            return self.serve(no, site, want, plan);
        };
        let place = self.frames[no].page.0 as usize % FANOUT;
        // In the order of addresses, so that one call maps them all.
        for (n, neighbour) in leaf.iter().enumerate() {
            let number = (site.number() + n as u64).checked_sub(place as u64);
            match (neighbour, number) {
                _ if n == place => self.serve(no, site, want, plan),
                (Some(neighbour), Some(number)) => {
                    self.show_around(*neighbour, Site::of_number(site.space(), number), plan);
                }
                _ => {}
            }
        }
    }

    /// The pages around one that is about to be mapped, if they are to be shown with it.
    fn leaf_to_show(&self, no: FrameNo, touch: Touch) -> Option<Leaf> {
        let (key, kind) = (self.frames[no].key(), self.frames[no].kind);
        // Around a page that was on trial are others that were taken away with it, or are there.
        let is_wanted = kind != Kind::OnTrial
            && touch.access != Access::Write
            && key.object != ANON
            && self.shown_at(no, touch.site).is_none()
            && self.is_for_all(touch.site)
            // It is about to be mapped, and neither taken from elsewhere first nor held up.
            && !self.is_elsewhere(no, touch.site)
            && !self.is_mark_changing(touch.site);
        is_wanted.then(|| self.object(key.object).cache.leaf(key.page, &self.nodes))
    }

    /// May a page be shown there without anybody who has to do without it? Where a private area
    /// has it alone, only who needs it gets it.
    fn is_for_all(&self, site: Site) -> bool {
        self.config.addresses == Addresses::Many || self.is_in_shared_area(site)
    }

    fn show_around(&mut self, no: FrameNo, site: Site, plan: &mut Plan) {
        let frame = &self.frames[no];
        let is_ready = frame.is_idle()
            && frame.state == State::Resident
            && frame.kind == Kind::Plain
            && !(frame.doomed || frame.leaving);
        if !is_ready
            || self.shown_at(no, site).is_some()
            || !self.is_for_all(site)
            || self.is_elsewhere(no, site)
            || self.marked_at(site.space(), site.at()) != Marked::No
        {
            return;
        }
        if let Some(stores) = self.stores_at(no, site) {
            self.stats.pages_around += 1;
            self.begin_map(no, site, stores, plan);
        }
    }
}
