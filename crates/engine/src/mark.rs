//! Marks: addresses at which touching is an error, because a page could not be had.
//!
//! A machine keeps them, the engine lists them. A driver sets and heals them with no lock
//! held, so a mark is *changing* from the decision to the report.
//!
//! ```text
//!              will_mark, begin_poison      marked, poisoned
//!        ┌────────────────► being set ──────────────────► set
//!        │                                                 │  tick, set_size: may be tried
//!     no mark                                              │  again, if no page is there;
//!        ▲                                                 │  begin_map: before the page
//!        │                                                 ▼
//!        └───────────────────────────────────────── being healed
//!                            healed
//! ```
//!
//! While the mark at an address is changing, no page is begun to be mapped there: a mark
//! that comes late would stay over it, and what heals one drops whatever is there. Who
//! wants the page waits, and comes again after the report. (Healed by the plan that maps
//! the page, the mark goes first, as all of a plan is done in order.)

use alloc::vec::Vec;

use faultless_addr::{FrameNo, ObjectId, SpaceId, VirtAddr, VirtRange};

use crate::Tick;
use crate::anon::ANON;
use crate::engine::Engine;
use crate::frame::{Busy, Site};
use crate::plan::{Op, Plan};
use crate::space::{Sharing, Vma};

/// A mark, at one page's address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    site: Site,
    pub object: ObjectId,
    since: Tick,
    /// Drivers that have been told to set or heal it and haven't reported.
    changing: u32,
    /// It is to be there, when all of them have.
    set: bool,
    /// Its time to be healed came while it was changing.
    late: bool,
}

/// What is known of an address at which an access met an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// It is one: touching it is SIGBUS.
    Yes,
    /// It is being made one, or healed: come again.
    Changing,
    /// It is none any more.
    No,
}

impl Engine {
    /// Makes touching a failed page an error for the threads that a machine holds there.
    pub(crate) fn begin_poison(&mut self, no: FrameNo, plan: &mut Plan) {
        self.begin(no, Busy::Poisoning, 1);
        self.frames[no].held = false;
        let (object, site) = (self.frames[no].object, self.frames[no].site);
        // The address may mean another page before the driver gets there.
        self.mark_is_coming(site, object);
        plan.ops.push(Op::Poison { space: site.space(), at: site.at(), frame: no });
    }

    /// Report: the address of a failed page is now an error.
    pub fn poisoned(&mut self, space: SpaceId, at: VirtAddr, no: FrameNo, plan: &mut Plan) {
        self.end(no, Busy::Poisoning);
        self.settle_failed(no, plan);
        self.changed(Site::new(space, at), plan);
    }

    fn mark_is_coming(&mut self, site: Site, object: ObjectId) {
        let mark = mark_at(&mut self.marks, site, object, self.now);
        mark.changing += 1;
        mark.set = true;
    }

    /// A held access at `addr` was answered with [`Signal::Bus`](crate::Signal::Bus): the
    /// driver makes its page an error, and reports by [`marked`](Engine::marked).
    pub fn will_mark(&mut self, space: SpaceId, addr: VirtAddr) {
        let Some(area) = self.spaces[space.index()].find(addr) else { return };
        let object = area.object().unwrap_or(ANON);
        self.mark_is_coming(Site::new(space, addr.page_start()), object);
    }

    /// Report: what `will_mark` was told has been done.
    pub fn marked(&mut self, space: SpaceId, addr: VirtAddr, plan: &mut Plan) {
        self.changed(Site::new(space, addr.page_start()), plan);
    }

    /// A held access at `addr` was answered with a segmentation fault: while the driver ends
    /// it, the address may be an error for a moment. It reports by
    /// [`access_ended`](Engine::access_ended).
    pub fn will_end_access(&mut self, space: SpaceId, addr: VirtAddr) {
        let area = self.spaces[space.index()].find(addr);
        let object = area.and_then(Vma::object).unwrap_or(ANON);
        let site = Site::new(space, addr.page_start());
        mark_at(&mut self.marks, site, object, self.now).changing += 1;
    }

    /// Report: what `will_end_access` was told is over.
    pub fn access_ended(&mut self, space: SpaceId, addr: VirtAddr, plan: &mut Plan) {
        self.changed(Site::new(space, addr.page_start()), plan);
    }

    /// Is any address of a range being made an error, or healed? For a verb that gives
    /// rights: an access after it must not meet an error of before.
    pub fn are_marks_changing_in(&self, space: SpaceId, range: VirtRange) -> bool {
        let within = |site: Site| site.space() == space && range.contains(site.at());
        self.marks.iter().any(|mark| mark.changing > 0 && within(mark.site))
    }

