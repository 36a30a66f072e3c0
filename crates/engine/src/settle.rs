//! A frame that has become idle: who wanted something of it, and what comes next.
//!
//! This is the one place where wants are served, so it doesn't matter which
//! operation a fault or a pin ran into.

use faultless_addr::{FrameNo, SpaceId, VirtAddr, VirtRange};

use crate::anon::ANON;
use crate::engine::{Engine, Leave, Poisoned};
use crate::frame::{Busy, Site, State, Want};
use crate::plan::{Op, Plan};
use crate::policy::Departure;

impl Engine {
    /// Begins whatever is wanted of an idle frame, or wakes who waited for it.
    pub(crate) fn settle(&mut self, no: FrameNo, plan: &mut Plan) {
        let frame = &self.frames[no];
        if !frame.is_idle() {
            return;
        }
        match frame.state {
            State::Failed => self.settle_failed(no, plan),
            State::Resident if frame.doomed && !frame.is_pinned() => {
                if frame.is_mapped() {
                    self.begin_leave(no, Leave::Drop, plan);
                } else {
                    self.forget(no, Departure::Dropped, plan);
                }
            }
            State::Resident => self.settle_wants(no, plan),
            State::Free | State::Reading => unreachable!("an idle frame is {:?}", frame.state),
        }
    }

    fn settle_wants(&mut self, no: FrameNo, plan: &mut Plan) {
        let frame = &mut self.frames[no];
        let (want, site) = (core::mem::replace(&mut frame.want, Want::Nothing), frame.site);
        if want != Want::Nothing {
            self.serve(no, site, want, plan);
        }
        if self.frames[no].is_idle() {
            self.let_go(no, plan);
        }
    }

    /// A page that couldn't be had stays until its sleepers have been told.
    pub(crate) fn settle_failed(&mut self, no: FrameNo, plan: &mut Plan) {
        let frame = &self.frames[no];
        if frame.waited && !frame.doomed {
            self.let_go(no, plan);
            self.failed.push(no);
        } else if !frame.is_pinned() {
            self.forget(no, Departure::Dropped, plan);
        }
    }

    /// Makes touching a failed page an error for the threads that a machine holds there.
    pub(crate) fn begin_poison(&mut self, no: FrameNo, plan: &mut Plan) {
        self.begin(no, Busy::Poisoning, 1);
        self.frames[no].held = false;
        let site = self.frames[no].site;
        plan.ops.push(Op::Poison { space: site.space(), at: site.at(), frame: no });
    }

    /// Report: the address of a failed page is now an error.
    pub fn poisoned(&mut self, no: FrameNo, plan: &mut Plan) {
        self.end(no, Busy::Poisoning);
        let (key, site) = (self.frames[no].key(), self.frames[no].site);
        let (space, range) = (site.space(), VirtRange::page(site.at()));
        self.poisoned.push(Poisoned { space, range, object: key.object, since: self.now });
        self.settle_failed(no, plan);
    }

    /// A held access at `addr` was answered with [`Signal::Bus`](crate::Signal::Bus): the
    /// driver makes its page an error, and it stays one until it is tried again.
    pub fn will_poison(&mut self, space: SpaceId, addr: VirtAddr) {
        let Some(area) = self.spaces[space.index()].find(addr) else { return };
        let object = area.object().unwrap_or(ANON);
        let range = VirtRange::page(addr.page_start());
        self.poisoned.push(Poisoned { space, range, object, since: self.now });
    }

    /// Before a page is mapped, its address must not be an error any more.
    pub(crate) fn heal(&mut self, site: Site, plan: &mut Plan) {
        let range = VirtRange::page(site.at());
        self.heal_range(site.space(), range, plan);
    }

    /// Addresses whose meaning changes are not errors any more.
    pub(crate) fn heal_range(&mut self, space: SpaceId, range: VirtRange, plan: &mut Plan) {
        self.poisoned.retain(|it| {
            let hit = it.space == space && range.encloses(it.range);
            if hit {
                plan.ops.push(Op::Heal { space: it.space, range: it.range });
            }
            !hit
        });
    }
}
