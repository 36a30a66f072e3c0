//! Advice, prefetch, and the passing of time.

use alloc::vec::Vec;

use faultless_addr::{FrameNo, ObjectId, PageRange, SpaceId, VirtRange};

use crate::Tick;
use crate::account::Payer;
use crate::anon::numbers;
use crate::engine::{Engine, Leave};
use crate::frame::State;
use crate::object::readahead::Pattern;
use crate::plan::Plan;
use crate::policy::{Departure, PageKey};
use crate::space::Sharing;

/// How long touching a page that could not be read stays an error before it is
/// tried again, in ticks.
const RETRY_TICKS: Tick = 1000;

impl Engine {
    /// The order in which an object will be accessed (`MADV_NORMAL`, `_RANDOM`,
    /// `_SEQUENTIAL`).
    pub fn advise(&mut self, object: ObjectId, pattern: Pattern) {
        self.object_mut(object).ahead.advise(pattern);
    }

    /// Begins to read the absent pages of a range, as far as free frames allow
    /// (`MADV_WILLNEED`). Returns the page where it stopped.
    pub fn prefetch(&mut self, object: ObjectId, pages: PageRange, plan: &mut Plan) -> PageRange {
        self.prefetch_for(None, object, pages, plan)
    }

    /// As [`prefetch`](Self::prefetch), on a space's account.
    pub fn prefetch_of(
        &mut self,
        space: SpaceId,
        object: ObjectId,
        pages: PageRange,
        plan: &mut Plan,
    ) -> PageRange {
        self.prefetch_for(self.accounts.payer(space), object, pages, plan)
    }

    fn prefetch_for(
        &mut self,
        payer: Payer,
        object: ObjectId,
        pages: PageRange,
        plan: &mut Plan,
    ) -> PageRange {
        let mut rest = pages.intersect(self.object(object).pages());
        self.reserve.note_batch(rest.len());
        while !rest.is_empty() {
            let key = PageKey { object, page: rest.start };
            let there = self.lookup(object, rest.start).is_some();
            if !there && self.read_ahead_page(key, payer, plan).is_none() {
                break;
            }
            rest.start = rest.start.next();
        }
        rest
    }

    /// Begins to bring back what has left a range of a space: pages in swap, and those of
    /// objects, as far as free frames allow (`MADV_WILLNEED`).
    pub fn will_need(&mut self, space: SpaceId, range: VirtRange, plan: &mut Plan) {
        let payer = self.accounts.payer(space);
        for piece in self.pieces(space, range) {
            if let (Some(object), Some(first)) = (piece.object(), piece.page_at(piece.range.start))
            {
                let pages = PageRange::from_len(first, piece.range.pages());
                self.prefetch_of(space, object, pages, plan);
            }
            if piece.sharing == Sharing::Private {
                let own = self.privates[space.index()].range(numbers(piece.range));
                let absent: Vec<_> =
                    own.filter(|(_, id)| self.anons[*id].frame().is_none()).collect();
                for (_, id) in absent.into_iter().take(self.spare_frames(payer) as usize) {
                    let Ok(no) = self.take_frame(id.key(), payer) else { return };
                    self.stats.pages_ahead += 1;
                    self.push_anon_read(id, no, plan);
                }
            }
        }
    }

    /// Clean pages of a range leave memory now (`MADV_DONTNEED` on a shared file
    /// mapping, but that the frames become free too). Dirty ones stay, and pinned ones.
    ///
    /// Answers a frame that has to settle first, at which `pages` begins then: come again.
    pub fn drop_clean(
        &mut self,
        object: ObjectId,
        pages: &mut PageRange,
        plan: &mut Plan,
    ) -> Option<FrameNo> {
        loop {
            let cache = &self.object(object).cache;
            let (page, no) = cache.first_in(*pages, &self.nodes, &self.frames)?;
            pages.start = page;
            self.recall(no);
            let frame = &mut self.frames[no];
            let stays = frame.is_pinned() || frame.is_dirty() || frame.state != State::Resident;
            if !stays && !frame.is_idle() {
                frame.waited = true;
                return Some(no);
            }
            pages.start = page.next();
            if stays {
                continue;
            }
            if frame.is_mapped() {
                self.begin_leave(no, Leave::Drop, plan);
            } else {
                self.forget(no, Departure::Dropped, plan);
            }
        }
    }

    /// Is the page in memory? (`mincore(2)`)
    pub fn is_resident(&self, key: PageKey) -> bool {
        let no = self.lookup(key.object, key.page);
        no.is_some_and(|no| self.frames[no].state == State::Resident)
    }

    /// It is now `now`. Pages that could not be read a while ago may be tried again.
    pub fn tick(&mut self, now: Tick, plan: &mut Plan) {
        self.now = now;
        self.heal_where(|mark, now| mark.age(now) >= RETRY_TICKS, plan);
    }
}
