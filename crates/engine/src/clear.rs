//! Taking pages away from addresses: what `munmap`, `mprotect`, `MADV_DONTNEED` and
//! the end of a process have in common.
//!
//! The areas change first, so that nothing new is shown by the old rules. Then each
//! page that is still there is made to leave. Until it has, its address is *closing*:
//! a fault there waits, so that two pages are never at one address.

use faultless_addr::{FrameNo, ObjectId, PageRange, Prot, SpaceId, VirtRange};

use crate::anon::{AnonId, numbers};
use crate::engine::{Engine, Leave};
use crate::frame::{Busy, Site};
use crate::plan::Plan;
use crate::space::{MapError, ProtectError, Sharing, UnmapError, Vma};
use alloc::vec::Vec;

impl Engine {
    /// Addresses mean nothing any more (munmap(2)). To be followed by
    /// [`clear_step`](Self::clear_step) until nothing is left.
    pub fn unmap(
        &mut self,
        space: SpaceId,
        range: VirtRange,
        plan: &mut Plan,
    ) -> Result<(), UnmapError> {
        let mut pieces = Vec::new();
        self.spaces[space.index()].unmap(range, &mut pieces)?;
        self.clear_pieces(space, &pieces, plan);
        Ok(())
    }

    /// Addresses mean nothing any more, but nobody is given them yet: as long as a page is
    /// still there, whoever gets them could use it without a fault, and lose what is
    /// stored. To be followed by [`clear_step`](Self::clear_step), and then by
    /// [`unmap`](Self::unmap), which has no page to take away any more.
    ///
    /// For drivers of which one thread maps while another one unmaps.
    pub fn retire(
        &mut self,
        space: SpaceId,
        range: VirtRange,
        plan: &mut Plan,
    ) -> Result<(), MapError> {
        let mut pieces = Vec::new();
        self.spaces[space.index()].retire(range, &mut pieces)?;
        self.clear_pieces(space, &pieces, plan);
        Ok(())
    }

    /// Nothing is left in the space, seals or not: its program has ended. To be followed
    /// by [`clear_step`](Self::clear_step).
    pub fn unmap_all(&mut self, space: SpaceId, plan: &mut Plan) {
        let mut pieces = Vec::new();
        self.spaces[space.index()].unmap_all(&mut pieces);
        self.clear_pieces(space, &pieces, plan);
    }

    /// The pages of pieces that are in no area any more go, too.
    pub(crate) fn clear_pieces(&mut self, space: SpaceId, pieces: &[Vma], plan: &mut Plan) {
        for piece in pieces {
            self.heal_range(space, piece.range, plan);
            self.close_for_good(space, piece, plan);
            if let Some(object) = piece.object() {
                self.object_mut(object).windows.remove(space, piece.range);
            }
        }
    }

    /// The rights of addresses change (mprotect(2)). To be followed by
    /// [`clear_step`](Self::clear_step), also after an error.
    pub fn protect(
        &mut self,
        space: SpaceId,
        range: VirtRange,
        prot: Prot,
        plan: &mut Plan,
    ) -> Result<(), ProtectError> {
        let result = self.spaces[space.index()].protect(range, prot);
        let pieces = self.pieces(space, range);
        for piece in pieces.iter().filter(|piece| piece.prot == prot) {
            let too_much = |writable| prot.is_empty() || (writable && !prot.contains(Prot::WRITE));
            self.close(space, piece, too_much, plan);
        }
        result
    }

    /// What the program has stored in private memory is forgotten: the next access sees
    /// zeros or the object again (`MADV_DONTNEED`). Shared pages only leave their
    /// addresses. To be followed by [`clear_step`](Self::clear_step).
    pub fn dont_need(&mut self, space: SpaceId, range: VirtRange, plan: &mut Plan) {
        self.heal_range(space, range, plan);
        for piece in self.pieces(space, range) {
            self.close_for_good(space, &piece, plan);
        }
    }

    /// Objects' pages that are shown in a range leave all their addresses: for machines where
    /// a page that leaves one leaves all, and stores at the others are to be stopped before.
    /// Answers a frame that has to settle first, or `None` when none is there.
    pub fn vacate_step(
        &mut self,
        space: SpaceId,
        range: VirtRange,
        plan: &mut Plan,
    ) -> Option<FrameNo> {
        let is_there = |no: &FrameNo| {
            let mut shown = self.translations.of(&self.frames, *no);
            let is_objects = AnonId::of(self.frames[*no].key()).is_none();
            is_objects && shown.any(|it| it.space() == space && range.contains(it.at()))
        };
        let frames = (0..self.frames.count()).map(FrameNo);
        let mut there: Vec<FrameNo> = frames.filter(is_there).collect();
        // And what is about to be shown.
        for piece in self.pieces(space, range) {
            let coming = self.sites_to_close(space, &piece, |_| false);
            let is_coming = |no: &FrameNo| {
                let frame = &self.frames[*no];
                AnonId::of(frame.key()).is_none() && frame.busy == Busy::Mapping
            };
            there.extend(coming.into_iter().map(|(_, no)| no).filter(is_coming));
        }
        for no in &there {
            self.recall(*no);
            self.frames[*no].waited = true;
            if self.frames[*no].is_idle() && !self.frames[*no].is_pinned() {
                self.begin_leave(*no, Leave::Keep, plan);
            }
        }
        there.first().copied()
    }

