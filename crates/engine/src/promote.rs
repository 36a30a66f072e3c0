//! Copy on write: a store to a private page that others mean as well gives the
//! space a copy of its own.
//!
//! ```text
//!   before   site ──► object's page, or an anonymous page with refs > 1, read-only
//!   1        the page leaves the site, if it was shown there
//!   2        a new anonymous page; its frame is filled from the old one's bytes
//!   after    site ──► the copy, writable; the old page has one reference less
//! ```
//!
//! Who faulted comes again after step 1, and is served by step 2. Where frames are short,
//! a page that can be had again becomes the copy itself, where it is: to wait for a second
//! frame could be for ever, because the first leaves to make room for it. An object's page in
//! a place that only the private area has becomes the copy, too. The old page is
//! busy while it is copied: it neither leaves nor changes its place. If it is a page
//! of an object, others may store to it meanwhile, as they may on Linux.

use faultless_addr::{FrameNo, WriteAccess};

use crate::account::Payer;
use crate::anon::AnonId;
use crate::engine::{Addresses, Engine};
use crate::fault::{Outcome, Touch};
use crate::frame::{Busy, Kind, Shown, Site, State, Want};
use crate::plan::{Leaver, Op, Plan, Source};
use crate::policy::{Arrival, Departure, PageKey};

impl Engine {
    /// The anonymous page that is meant at an address.
    pub(crate) fn anon_at(&self, site: Site) -> Option<AnonId> {
        self.privates[site.space().index()].get(site.number())
    }

    /// Is the page meant at one address only? (A page of an object never is.)
    pub(crate) fn is_sole(&self, key: PageKey) -> bool {
        AnonId::of(key).is_some_and(|id| self.anons[id].refs == 1)
    }

    /// Case 4: a store at `touch.site` must not go to frame `no`, which is idle.
    pub(crate) fn promote(&mut self, no: FrameNo, touch: Touch, plan: &mut Plan) -> Outcome {
        self.recall(no);
        if self.shown_at(no, touch.site).is_some() {
            let is_quicker = self.is_alone_here(no) || self.is_short(self.payer(touch));
            if is_quicker && self.may_become_own(no) && self.pay_for(no, self.payer(touch)) {
                let id = self.anons.create();
                return self.become_own(no, id, touch, plan);
            }
            if !self.frames[no].is_pinned() {
                self.begin_leave_at(no, touch.site, plan);
            }
            return self.come_again(no, touch);
        }
        let id = self.anons.create();
        let copy = match self.take_frame(id.key(), self.payer(touch)) {
            Ok(copy) => copy,
            Err(scope) if self.may_become_own(no) && !self.frames[no].is_mapped() => {
                if self.config.addresses != Addresses::OneIfPrivate {
                    return self.become_own(no, id, touch, plan);
                }
                self.drop_reference(id, plan);
                if !self.can_pay_for(no, self.payer(touch)) {
                    return self.no_frame(scope);
                }
                // It may be in the place that it has in shared areas: it comes to the one
                // that it has here first, for the store to find it there.
                self.note_waiter(no, touch);
                self.serve(no, touch.site, Want::Read, plan);
                return Outcome::Waiting(no);
            }
            Err(scope) => {
                self.drop_reference(id, plan);
                return self.no_frame(scope);
            }
        };
        self.stats.faults_copy += 1;
        let before = self.privates[touch.site.space().index()].insert(touch.site.number(), id);
        let from = self.first_site(no).map(|site| (site.space(), site.at()));
        self.begin(no, Busy::Copying, 1);
        plan.ops.push(Op::Copy { from: no, mapped: from, to: copy });
        if let Some(before) = before {
            self.drop_reference(before, plan);
        }
        self.want(copy, touch)
    }

    /// Is it an object's page in the private area's own place, and nobody else has an address for
    /// it, but for the one where pins show it?
    fn is_alone_here(&self, no: FrameNo) -> bool {
        let key = self.frames[no].key();
        self.config.addresses == Addresses::OneIfPrivate
            && AnonId::of(key).is_none()
            && self.object(key.object).windows.addresses(key.page).nth(2).is_none()
    }

