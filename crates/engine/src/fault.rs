//! Page faults: what an access that a machine could not translate leads to.
//!
//! ```text
//!   1 where          1a no area                          SIGSEGV, MAPERR
//!                    1b the area forbids it              SIGSEGV, ACCERR
//!                    1c a guard is there                 SIGSEGV, MAPERR
//!                    1d beyond the object's end          SIGBUS (or zeros, if chosen)
//!                    1e shared, of the process's parent  SIGBUS
//!   2 absent         2a a frame is free                  read it, and ahead of it
//!                    2b none is                          reclaim, then come again
//!                    2c no backing                       zeros
//!                    2d anonymous, in swap               read it back, and its cluster
//!                    2e a device's, not lent             SIGBUS: its driver was asked before
//!   3 in memory      3a busy                             join: say what is wanted, wait
//!                    3b its bytes could not be had       SIGBUS
//!                    3c aside                            map it, and what is around it:
//!                                                        the minor fault
//!                    3d aside, a window's marker         map it, and read ahead
//!                    3e mapped, store to a clean page    dirty now, let stores through
//!                    3f mapped, and nothing forbids it   somebody was quicker: try again
//!   4 private store  4a to an object's page              promote it: a copy of its own
//!                    4b to a page shared after a fork    promote it
//!   5 at one address 5a another's private page, or one   promote it, also for a load
//!                       shared after a fork, is shown
//!                       where alone it can be
//!                    5b an object's, in other areas      take it from there, if not too often
//! ```
//!
//! A fault never blocks. It changes the page's state, adds to the plan, and says
//! whether the access can be tried again once the plan is carried out.
//!
//! In private memory a page is looked for in two layers: among the space's own
//! anonymous pages, then in the object. (Case 4 is in `promote`, 2d in `swapping`.)

use faultless_addr::{Access, FrameNo, ObjectId, SpaceId, VirtAddr, VirtRange, WriteAccess};

use crate::account::Payer;
use crate::anon::AnonId;
use crate::engine::{Addresses, Engine, Joining, Losses, Scope};
use crate::frame::{Busy, Kind, Shown, Site, State, Want};
use crate::object::readahead::{Ahead, Limits};
use crate::object::{Backing, Failure, KeptError, OnError, Rights};
use crate::plan::{Op, Plan, Source};
use crate::policy::PageKey;
use crate::signal::Signal;
use crate::space::{Backing as AreaBacking, Sharing, Vma};

/// `EIO`, where a page could not be had and nobody gave a better number.
pub(crate) const EIO: i32 = 5;

/// Who waits for a fault to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiter {
    /// The machine holds the thread and lets it go when the page is mapped.
    Machine,
    /// The caller: it sleeps until the frame settles and calls again.
    Caller,
    /// The caller, calling again: its access has been counted.
    Again,
}

/// How a fault stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// After the plan, nothing is in the way of the access.
    Resolved,
    /// This frame has to settle first.
    Waiting(FrameNo),
    /// A frame has to become free first.
    NoFrame(Scope),
    /// It can't be served.
    Signal(Signal),
}

/// An access that was not translated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touch {
    /// The page that it touched.
    pub site: Site,
    pub access: Access,
    pub waiter: Waiter,
}

impl Engine {
    /// An access at `addr` was not translated.
    pub fn fault(
        &mut self,
        space: SpaceId,
        addr: VirtAddr,
        access: Access,
        waiter: Waiter,
        plan: &mut Plan,
    ) -> Outcome {
        let touch = Touch { site: Site::new(space, addr.page_start()), access, waiter };
        // Also before the access is refused: a page that is still on its way in must not be
        // met by who makes the address an error.
        if let Some(no) = self.still_closing(touch.site, plan) {
            return self.come_again(no, touch);
        }
        let area = match self.allowed(space, addr, access) {
            Ok(area) => area,
            Err(signal) => return self.refuse(signal),
        };
        let notes = self.config.joining == Joining::AsOnLinux;
        if notes && access == Access::Write && area.sharing == Sharing::Private {
            self.spaces[space.index()].touched(addr);
        }
        match area.backing {
            AreaBacking::Object { .. } => self.fault_object(&area, touch, plan),
            AreaBacking::Anonymous => match self.anon_at(touch.site) {
                Some(id) => self.fault_anon(id, touch, plan),
                None => self.fault_zeros(touch, plan),
            },
        }
    }

