//! Translations that a machine has moved by itself: mremap(2) of a program that the engine
//! serves from outside.
//!
//! By the time the engine hears of it, the program may have stored at the new addresses, of
//! which the engine knew nothing: it may have begun to write such a page, and have stopped
//! stores only where the page was before. So stores stop at the new addresses first, and
//! what has become clean since the move counts as dirty again.

use faultless_addr::{FrameNo, PageRange, SpaceId, VirtAddr, VirtRange};

use crate::engine::Engine;
use crate::frame::Site;
use crate::object::Rights;
use crate::plan::{Op, Plan};

use crate::Tick;

/// Milliseconds that may pass between a move and its report.
const LATE: Tick = 10_000;

impl Engine {
    /// What was shown at `from` is shown from `to` on now. To be carried out and called
    /// again until it answers `None`; then `from` is to be unmapped. Answers a frame that
    /// has to settle first.
    pub fn moved_step(
        &mut self,
        space: SpaceId,
        from: VirtRange,
        to: VirtAddr,
        plan: &mut Plan,
    ) -> Option<FrameNo> {
        let mut wait = None;
        for (at, no) in self.shown_in(space, from) {
            self.frames[no].waited = true;
            if !self.frames[no].is_idle() {
                wait = wait.or(Some(no));
                continue;
            }
            self.frames[no].waited = false;
            let new = VirtAddr(to.0 + (at.0 - from.start.0));
            plan.ops.push(Op::Protect { space, at: new });
            let key = self.frames[no].key();
            let may_change = self.object(key.object).options.rights == Rights::ReadWrite;
            let since = self.now.wrapping_sub(self.frames[no].dirty_since);
            if may_change && since < LATE {
                self.set_dirty(no);
            }
        }
        wait
    }

    /// The pages of objects that are shown in a range, and where.
    fn shown_in(&self, space: SpaceId, range: VirtRange) -> alloc::vec::Vec<(VirtAddr, FrameNo)> {
        let mut found = alloc::vec::Vec::new();
        for piece in self.pieces(space, range) {
            let Some((object, first)) = piece.object().zip(piece.page_at(piece.range.start)) else {
                continue;
            };
            let mut rest = PageRange::from_len(first, piece.range.pages());
            let cache = &self.object(object).cache;
            while let Some((page, no)) = cache.first_in(rest, &self.nodes, &self.frames) {
                rest.start = page.next();
                let at = piece.addr_of(page).expect("a page of the piece");
                if self.shown_at(no, Site::new(space, at)).is_some() {
                    found.push((at, no));
                }
            }
        }
        found
    }
}