    /// May a frame count for somebody, or does it already?
    fn can_pay_for(&self, no: FrameNo, payer: Payer) -> bool {
        self.accounts.of_frame(no) == payer || self.accounts.left(payer) > 0
    }

    /// A frame counts for somebody else from now on, if it may.
    fn pay_for(&mut self, no: FrameNo, payer: Payer) -> bool {
        let can = self.can_pay_for(no, payer);
        if can {
            self.accounts.release(no);
            self.accounts.charge(no, payer);
        }
        can
    }

    /// Are there so few frames that one which nobody uses at the moment won't stay?
    pub(crate) fn is_short(&self, payer: Payer) -> bool {
        self.frames.free() <= self.water_low().max(4) || self.accounts.left(payer) <= 4
    }

    /// Can the page be had again from where it came, with nobody needing it but who stores
    /// to it, at the one address where it is shown, if it is?
    fn may_become_own(&self, no: FrameNo) -> bool {
        let frame = &self.frames[no];
        !frame.is_dirty()
            && frame.shown != Shown::Often
            && !frame.is_pinned()
            && !frame.doomed
            && frame.state == State::Resident
            && !frame.is_substitute()
    }

    /// The page itself becomes the copy.
    fn become_own(&mut self, no: FrameNo, id: AnonId, touch: Touch, plan: &mut Plan) -> Outcome {
        self.stats.faults_copy += 1;
        let key = self.frames[no].key();
        self.policy.remove(no, key, Departure::Dropped);
        match AnonId::of(key) {
            Some(old) => self.anons[old].set_frame(None),
            None => {
                let object = self.objects[key.object.index()].as_deref_mut();
                let object = object.expect("the object exists");
                object.cache.remove(key.page, &mut self.nodes, &self.frames);
                object.resident -= 1;
            }
        }
        let frame = &mut self.frames[no];
        (frame.object, frame.page) = (id.key().object, id.key().page);
        frame.kind = Kind::Plain;
        self.anons[id].set_frame(Some(no));
        self.policy.insert(no, id.key(), Arrival::Demand);
        self.set_dirty(no);
        let space = touch.site.space().index();
        if let Some(before) = self.privates[space].insert(touch.site.number(), id) {
            self.drop_reference(before, plan);
        }
        self.fault_cached(no, touch, plan)
    }

    /// Report: the bytes of `from` are in `to` as well.
    pub fn copied(&mut self, from: FrameNo, to: FrameNo, plan: &mut Plan) {
        self.end(from, Busy::Copying);
        self.end(to, Busy::Reading);
        self.frames[to].state = State::Resident;
        self.set_dirty(to);
        let key = self.frames[to].key();
        self.policy.insert(to, key, Arrival::Demand);
        self.settle(to, plan);
        self.settle(from, plan);
    }

    /// Case 2c in anonymous memory: a page of zeros.
    pub(crate) fn fault_zeros(&mut self, touch: Touch, plan: &mut Plan) -> Outcome {
        let id = self.anons.create();
        let no = match self.take_frame(id.key(), self.payer(touch)) {
            Ok(no) => no,
            Err(scope) => {
                self.drop_reference(id, plan);
                return self.no_frame(scope);
            }
        };
        self.stats.faults_zero += 1;
        self.privates[touch.site.space().index()].insert(touch.site.number(), id);
        self.push_anon_read(id, no, plan);
        self.want(no, touch)
    }

    /// A fault where an anonymous page is meant.
    pub(crate) fn fault_anon(&mut self, id: AnonId, touch: Touch, plan: &mut Plan) -> Outcome {
        if let Some(no) = self.anons[id].frame() {
            return self.fault_cached(no, touch, plan);
        }
        let no = match self.take_frame(id.key(), self.payer(touch)) {
            Ok(no) => no,
            Err(scope) => return self.no_frame(scope),
        };
        self.stats.faults_major += 1;
        self.stats.pages_demanded += 1;
        self.push_anon_read(id, no, plan);
        self.read_cluster(id, self.payer(touch), plan);
        self.want(no, touch)
    }

