//! Changes of a backing: its length set, a hole punched, its length looked at for certain.
//!
//! ```text
//!   begin_change ── writes under way end (writing_in) ── the backing is changed ──
//!       │           set_size or discard, and what that takes away has gone (gone_step)
//!       │                                                                  │
//!       └── no write of these pages begins, no look at the length counts ──┴─ end_change
//! ```
//!
//! A write that met a cut would make the file longer again, or bring back what a hole was
//! to take: no system has a write that keeps within an end that others set.

use faultless_addr::{FrameNo, ObjectId, PageRange, VirtRange};

use crate::engine::Engine;
use crate::plan::Plan;
use crate::space::Sharing;

/// Is an object's backing just being changed? Then one of its verbs waits for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InChange;

/// A look at a backing's length that has begun; later ones make it worthless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look(pub(crate) u32);

impl Engine {
    /// A user is about to change the backing of some pages. Until `end_change` no write of
    /// them begins; those under way are to be waited for, by [`writing_in`](Self::writing_in).
    pub fn begin_change(&mut self, id: ObjectId, pages: PageRange) -> Result<(), InChange> {
        let object = self.object_mut(id);
        if object.changing.is_some() {
            return Err(InChange);
        }
        object.changing = Some(pages);
        Ok(())
    }

    /// The change is over, whether it was made or not. Who waits for it, as for a free frame,
    /// goes on.
    pub fn end_change(&mut self, id: ObjectId, plan: &mut Plan) {
        let object = self.object_mut(id);
        object.changing.take().expect("a change was begun");
        object.look_over = object.look;
        plan.wakes.frames = true;
    }

    /// May no write of this page begin?
    pub(crate) fn is_held(&self, no: FrameNo) -> bool {
        let frame = &self.frames[no];
        let object = self.objects.get(frame.object.index()).and_then(Option::as_deref);
        object.is_some_and(|object| object.holds(frame.page))
    }

    /// Somebody is about to ask the backing for its length; what it hears, it tells to
    /// [`size_seen`](Self::size_seen).
    pub fn begin_look(&mut self, id: ObjectId) -> Look {
        let object = self.object_mut(id);
        object.look = object.look.wrapping_add(1);
        Look(object.look)
    }

    /// Does what is seen by this look still count? None that is older does from now on.
    pub(crate) fn end_look(&mut self, id: ObjectId, look: Look) -> bool {
        let object = self.object_mut(id);
        let is_newer = look.0.wrapping_sub(object.look_over).cast_signed() > 0;
        if object.changing.is_some() || !is_newer {
            return false;
        }
        object.look_over = look.0;
        true
    }

    /// Goes on with what `set_size` or `discard` began: answers a frame that has to settle
    /// first, or `None` when no page of the range is there any more, but those that pins hold.
    pub fn gone_step(
        &mut self,
        id: ObjectId,
        pages: PageRange,
        plan: &mut Plan,
    ) -> Option<FrameNo> {
        let (mut rest, mut wait) = (pages, None);
        // Mostly there is none, of as many pages as there are.
        while self.object(id).doomed > 0 {
            let cache = &self.object(id).cache;
            let Some((page, no)) = cache.first_in(rest, &self.nodes, &self.frames) else { break };
            rest.start = page.next();
            let frame = &mut self.frames[no];
            if frame.doomed && !frame.is_pinned() && !frame.is_idle() {
                frame.waited = true;
                wait = wait.or(Some(no));
            }
        }
        let windows = self.object(id).windows.windows().iter();
        let private = windows.filter(|window| window.sharing == Sharing::Private);
        let cut = private.filter_map(|window| {
            let cut = window.pages.intersect(pages);
            let at = window.addr_of(cut.start).filter(|_| !cut.is_empty())?;
            Some((window.space, VirtRange::new(at, at.plus_pages(cut.len()))))
        });
        let cut: alloc::vec::Vec<_> = cut.collect();
        for (space, range) in cut {
            wait = wait.or(self.clear_step(space, range, plan));
        }
        wait
    }
}