    /// The area of an address, where its rights allow an access; else the segmentation fault,
    /// which comes before whatever else is wrong there.
    pub fn allowed(&self, space: SpaceId, addr: VirtAddr, access: Access) -> Result<Vma, Signal> {
        let space = &self.spaces[space.index()];
        let area = space.find(addr).ok_or(Signal::SegvMapErr)?;
        match (area.prot.allows(access), space.guards().contains(addr)) {
            (false, _) => Err(Signal::SegvAccErr),
            (true, true) => Err(Signal::SegvMapErr),
            (true, false) => Ok(*area),
        }
    }

    fn fault_object(&mut self, area: &Vma, touch: Touch, plan: &mut Plan) -> Outcome {
        let (Some(object), Some(page)) = (area.object(), area.page_at(touch.site.at())) else {
            return self.refuse(Signal::SegvMapErr);
        };
        let key = PageKey { object, page };
        if !self.object(object).pages().contains(page) {
            return self.fault_beyond_end(key, touch, plan);
        }
        let private = area.sharing == Sharing::Private;
        if !private && self.object(object).withdrawn {
            return self.refuse(Signal::Bus);
        }
        if private && let Some(id) = self.anon_at(touch.site) {
            return self.fault_anon(id, touch, plan);
        }
        let read_only = self.object(object).options.rights == Rights::ReadOnly;
        if touch.access == Access::Write && read_only && !private {
            return self.refuse(Signal::SegvAccErr);
        }
        match self.lookup(object, page) {
            Some(no) => self.fault_cached(no, touch, plan),
            None if self.object(object).options.backing == Backing::Device => {
                self.refuse(Signal::Bus)
            }
            None => self.fault_absent(key, private, touch, plan),
        }
    }

    pub(crate) fn refuse(&mut self, signal: Signal) -> Outcome {
        self.stats.signals += 1;
        Outcome::Signal(signal)
    }

    /// Case 1d.
    fn fault_beyond_end(&mut self, key: PageKey, touch: Touch, plan: &mut Plan) -> Outcome {
        // What is about to be mapped must not meet an error there.
        if let Some(no) = self.lookup(key.object, key.page)
            && self.frames[no].busy == Busy::Mapping
        {
            return self.come_again(no, touch);
        }
        let object = self.object_mut(key.object);
        if object.options.on_error == OnError::Signal {
            return self.refuse(Signal::Bus);
        }
        object.keep_error(KeptError { failure: Failure::Shrunk, page: key.page, errno: EIO });
        if let Some(no) = self.lookup(key.object, key.page) {
            return self.fault_cached(no, touch, plan);
        }
        let no = match self.take_within_limit(key, self.payer(touch)) {
            Ok(no) => no,
            Err(scope) => return self.no_frame(scope),
        };
        self.frames[no].kind = Kind::Substitute;
        plan.push_read(key.object, key.page, no, Source::Zeros, self.config.run_max);
        self.want(no, touch)
    }

    /// Case 2. A private store needs the page only to copy it.
    fn fault_absent(
        &mut self,
        key: PageKey,
        private: bool,
        touch: Touch,
        plan: &mut Plan,
    ) -> Outcome {
        match self.start_read(key, self.payer(touch), plan) {
            Ok(no) => {
                self.object_mut(key.object).looked_at = (touch.site, key.page);
                self.stats.faults_major += 1;
                if private && touch.access == Access::Write {
                    if !self.is_short(self.payer(touch)) {
                        return self.come_again(no, touch);
                    }
                    // Aside, it would leave before it is copied: it is to be seen in use.
                    return self.want(no, Touch { access: Access::Read, ..touch });
                }
                self.want(no, touch)
            }
            Err(scope) => self.no_frame(scope),
        }
    }