    /// Fills a frame with what the page holds: its bytes in swap, or zeros.
    pub(crate) fn push_anon_read(&mut self, id: AnonId, no: FrameNo, plan: &mut Plan) {
        let longest = self.config.run_max;
        match (self.anons[id].slot(), &self.swap) {
            (Some(slot), Some(swap)) => {
                let source = self.pager_of(swap.object);
                plan.push_read(swap.object, slot.page(), no, source, longest);
            }
            _ => plan.push_read(id.key().object, id.key().page, no, Source::Zeros, longest),
        }
    }

    /// An anonymous page is meant at one address less. With none left it is no more.
    pub(crate) fn drop_reference(&mut self, id: AnonId, plan: &mut Plan) {
        self.anons[id].refs -= 1;
        if self.anons[id].refs > 0 {
            return;
        }
        match self.anons[id].frame() {
            None => self.remove_anon(id),
            Some(no) => {
                self.doom(no);
                self.settle(no, plan);
            }
        }
    }

    /// A page without references and without a frame is no more.
    pub(crate) fn remove_anon(&mut self, id: AnonId) {
        if let Some(slot) = self.anons[id].slot() {
            self.free_slot(slot);
        }
        self.anons.remove(id);
    }

    /// Begins to take an idle frame away from one of its addresses.
    pub(crate) fn begin_leave_at(&mut self, no: FrameNo, site: Site, plan: &mut Plan) {
        let Some(here) = self.shown_at(no, site) else { return };
        self.begin(no, Busy::Leaving, 1);
        let (space, at) = (site.space(), site.at());
        plan.keep.push(Leaver { space, at, frame: no, writable: here.writable });
    }

    /// A page that was read ahead is touched for the first time, or one on trial again.
    fn note_touch(&mut self, no: FrameNo) {
        match self.frames[no].kind {
            Kind::Plain | Kind::Substitute | Kind::ToBeGiven | Kind::Given | Kind::Torn => return,
            Kind::OnTrial | Kind::Marker => {}
            Kind::Ahead => self.note_swap_hit(),
        }
        self.frames[no].kind = Kind::Plain;
    }

    /// Serves what is needed of an idle frame that holds its page.
    pub(crate) fn serve(&mut self, no: FrameNo, site: Site, want: Want, plan: &mut Plan) {
        let stores = self.stores_at(no, site);
        let here = self.shown_at(no, site);
        // The area may allow less by now than when the store faulted.
        let allowed = stores.is_some_and(|it| it != WriteAccess::Forbidden);
        let store = want == Want::Write && allowed && self.may_store(no, site);
        match (here, stores) {
            (Some(it), _) if want != Want::Write || it.writable => self.let_go_at(no, site, plan),
            // By a new fault, which waits.
            (Some(_), _) if store && self.barred(site).is_some() => {
                self.let_go_at(no, site, plan);
            }
            (Some(_), _) if store => {
                self.set_dirty(no);
                self.begin(no, Busy::Granting, 1);
                self.let_go_by_machine(no);
                plan.push_grant(site.space(), site.at(), no);
            }
            // Who waits comes again when the mark has been set, or healed.
            (None, Some(_)) if self.is_mark_changing(site) => {}
            (None, Some(stores)) if want != Want::Write || store => {
                self.note_touch(no);
                if !self.frames[no].is_device() {
                    self.policy.touch(no);
                }
                if store {
                    self.set_dirty(no);
                }
                let stores = if store { WriteAccess::Allowed } else { stores };
                self.begin_map(no, site, stores, plan);
            }
            // Another page is meant there by now, or a copy has to be made: by a new fault.
            _ => self.let_go_at(no, site, plan),
        }
    }
}