    /// Every page of a piece leaves, and the space's own are no more.
    fn close_for_good(&mut self, space: SpaceId, piece: &Vma, plan: &mut Plan) {
        let sites = self.sites_to_close(space, piece, |_| true);
        for (site, no) in sites {
            self.closing.insert((site, no));
            if !self.frames[no].is_idle() {
                continue;
            }
            // Nobody will see the bytes again: there is no need to keep them on the way.
            match self.is_sole(self.frames[no].key()) && self.shown_at(no, site).is_some() {
                true => self.begin_leave(no, Leave::Drop, plan),
                false => self.begin_leave_at(no, site, plan),
            }
        }
        self.forget_private(space, piece.range, plan);
    }

    /// The parts of areas in a range.
    pub(crate) fn pieces(&self, space: SpaceId, range: VirtRange) -> Vec<Vma> {
        let areas = self.spaces[space.index()].overlapping(range);
        areas.map(|area| area.part(area.range.intersect(range))).collect()
    }

    /// The pages of a piece whose translation is `wrong` (told whether stores pass) begin
    /// to leave, and so will those that are being mapped.
    pub(crate) fn close(
        &mut self,
        space: SpaceId,
        piece: &Vma,
        wrong: impl Fn(bool) -> bool,
        plan: &mut Plan,
    ) {
        for (site, no) in self.sites_to_close(space, piece, wrong) {
            self.closing.insert((site, no));
            if self.frames[no].is_idle() {
                self.begin_leave_at(no, site, plan);
            }
        }
    }

    fn sites_to_close(
        &self,
        space: SpaceId,
        piece: &Vma,
        wrong: impl Fn(bool) -> bool,
    ) -> Vec<(Site, FrameNo)> {
        let mut sites = Vec::new();
        let mut look = |engine: &Engine, no: FrameNo, site: Site| {
            let coming = engine.may_be_writable(no);
            let here = engine.shown_at(no, site).is_some_and(|it| wrong(it.writable));
            if here || coming {
                sites.push((site, no));
            }
        };
        if piece.sharing == Sharing::Private {
            let map = &self.privates[space.index()];
            for (number, id) in map.range(numbers(piece.range)) {
                if let Some(no) = self.anons[id].frame() {
                    look(self, no, Site::of_number(space, number));
                }
            }
        }
        if let (Some(object), Some(first)) = (piece.object(), piece.page_at(piece.range.start)) {
            let mut rest = PageRange::from_len(first, piece.range.pages());
            let cache = &self.object(object).cache;
            while let Some((page, no)) = cache.first_in(rest, &self.nodes, &self.frames) {
                rest.start = page.next();
                let at = piece.addr_of(page).expect("a page of the piece");
                look(self, no, Site::new(space, at));
            }
        }
        sites
    }

    /// Is something being done with the frame in whose course stores to it may pass, here or
    /// elsewhere? It may be about to be shown or granted; or it is being written, and the
    /// driver has not stopped stores yet.
    pub(crate) fn may_be_writable(&self, no: FrameNo) -> bool {
        matches!(self.frames[no].busy, Busy::Mapping | Busy::Granting | Busy::Writing)
    }

    /// Is a page at `site` that is not meant there any more? Then it is its time to leave.
    pub(crate) fn still_closing(&mut self, site: Site, plan: &mut Plan) -> Option<FrameNo> {
        while let Some(no) = self.closing_at(site) {
            if !self.frames[no].is_idle() {
                return Some(no);
            }
            if self.shown_at(no, site).is_some() {
                self.begin_leave_at(no, site, plan);
                return Some(no);
            }
            self.closing.remove(&(site, no));
        }
        None
    }

    /// A page that is at `site`, or may be, and is not meant there any more.
    pub(crate) fn closing_at(&self, site: Site) -> Option<FrameNo> {
        let all = (site, FrameNo(0))..=(site, FrameNo(u32::MAX));
        self.closing.range(all).next().map(|(_, no)| *no)
    }

    /// The private pages of an object's windows that show `pages` are no more, because
    /// the object has become shorter, or has other pages there.
    pub fn forget_copies(&mut self, id: ObjectId, pages: PageRange, plan: &mut Plan) {
        let windows = self.object(id).windows.windows();
        let private = windows.iter().filter(|it| it.sharing == Sharing::Private).copied();
        let windows: Vec<_> = private.collect();
        for window in windows {
            let cut = window.pages.intersect(pages);
            let Some(at) = window.addr_of(cut.start).filter(|_| !cut.is_empty()) else { continue };
            let range = VirtRange::new(at, at.plus_pages(cut.len()));
            for piece in self.pieces(window.space, range) {
                self.close_for_good(window.space, &piece, plan);
            }
        }
    }

    /// The space's own pages of a range are no more.
    fn forget_private(&mut self, space: SpaceId, range: VirtRange, plan: &mut Plan) {
        while let Some((number, id)) = self.privates[space.index()].first(numbers(range)) {
            self.privates[space.index()].remove(number);
            self.drop_reference(id, plan);
        }
    }

    /// Goes on with what [`unmap`](Self::unmap), [`protect`](Self::protect) or
    /// [`dont_need`](Self::dont_need) began. Answers a frame that has to settle first, or
    /// `None` when every page has left.
    pub fn clear_step(
        &mut self,
        space: SpaceId,
        range: VirtRange,
        plan: &mut Plan,
    ) -> Option<FrameNo> {
        let (from, to) = (Site::new(space, range.start), Site::new(space, range.end));
        let all = (from, FrameNo(0))..(to, FrameNo(0));
        let closing: Vec<_> = self.closing.range(all).map(|(site, _)| *site).collect();
        let mut wait = None;
        for site in closing {
            if let Some(no) = self.still_closing(site, plan) {
                self.frames[no].waited = true;
                wait = wait.or(Some(no));
            }
        }
        wait
    }
}