    /// Case 3, and 4 for those that are idle.
    pub(crate) fn fault_cached(&mut self, no: FrameNo, touch: Touch, plan: &mut Plan) -> Outcome {
        // Whoever runs into a marker that is still on its way is faster than the backing:
        // all the more reason to ask for the window after.
        if self.frames[no].kind == Kind::Marker {
            self.frames[no].kind = Kind::Plain;
            self.read_next_window(self.frames[no].key(), self.payer(touch), plan);
        }
        let frame = &self.frames[no];
        if !frame.is_idle() {
            self.stats.faults_joined += u64::from(touch.waiter != Waiter::Again);
            return self.want(no, touch);
        }
        if frame.state == State::Failed {
            // Whoever was told makes room for the next attempt.
            self.frames[no].waited = false;
            self.settle_failed(no, plan);
            return self.refuse(Signal::Bus);
        }
        let here = self.shown_at(no, touch.site);
        if here.is_some_and(|it| touch.access != Access::Write || it.writable) {
            self.stats.faults_spurious += u64::from(touch.waiter != Waiter::Again);
            if self.config.translations == Losses::Untold
                && let Some(stores) = self.stores_at(no, touch.site)
            {
                self.note_waiter(no, touch);
                self.begin_map(no, touch.site, stores, plan);
                return Outcome::Waiting(no);
            }
            if touch.waiter == Waiter::Machine {
                let range = VirtRange::page(touch.site.at());
                plan.ops.push(Op::Wake { space: touch.site.space(), range });
            }
            return Outcome::Resolved;
        }
        if !self.may_store(no, touch.site)
            && (touch.access == Access::Write
                || self.is_elsewhere(no, touch.site) && !self.takes(no, touch.site))
        {
            return self.promote(no, touch, plan);
        }
        if touch.access == Access::Write
            && let Some(by) = self.barred(touch.site)
        {
            return self.come_again(by, touch);
        }
        match here {
            Some(_) => self.stats.faults_write += 1,
            None => self.stats.faults_minor += 1,
        }
        let key = self.frames[no].key();
        if self.frames[no].is_substitute() && touch.access == Access::Write {
            let error = KeptError { failure: Failure::Write, page: key.page, errno: EIO };
            self.object_mut(key.object).keep_error(error);
        }
        self.note_waiter(no, touch);
        self.serve_around(no, touch, plan);
        Outcome::Waiting(no)
    }

    /// What stores to the page do at `site`, if that is where the page is meant: the area
    /// may have gone, or shows another page by now.
    pub(crate) fn stores_at(&self, no: FrameNo, site: Site) -> Option<WriteAccess> {
        if self.closing_at(site).is_some() {
            return None;
        }
        let space = self.spaces.get(site.space().index())?;
        let area = space.find(site.at()).filter(|_| !space.guards().contains(site.at()))?;
        let key = self.frames[no].key();
        let own = match area.sharing {
            Sharing::Private => self.anon_at(site),
            Sharing::Shared => None,
        };
        let meant = match own {
            Some(id) => id.key() == key,
            None => area.object() == Some(key.object) && area.page_at(site.at()) == Some(key.page),
        };
        if !meant || area.prot.is_empty() {
            return None;
        }
        let frame = &self.frames[no];
        Some(match area.sharing {
            Sharing::Shared if self.object(key.object).withdrawn => return None,
            _ if !area.prot.contains(faultless_addr::Prot::WRITE) => WriteAccess::Forbidden,
            // A store will be lost, which is another error to be told.
            _ if frame.is_substitute() => WriteAccess::Tracked,
            Sharing::Shared if self.object(key.object).options.rights == Rights::ReadOnly => {
                WriteAccess::Forbidden
            }
            Sharing::Shared if frame.is_dirty() || frame.is_device() => WriteAccess::Allowed,
            Sharing::Private if frame.is_dirty() && self.is_sole(key) => WriteAccess::Allowed,
            _ => WriteAccess::Tracked,
        })
    }

    /// Is the page at the one address that the machine can show it at, or at others than
    /// `site` where that has to be the one? Then a private reader gets its copy early, rather
    /// than that both take it from each other for ever.
    pub(crate) fn is_elsewhere(&self, no: FrameNo, site: Site) -> bool {
        let frame = &self.frames[no];
        let at_one = match self.config.addresses {
            Addresses::One => true,
            Addresses::Many => false,
            // Who is in a private area is nowhere else.
            Addresses::OneIfPrivate => {
                !self.is_in_shared_area(site)
                    || frame.shown == Shown::Once && !self.is_in_shared_area(frame.site)
            }
        };
        at_one && frame.is_mapped() && self.shown_at(no, site).is_none()
    }