    /// Report: the mark at an address is no more, as [`Op::Heal`] said.
    pub fn healed(&mut self, space: SpaceId, range: VirtRange, plan: &mut Plan) {
        self.changed(Site::new(space, range.start), plan);
    }

    fn changed(&mut self, site: Site, plan: &mut Plan) {
        let Some(n) = self.marks.iter().position(|mark| mark.site == site) else { return };
        let mark = &mut self.marks[n];
        mark.changing -= 1;
        if mark.changing > 0 {
            return;
        }
        let late = core::mem::take(&mut mark.late);
        if !mark.set {
            self.marks.swap_remove(n);
        } else if late {
            self.heal_where(|mark, _| mark.site == site, plan);
        }
        // Whoever closes the object waits for this; so does whom the machine holds here, because
        // he met the page while the mark changed. It may be elsewhere by now, or gone.
        plan.wakes.frames = true;
        plan.push_wake(site);
        if let Some(no) = self.meant_at(site)
            && self.frames[no].is_idle()
        {
            self.let_go_by_machine(no);
            self.let_go(no, plan);
        }
    }

    /// The frame that holds what is meant at an address.
    pub(crate) fn meant_at(&self, site: Site) -> Option<FrameNo> {
        let area = self.spaces[site.space().index()].find(site.at())?;
        if area.sharing == Sharing::Private
            && let Some(id) = self.anon_at(site)
        {
            return self.anons[id].frame();
        }
        self.lookup(area.object()?, area.page_at(site.at())?)
    }

    /// Is the mark at this address being set or healed?
    pub(crate) fn is_mark_changing(&self, site: Site) -> bool {
        self.marks.iter().any(|mark| mark.site == site && mark.changing > 0)
    }

    /// Is any mark of the object being set or healed? Then it can't be removed yet.
    pub fn are_marks_changing(&self, object: ObjectId) -> bool {
        self.marks.iter().any(|mark| mark.object == object && mark.changing > 0)
    }

    /// Is the page at an address an error? An access that met one may have waited meanwhile.
    pub fn marked_at(&self, space: SpaceId, addr: VirtAddr) -> Marked {
        let site = Site::new(space, addr.page_start());
        match self.marks.iter().find(|mark| mark.site == site) {
            Some(mark) if mark.changing > 0 => Marked::Changing,
            Some(mark) if mark.set => Marked::Yes,
            _ => Marked::No,
        }
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
    pub(crate) fn heal_before_map(&mut self, site: Site, plan: &mut Plan) {
        for mark in self.marks.iter_mut().filter(|mark| mark.site == site) {
            mark.begin_heal(plan);
        }
    }

    /// Begins to heal the marks that are due, where no page is, nor is coming.
    pub(crate) fn heal_where(&mut self, due: impl Fn(&Mark, Tick) -> bool, plan: &mut Plan) {
        let mut n = 0;
        while n < self.marks.len() {
            let mark = self.marks[n];
            let frame = self.meant_at(mark.site);
            let idle = frame.is_none_or(|no| self.frames[no].is_idle());
            let free = self.closing_at(mark.site).is_none();
            if mark.changing > 0 {
                self.marks[n].late |= due(&mark, self.now);
                n += 1;
            } else if !idle || !free || !due(&mark, self.now) {
                n += 1; // Later, perhaps.
            } else if frame.is_some_and(|no| self.shown_at(no, mark.site).is_some()) {
                self.marks.swap_remove(n); // Where a page is, there is no mark.
            } else {
                self.marks[n].begin_heal(plan);
                n += 1;
            }
        }
    }

    /// Begins to heal the marks of addresses whose meaning changes.
    pub(crate) fn heal_range(&mut self, space: SpaceId, range: VirtRange, plan: &mut Plan) {
        let within = |site: Site| site.space() == space && range.contains(site.at());
        self.heal_where(|mark, _| within(mark.site), plan);
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
        let (space, at) = (self.site.space(), self.site.at());
        plan.ops.push(Op::Heal { space, range: VirtRange::page(at) });
    }
}

/// The mark at an address, listed if it isn't.
fn mark_at(marks: &mut Vec<Mark>, site: Site, object: ObjectId, now: Tick) -> &mut Mark {
    let found = marks.iter().position(|mark| mark.site == site);
    let n = found.unwrap_or(marks.len());
    if found.is_none() {
        marks.push(Mark { site, object, since: now, changing: 0, set: false, late: false });
    }
    marks[n].since = now;
    &mut marks[n]
}
