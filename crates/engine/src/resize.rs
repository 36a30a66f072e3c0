//! Objects that change their length, and pages that stop being what they were.
//!
//! ```text
//!   a user's cut    between begin_change and end_change (`change`): set_size(User)
//!   others' cut     size_seen: pages that were dirty are lost, which is an error to be told
//! ```

use faultless_addr::{ByteRange, ObjectId, PAGE_BYTES, PageIndex, PageRange};

use crate::canary::Canary;
use crate::change::Look;
use crate::engine::Engine;
use crate::fault::EIO;
use crate::frame::Kind;
use crate::object::{Failure, KeptError};
use crate::plan::Plan;

/// Who changed an object's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizedBy {
    /// Its own user, who knows.
    User,
    /// Somebody else: dirty pages lost to it are an error to be told.
    Others,
}

impl Engine {
    /// The backing's size was seen: is it another than what is known?
    pub fn size_seen(&mut self, id: ObjectId, look: Look, size: u64, plan: &mut Plan) {
        if self.end_look(id, look) && !self.is_told_later(id, size) {
            self.set_size(id, size.min(self.reach(id)), ResizedBy::Others, plan);
        }
    }

    /// Has others' growth to wait until the page that holds the end has been written, up to
    /// the end? What they have put behind it would be lost.
    pub fn is_told_later(&self, id: ObjectId, size: u64) -> bool {
        size > self.size(id) && self.is_tail_dirty(id)
    }

    /// The object is now `size` bytes long. Pages beyond the end go, those that stood for what
    /// is there now, and the page that holds the old or the new end, because what lies behind
    /// the end must read as zeros once there is something there again.
    ///
    /// Where that page is dirty, it stays until it is written: a user flushes it before, and
    /// what has been stored since then is not to be lost.
    pub fn set_size(&mut self, id: ObjectId, size: u64, by: ResizedBy, plan: &mut Plan) {
        let old = self.object(id).options.size;
        if old == size {
            return;
        }
        self.object_mut(id).options.size = size;
        let beyond = ByteRange::new(0, size).pages().end;
        let all = PageRange::new(beyond, PageRange::all().end);
        if by == ResizedBy::Others && size < old {
            self.keep_lost(id, all);
        }
        if self.has(Canary::StaleAfterTruncate) {
            return;
        }
        // Where zeros stand for what wasn't there, bytes may be now.
        let stood_in = ByteRange::new(0, old).pages().end;
        self.discard(id, PageRange::new(beyond.min(stood_in), all.end), plan);
        self.forget_copies(id, all, plan);
        for end in [old, size] {
            let page = PageIndex::containing(end);
            let partial = !end.is_multiple_of(PAGE_BYTES);
            match self.lookup(id, page) {
                Some(no) if partial && !self.frames[no].is_dirty() => {
                    self.discard(id, PageRange::from_len(page, 1), plan);
                }
                Some(no) if partial && end < old => {
                    self.recall(no);
                    self.frames[no].kind = Kind::Torn;
                }
                _ => {}
            }
        }
        self.heal_object(id, plan);
    }

    /// Is the page that holds the end dirty?
    fn is_tail_dirty(&self, id: ObjectId) -> bool {
        let end = self.object(id).options.size;
        let tail = self.lookup(id, PageIndex::containing(end));
        tail.is_some_and(|no| self.frames[no].is_dirty())
    }

    /// Dirty pages are about to be lost: that is an error to be told.
    fn keep_lost(&mut self, id: ObjectId, pages: PageRange) {
        let cache = &self.object(id).cache;
        if let Some((page, _)) = cache.first_dirty_in(pages, &self.nodes, &self.frames) {
            let error = KeptError { failure: Failure::Shrunk, page, errno: EIO };
            self.object_mut(id).keep_error(error);
        }
    }

    /// The pages of a range are no more: their frames come back as soon as nothing
    /// is being done with them and no pin holds them.
    pub fn discard(&mut self, id: ObjectId, pages: PageRange, plan: &mut Plan) {
        let mut rest = pages;
        loop {
            let cache = &self.object(id).cache;
            let Some((page, no)) = cache.first_in(rest, &self.nodes, &self.frames) else { return };
            rest.start = page.next();
            self.doom(no);
            self.settle(no, plan);
        }
    }

    /// Is a page of the range pinned?
    pub fn first_pinned(&mut self, id: ObjectId, pages: PageRange) -> Option<PageIndex> {
        let mut rest = pages;
        loop {
            let cache = &self.object(id).cache;
            let (page, no) = cache.first_in(rest, &self.nodes, &self.frames)?;
            self.recall(no);
            if self.frames[no].is_pinned() {
                return Some(page);
            }
            rest.start = page.next();
        }
    }

    /// Addresses of the object that were made errors may be tried again.
    pub fn heal_object(&mut self, id: ObjectId, plan: &mut Plan) {
        self.heal_where(|mark, _| mark.object == id, plan);
    }
}