    /// Does a load in a private area have the page from those who share it?
    fn takes(&mut self, no: FrameNo, site: Site) -> bool {
        let key = self.frames[no].key();
        let frame = &self.frames[no];
        if self.config.addresses != Addresses::OneIfPrivate
            || AnonId::of(key).is_some()
            || frame.is_pinned()
        {
            return false;
        }
        // Where only pins show it no instruction needs it at the same time.
        let by_pin = frame.shown == Shown::Once && self.home(key) == Some(frame.site);
        by_pin || self.takes.once_more(site, key, self.now)
    }

    pub(crate) fn is_in_shared_area(&self, site: Site) -> bool {
        let area = self.spaces.get(site.space().index()).and_then(|space| space.find(site.at()));
        area.is_some_and(|area| area.sharing == Sharing::Shared)
    }

    /// May a store at `site` go to this very page, rather than to a copy?
    pub(crate) fn may_store(&self, no: FrameNo, site: Site) -> bool {
        let area = self.spaces.get(site.space().index()).and_then(|space| space.find(site.at()));
        area.is_some_and(|area| match area.sharing {
            Sharing::Shared => true,
            Sharing::Private => self.is_sole(self.frames[no].key()),
        })
    }

    /// Notes what the fault needs of a frame, to be served when it settles.
    pub(crate) fn want(&mut self, no: FrameNo, touch: Touch) -> Outcome {
        let frame = &mut self.frames[no];
        // While it is being mapped, its site is where: another comes again. And who is where it
        // is shown does, too, for it will be at two addresses.
        let maps = frame.busy == Busy::Mapping;
        let is_free = frame.want == Want::Nothing && !maps;
        let wants_here = is_free || frame.site == touch.site;
        let noted = match frame.shown {
            Shown::Nowhere => wants_here,
            Shown::Once => frame.site == touch.site && !maps,
            Shown::Often => false,
        };
        if !noted {
            return self.come_again(no, touch);
        }
        frame.site = touch.site;
        frame.want = frame.want.max(Want::of(touch.access));
        self.note_waiter(no, touch);
        Outcome::Waiting(no)
    }

    /// Whoever touched the page is let go when it settles, and touches it again.
    pub(crate) fn come_again(&mut self, no: FrameNo, touch: Touch) -> Outcome {
        match touch.waiter {
            Waiter::Machine => self.others.entry(no).or_default().push(touch.site),
            Waiter::Caller | Waiter::Again => self.frames[no].waited = true,
        }
        Outcome::Waiting(no)
    }

    pub(crate) fn note_waiter(&mut self, no: FrameNo, touch: Touch) {
        match touch.waiter {
            Waiter::Machine => self.frames[no].held = true,
            Waiter::Caller | Waiter::Again => self.frames[no].waited = true,
        }
    }

    /// Who pays for what a fault brings in.
    pub(crate) fn payer(&self, touch: Touch) -> Payer {
        self.accounts.payer(touch.site.space())
    }

    pub(crate) fn no_frame(&mut self, scope: Scope) -> Outcome {
        self.starved = true;
        Outcome::NoFrame(scope)
    }

    /// How many frames may be spent on pages that nobody has asked for yet.
    fn allowance(&self, object: ObjectId, payer: Payer) -> u64 {
        let object = self.object(object);
        let own = object.options.limit.saturating_sub(object.resident) / 2;
        u64::from(own.min(self.spare_frames(payer)))
    }

    /// Free frames beyond those kept for whoever needs one at once: one at least, for the
    /// copy of a page that has to come first.
    pub(crate) fn spare_frames(&self, payer: Payer) -> u32 {
        let spare = self.frames.free().saturating_sub(self.reserve.kept(self.frames.count()));
        spare.min(self.accounts.left(payer) / 2)
    }

