//! Marks: addresses at which touching is an error, because a page could not be had.
//!
//! A machine keeps them, the engine lists them. A driver sets and heals them with no lock
//! held, so a mark is *changing* from the decision to the report.
//!
//! ```text
//!              will_mark                    marked
//!        ┌────────────────► being set ──────────────────► set
//!        │                                                 │  tick, set_size: may be tried
//!     no mark            poisoned (a failed frame's)       │  again, if no page is there;
//!        ▲ └───────────────────────────────────────────────┤  begin_map: before the page
//!        │                                                 ▼
//!        └───────────────────────────────────────── being healed
//!                            healed
//! ```
//!
//! While the mark at its address is changing, no page is begun to be mapped: a mark that
//! comes late would stay over it, and what heals one drops whatever is there. Who wants
//! the page waits, and the report settles it. (Healed by the plan that maps the page, the
//! mark goes first, as all of a plan is done in order.)

use faultless_addr::{FrameNo, ObjectId, PageIndex, SpaceId, VirtAddr, VirtRange};

use crate::Tick;
use crate::engine::Engine;
use crate::frame::{Busy, State};
use crate::plan::{Op, Plan};
use crate::policy::PageKey;
use crate::space::Backing;

/// A mark, at one page's address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    space: SpaceId,
    at: VirtAddr,
    pub object: ObjectId,
    page: PageIndex,
    since: Tick,
    /// Drivers that have been told to set or heal it and haven't reported.
    changing: u32,
    /// It is to be there, when all of them have.
    set: bool,
}

impl Engine {
    /// Makes touching a failed page an error for the threads that a machine holds there.
    pub(crate) fn begin_poison(&mut self, no: FrameNo, plan: &mut Plan) {
        self.begin(no, Busy::Poisoning);
        let key = self.frames[no].key();
        for (space, at) in self.object(key.object).windows.addresses(key.page) {
            plan.ops.push(Op::Poison { space, at, frame: no });
        }
    }

    /// Report: the address of a failed page is now an error.
    pub fn poisoned(&mut self, no: FrameNo, plan: &mut Plan) {
        self.end(no, Busy::Poisoning);
        let key = self.frames[no].key();
        let object = self.objects[key.object.index()].as_deref().expect("the object exists");
        let marks = &mut self.marks;
        for (space, at) in object.windows.addresses(key.page) {
            mark_at(marks, space, at, key, self.now).set = true;
        }
        self.settle_failed(no, plan);
    }

    /// A held access at `addr` was answered with [`Signal::Bus`](crate::Signal::Bus): the
    /// driver makes its page an error, and reports by [`marked`](Engine::marked).
    pub fn will_mark(&mut self, space: SpaceId, addr: VirtAddr) {
        let Some(area) = self.spaces[space.index()].find(addr) else { return };
        let (Backing::Object { object, .. }, Some(page)) = (area.backing, area.page_at(addr))
        else {
            return;
        };
        let key = PageKey { object, page };
        let mark = mark_at(&mut self.marks, space, addr.page_start(), key, self.now);
        mark.changing += 1;
        mark.set = true;
    }

    /// Report: what `will_mark` was told has been done.
    pub fn marked(&mut self, space: SpaceId, addr: VirtAddr, plan: &mut Plan) {
        self.changed(space, addr.page_start(), plan);
    }

    /// Report: the mark at an address is no more, as [`Op::Heal`] said.
    pub fn healed(&mut self, space: SpaceId, range: VirtRange, plan: &mut Plan) {
        self.changed(space, range.start, plan);
    }

    fn changed(&mut self, space: SpaceId, at: VirtAddr, plan: &mut Plan) {
        let found = self.marks.iter().position(|mark| (mark.space, mark.at) == (space, at));
        let Some(n) = found else { return };
        let mark = &mut self.marks[n];
        mark.changing -= 1;
        if mark.changing > 0 {
            return;
        }
        let key = PageKey { object: mark.object, page: mark.page };
        if !mark.set {
            self.marks.swap_remove(n);
        }
        // Whoever closes the object waits for this.
        plan.wakes.frames = true;
        if let Some(no) = self.lookup(key.object, key.page)
            && self.frames[no].state == State::Resident
        {
            self.settle(no, plan);
        }
    }

    /// Is a mark at an address of this page being set or healed?
    pub(crate) fn is_mark_changing(&self, key: PageKey) -> bool {
        let of_page = |mark: &&Mark| (mark.object, mark.page) == (key.object, key.page);
        self.marks.iter().filter(of_page).any(|mark| mark.changing > 0)
    }

    /// Is any mark of the object being set or healed? Then it can't be removed yet.
    pub fn are_marks_changing(&self, object: ObjectId) -> bool {
        self.marks.iter().any(|mark| mark.object == object && mark.changing > 0)
    }

    /// Is any address of the object an error, or about to be?
    pub fn has_marks(&self, object: ObjectId) -> bool {
        self.marks.iter().any(|mark| mark.object == object)
    }

    /// Forgets the object's marks, none of them changing, which its driver is about to
    /// clear from all of its addresses.
    pub fn forget_marks(&mut self, object: ObjectId) {
        debug_assert!(!self.are_marks_changing(object), "a report would find nothing");
        self.marks.retain(|mark| mark.object != object);
    }

    /// Before a page is mapped, its address must not be an error any more.
    pub(crate) fn heal_before_map(&mut self, key: PageKey, plan: &mut Plan) {
        for mark in &mut self.marks {
            if (mark.object, mark.page) == (key.object, key.page) {
                mark.begin_heal(plan);
            }
        }
    }

    /// Begins to heal the marks that are due, where no page is, nor is coming.
    pub(crate) fn heal_where(&mut self, due: impl Fn(&Mark, Tick) -> bool, plan: &mut Plan) {
        let mut n = 0;
        while n < self.marks.len() {
            let mark = self.marks[n];
            let frame = self.lookup(mark.object, mark.page).map(|no| &self.frames[no]);
            let (idle, mapped) = frame.map_or((true, false), |it| (it.is_idle(), it.mapped));
            if mark.changing > 0 || !idle || !due(&mark, self.now) {
                n += 1; // Later, perhaps.
            } else if mapped {
                self.marks.swap_remove(n); // Where a page is, there is no mark.
            } else {
                self.marks[n].begin_heal(plan);
                n += 1;
            }
        }
    }
}

impl Mark {
    /// How long it has been set.
    pub fn age(&self, now: Tick) -> Tick {
        now.wrapping_sub(self.since)
    }

    fn begin_heal(&mut self, plan: &mut Plan) {
        self.changing += 1;
        self.set = false;
        plan.ops.push(Op::Heal { space: self.space, range: VirtRange::page(self.at) });
    }
}

/// The mark at an address, listed if it isn't.
fn mark_at(
    marks: &mut alloc::vec::Vec<Mark>,
    space: SpaceId,
    at: VirtAddr,
    key: PageKey,
    now: Tick,
) -> &mut Mark {
    let found = marks.iter().position(|mark| (mark.space, mark.at) == (space, at));
    let n = found.unwrap_or(marks.len());
    if found.is_none() {
        let PageKey { object, page } = key;
        marks.push(Mark { space, at, object, page, since: now, changing: 0, set: false });
    }
    marks[n].since = now;
    &mut marks[n]
}