    /// Takes a frame for an absent page and begins to read it, its granule, and
    /// what is likely to be needed next.
    pub(crate) fn start_read(
        &mut self,
        key: PageKey,
        payer: Payer,
        plan: &mut Plan,
    ) -> Result<FrameNo, Scope> {
        let no = self.take_within_limit(key, payer)?;
        let object = self.object(key.object);
        let granule = object.granule_of(key.page);
        let zeros = object.options.backing == Backing::Zeros;
        self.stats.pages_demanded += 1;
        if zeros {
            plan.push_read(key.object, key.page, no, Source::Zeros, self.config.run_max);
            return Ok(no);
        }
        let limits = self.ahead_limits(key.object, payer);
        let ahead = self.object_mut(key.object).ahead.note(key.page, limits);
        for page in granule.iter() {
            if page == key.page {
                let source = self.pager_of(key.object);
                plan.push_read(key.object, page, no, source, self.config.run_max);
            } else {
                self.read_ahead_page(PageKey { page, ..key }, payer, plan);
            }
        }
        self.read_ahead((key.object, payer), ahead, plan);
        Ok(no)
    }

    /// Takes a frame for an absent page whose bytes whoever pins it will give, all of them:
    /// nothing is read, for what is there is about to be stored over.
    pub(crate) fn start_given(&mut self, key: PageKey, payer: Payer) -> Result<FrameNo, Scope> {
        let no = self.take_within_limit(key, payer)?;
        self.frames[no].kind = Kind::ToBeGiven;
        Ok(no)
    }

    /// Takes a frame for a page that somebody asks for, if the object may have one more.
    fn take_within_limit(&mut self, key: PageKey, payer: Payer) -> Result<FrameNo, Scope> {
        let object = self.object(key.object);
        if object.resident >= object.options.limit {
            return Err(Scope::Object(key.object));
        }
        self.take_frame(key, payer)
    }

    fn ahead_limits(&self, object: ObjectId, payer: Payer) -> Limits {
        Limits {
            longest: self.config.ahead_max.into(),
            room: self.allowance(object, payer),
            end: self.object(object).pages().end,
        }
    }

    /// The marker of a window was touched: what comes after.
    fn read_next_window(&mut self, key: PageKey, payer: Payer, plan: &mut Plan) {
        let limits = self.ahead_limits(key.object, payer);
        let ahead = self.object_mut(key.object).ahead.note_marker(key.page, limits);
        self.read_ahead((key.object, payer), ahead, plan);
    }

    fn read_ahead(&mut self, (object, payer): (ObjectId, Payer), ahead: Ahead, plan: &mut Plan) {
        match ahead {
            Ahead::Nothing => self.reserve.note_alone(),
            Ahead::Window { pages, markers } => {
                self.reserve.note_batch(pages.len().min(self.config.ahead_max.into()));
                for page in pages.intersect(self.object(object).pages()).iter() {
                    let no = self.read_ahead_page(PageKey { object, page }, payer, plan);
                    if let Some(no) = no.filter(|_| markers.has(page)) {
                        self.frames[no].kind = Kind::Marker;
                    }
                }
            }
            Ahead::Strided { first, stride, count } => {
                self.reserve.note_batch(count);
                for n in 0..count {
                    let page = first.0.checked_add_signed(stride * n as i64);
                    let page = page.map(faultless_addr::PageIndex);
                    let page = page.filter(|page| self.object(object).pages().contains(*page));
                    let Some(page) = page else { break };
                    self.read_ahead_page(PageKey { object, page }, payer, plan);
                }
            }
        }
    }

    /// Begins to read a page that nobody asked for, unless it is there or frames are short.
    pub(crate) fn read_ahead_page(
        &mut self,
        key: PageKey,
        payer: Payer,
        plan: &mut Plan,
    ) -> Option<FrameNo> {
        let lent = self.object(key.object).options.backing == Backing::Device;
        let there = self.lookup(key.object, key.page).is_some();
        if lent || there || self.allowance(key.object, payer) == 0 {
            return None;
        }
        let no = self.take_frame(key, payer).ok()?;
        self.stats.pages_ahead += 1;
        let source = self.pager_of(key.object);
        plan.push_read(key.object, key.page, no, source, self.config.run_max);
        Some(no)
    }
}
