//! Pins: pages brought in and held at their addresses while a guard lives.
//!
//! A pin needs no fault and reports what goes wrong as a value. It takes its
//! pages one after the other (a page taken can't leave any more), then waits
//! until all are mapped. Pins never take so many frames that faults could not
//! make progress: a pin that doesn't fit is refused at once.

use alloc::sync::Arc;

use faultless_addr::{Access, FrameNo, ObjectId, PageIndex, PageRange, SpaceId};

use crate::account::Payer;
use crate::engine::{Engine, Scope};
use crate::fault::{Touch, Waiter};
use crate::frame::{Busy, Kind, Site, State, Want};
use crate::object::Rights;
use crate::pass::Passes;
use crate::plan::{Plan, Source};
use crate::policy::PageKey;

/// What the guard's holder will do with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinFor {
    /// Read them. Several such pins may hold a page.
    Read,
    /// Write them. No other pin may hold the page.
    Write,
}

/// A pin that is being made, or holds.
#[derive(Debug)]
pub struct Pin {
    /// The object.
    pub object: ObjectId,
    /// The pages.
    pub pages: PageRange,
    /// What for.
    pub purpose: PinFor,
    /// Pages taken so far, from the first on.
    taken: u64,
    /// The budget has set the pages aside.
    admitted: bool,
    /// Whose account pages count on that it brings in.
    space: Option<SpaceId>,
    hold: Hold,
    /// Pages that needn't be read: their bytes are given, once all others are there.
    given: PageRange,
}

const NONE: PageRange = PageRange { start: PageIndex(0), end: PageIndex(0) };

/// How a pin holds its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// The engine has counted it.
    Itself,
    /// It is in the pass of its page, which the engine has counted.
    ByPass,
    /// It was the last in a recalled pass, which the engine is to end.
    LastOfPass,
}

impl Pin {
    /// A pin that holds nothing yet.
    #[inline]
    pub fn new(object: ObjectId, pages: PageRange, purpose: PinFor) -> Pin {
        Pin {
            object,
            pages,
            purpose,
            taken: 0,
            admitted: false,
            space: None,
            hold: Hold::Itself,
            given: NONE,
        }
    }

    /// Its holder has the bytes of these pages, and stores all of them: those that are not in
    /// memory are not read, but get them ([`Source::Given`](crate::Source)) when nothing else
    /// is in the way of the pin, so that nobody sees anything else there.
    pub fn giving(self, pages: PageRange) -> Pin {
        debug_assert!(self.purpose == PinFor::Write, "who gives bytes writes");
        debug_assert!(self.pages.start <= pages.start && pages.end <= self.pages.end);
        Pin { given: pages, ..self }
    }

    /// The pages whose bytes are still to be [given](Self::giving).
    pub fn given(&self) -> PageRange {
        self.given
    }

    /// A pin of one page for reading that holds already, if the page has a pass: without the
    /// engine.
    #[inline]
    pub fn by_pass(passes: &Passes, object: ObjectId, pages: PageRange) -> Option<Pin> {
        let pin = Pin { taken: 1, hold: Hold::ByPass, ..Pin::new(object, pages, PinFor::Read) };
        (pages.len() == 1 && passes.take(pin.first())).then_some(pin)
    }

    /// Ends a pin without the engine, if it holds by a pass. Where that is not all, the answer
    /// is no, and [`Engine::unpin`] goes on.
    #[inline]
    pub fn leave(&mut self, passes: &Passes) -> bool {
        if self.hold != Hold::ByPass {
            return false;
        }
        let last = passes.give_back(self.first());
        self.hold = if last { Hold::LastOfPass } else { Hold::Itself };
        self.taken = 0;
        !last
    }

    /// The `n`-th page to take: those that are given come first, before what is read ahead of
    /// others can be among them.
    fn page(&self, n: u64) -> PageIndex {
        let given = self.given.len();
        match n {
            n if n < given => self.given.start.plus(n),
            n if self.pages.start.plus(n - given) < self.given.start => {
                self.pages.start.plus(n - given)
            }
            n => self.pages.start.plus(n),
        }
    }

    #[inline]
    fn first(&self) -> PageKey {
        PageKey { object: self.object, page: self.pages.start }
    }

    /// What it brings in counts as if the space had.
    pub fn on_account_of(self, space: SpaceId) -> Pin {
        Pin { space: Some(space), ..self }
    }
}

/// Why a pin was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinError {
    /// The page lies beyond the object's end.
    BeyondEnd(PageIndex),
    /// Its bytes could not be had; the object's kept error says why.
    Failed(PageIndex),
    /// Another pin holds it in a way that excludes this one.
    Conflict(PageIndex),
    /// The object can't be written.
    ReadOnly,
    /// The rights of its address don't allow it (mprotect(2)).
    Denied(PageIndex),
    /// More pages than pins may hold: so many are left.
    NoRoom {
        /// Pages that a pin could still hold.
        left: u64,
    },
}

/// How a pin stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinStep {
    /// It holds: every page is at its address.
    Held,
    /// This frame has to settle first; then come again.
    Wait(FrameNo),
    /// A frame has to become free first; then come again.
    NoFrame(Scope),
    /// It can't be; nothing is held.
    Refused(PinError),
}

/// Of so many frames, how many pins may hold; the rest is for faults.
fn pins_max(frames: u32) -> u32 {
    frames - (frames / 8).max(4).min(frames.div_ceil(2))
}

impl Engine {
    /// The most frames that pins may hold.
    pub fn pins_max(&self) -> u32 {
        pins_max(self.frames.count())
    }

    /// Pages that pins and locks may still hold: what they leave is for faults.
    pub fn pages_left_to_hold(&self) -> u64 {
        let locked: u64 = self.spaces.iter().map(|space| space.locked_pages()).sum();
        u64::from(self.pins_max().saturating_sub(self.pinned)).saturating_sub(locked)
    }

    fn pages_left_to_pin(&self, id: ObjectId) -> u64 {
        let object = self.object(id);
        let own = pins_max(object.options.limit).saturating_sub(object.pinned);
        self.pages_left_to_hold().min(u64::from(own))
    }

    /// Goes on with a pin: to be called again after the plan, until it holds or is refused.
    pub fn pin_step(&mut self, pin: &mut Pin, plan: &mut Plan) -> PinStep {
        let step = self.try_pin(pin, plan);
        if let PinStep::Refused(_) = step {
            self.unpin(pin, plan);
        }
        step
    }

    /// Holds a pin of one page that is where it has to be: nothing is to be done for it, nor
    /// waited for. Else nothing has happened, and the way is [`pin_step`](Self::pin_step).
    pub fn pin_at_once(&mut self, pin: &mut Pin) -> bool {
        let key = pin.first();
        if pin.pages.len() != 1 {
            return false;
        }
        let Some(no) = self.lookup(key.object, key.page) else { return false };
        self.recall_for(pin.purpose, no);
        let frame = &self.frames[no];
        let free = match pin.purpose {
            PinFor::Read => !frame.pinned_for_write && frame.pins < u16::MAX,
            PinFor::Write => !frame.is_pinned(),
        };
        let whole = frame.state == State::Resident && !frame.doomed && !frame.is_substitute();
        let there = |site| self.shown_for(no, site, pin.purpose);
        let ready = free && whole && self.home(key).is_some_and(there);
        if !ready || !self.is_allowed(key, pin.purpose) || self.admit(pin).is_err() {
            return false;
        }
        self.take(no, pin.purpose);
        pin.taken = 1;
        if pin.purpose == PinFor::Read {
            self.open_pass(pin);
        }
        true
    }

    /// Makes a pin that holds its page the page's pass's, if it can have one.
    fn open_pass(&mut self, pin: &mut Pin) {
        let key = pin.first();
        // Whoever comes in by a pass doesn't look where the object ends.
        if key.page.next().offset() > self.object(key.object).options.size {
            return;
        }
        let Some(other) = self.passes.open(key) else { return };
        if let Some(other) = other {
            self.pass_ended(other);
        }
        (pin.hold, pin.admitted) = (Hold::ByPass, false);
    }

    /// The passes, by which pages are pinned and let go again without the engine.
    pub fn passes(&self) -> Arc<Passes> {
        self.passes.clone()
    }

    /// Sees to it that no pass pins the page in a frame, if it can be: nobody else gets in,
    /// and the last who is in ends it.
    pub(crate) fn recall(&mut self, no: FrameNo) {
        let frame = &self.frames[no];
        // The last one in a doomed page's pass sees to its end, which is the page's.
        if frame.pins > 0 && !frame.doomed && self.passes.recall(frame.key()) {
            self.pass_ended(frame.key());
        }
    }

    /// Ends the passes that nobody uses: pages may be pinned or locked in place of theirs.
    pub fn recall_idle(&mut self) {
        let passes = self.passes.clone();
        for key in passes.idle() {
            if let Some(no) = self.lookup(key.object, key.page) {
                self.recall(no);
            }
        }
    }

    fn pass_ended(&mut self, key: PageKey) -> FrameNo {
        let no = self.lookup(key.object, key.page).expect("a pinned page stays");
        self.frames[no].pins -= 1;
        self.pinned -= 1;
        self.object_mut(key.object).pinned -= 1;
        no
    }

    /// A pin of the frame has ended.
    fn unpinned(&mut self, no: FrameNo, plan: &mut Plan) {
        let frame = &mut self.frames[no];
        if frame.state == State::Failed {
            frame.waited = false;
        }
        let asked = frame.doomed || frame.state == State::Failed || frame.waited;
        // A store that has to go to a copy waits for the pin's end.
        if asked || self.others.contains_key(&no) {
            self.settle(no, plan);
        }
    }

    /// Is a page at its home in a way that a pin can use, and does it stay there?
    fn shown_for(&self, no: FrameNo, site: Site, purpose: PinFor) -> bool {
        let frame = &self.frames[no];
        let here = self.shown_at(no, site);
        match purpose {
            PinFor::Read => {
                let stays = matches!(
                    frame.busy,
                    Busy::Idle | Busy::Writing | Busy::Granting | Busy::Copying | Busy::Stopping
                );
                here.is_some() && stays
            }
            PinFor::Write => here.is_some_and(|it| it.writable) && frame.is_idle(),
        }
    }

    /// A pin for writing must be the only one.
    fn recall_for(&mut self, purpose: PinFor, no: FrameNo) {
        if purpose == PinFor::Write {
            self.recall(no);
        }
    }

    fn take(&mut self, no: FrameNo, purpose: PinFor) {
        match purpose {
            PinFor::Read => self.frames[no].pins += 1,
            PinFor::Write => self.frames[no].pinned_for_write = true,
        }
    }

    fn try_pin(&mut self, pin: &mut Pin, plan: &mut Plan) -> PinStep {
        if let Err(error) = self.admit(pin) {
            return PinStep::Refused(error);
        }
        while pin.taken < pin.pages.len() {
            let page = pin.page(pin.taken);
            let payer = pin.space.and_then(|space| self.accounts.payer(space));
            let key = PageKey { object: pin.object, page };
            match self.pin_page(key, payer, (pin.purpose, pin.given), plan) {
                Ok(()) => pin.taken += 1,
                Err(step) => return step,
            }
        }
        // A page may be no more by now, as the object's end has moved: it is had anew.
        let mut frames = pin.pages.iter().filter_map(|page| self.lookup(pin.object, page));
        if frames.any(|no| self.frames[no].doomed) {
            self.let_go_of_pages(pin, plan);
            return self.try_pin(pin, plan);
        }
        let asked = match self.ask(pin, plan) {
            Ok(None) if self.give(pin, plan) => self.ask(pin, plan),
            asked => asked,
        };
        match asked {
            Ok(waits) => waits.map_or(PinStep::Held, PinStep::Wait),
            Err(error) => PinStep::Refused(error),
        }
    }

    /// Asks for every page before the first is waited for, but for those that wait for us.
    fn ask(&mut self, pin: &Pin, plan: &mut Plan) -> Result<Option<FrameNo>, PinError> {
        let mut waits = None;
        for page in pin.pages.iter() {
            let key = PageKey { object: pin.object, page };
            if self.to_be_given(pin, page).is_none() {
                waits = waits.or(self.pinned_page(key, pin.purpose, plan)?);
            }
        }
        Ok(waits)
    }

    /// Has the pages filled whose bytes the pin gives; are there any? From here on they are
    /// as if they had been stored.
    fn give(&mut self, pin: &mut Pin, plan: &mut Plan) -> bool {
        let mut any = false;
        for page in pin.given.iter() {
            if let Some(no) = self.to_be_given(pin, page) {
                any = true;
                self.frames[no].kind = Kind::Given;
                plan.push_read(pin.object, page, no, Source::Given, self.config.run_max);
            }
        }
        pin.given = NONE;
        any
    }

    /// The frame of a page of a pin if nothing fills it before the pin does.
    fn to_be_given(&self, pin: &Pin, page: PageIndex) -> Option<FrameNo> {
        if !pin.given.contains(page) {
            return None;
        }
        let no = self.lookup(pin.object, page).expect("a pinned page stays");
        (self.frames[no].kind == Kind::ToBeGiven).then_some(no)
    }

    /// Checks bounds and rights, and sets frames of the budget aside.
    fn admit(&mut self, pin: &mut Pin) -> Result<(), PinError> {
        let object = self.object(pin.object);
        let end = object.pages().end;
        if pin.pages.end > end {
            return Err(PinError::BeyondEnd(end.max(pin.pages.start)));
        }
        if pin.admitted {
            return Ok(());
        }
        if pin.purpose == PinFor::Write && object.options.rights == Rights::ReadOnly {
            return Err(PinError::ReadOnly);
        }
        let mut left = self.pages_left_to_pin(pin.object);
        if pin.pages.len() > left {
            self.recall_idle();
            left = self.pages_left_to_pin(pin.object);
        }
        if pin.pages.len() > left {
            return Err(PinError::NoRoom { left });
        }
        self.pinned += pin.pages.len() as u32;
        self.object_mut(pin.object).pinned += pin.pages.len() as u32;
        pin.admitted = true;
        Ok(())
    }

    /// Takes one page, beginning to read it where it is absent.
    fn pin_page(
        &mut self,
        key: PageKey,
        payer: Payer,
        (purpose, given): (PinFor, PageRange),
        plan: &mut Plan,
    ) -> Result<(), PinStep> {
        if !self.is_allowed(key, purpose) {
            return Err(PinStep::Refused(PinError::Denied(key.page)));
        }
        let no = match self.lookup(key.object, key.page) {
            Some(no) => no,
            None => {
                let started = match given.contains(key.page) {
                    true => self.start_given(key, payer),
                    false => self.start_read(key, payer, plan),
                };
                started.map_err(|scope| {
                    self.starved = true;
                    PinStep::NoFrame(scope)
                })?
            }
        };
        self.recall_for(purpose, no);
        let frame = &mut self.frames[no];
        let conflict = match purpose {
            PinFor::Read => frame.pinned_for_write || frame.pins == u16::MAX,
            PinFor::Write => frame.is_pinned(),
        };
        if conflict {
            return Err(PinStep::Refused(PinError::Conflict(key.page)));
        }
        if frame.doomed {
            frame.waited = true;
            return Err(PinStep::Wait(no));
        }
        self.take(no, purpose);
        Ok(())
    }

    /// Is a taken page ready? Else says what is wanted of it, and which frame to wait for.
    fn pinned_page(
        &mut self,
        key: PageKey,
        purpose: PinFor,
        plan: &mut Plan,
    ) -> Result<Option<FrameNo>, PinError> {
        let no = self.lookup(key.object, key.page).expect("a pinned page stays");
        let frame = &self.frames[no];
        if frame.is_substitute() || (frame.state == State::Failed && frame.is_idle()) {
            return Err(PinError::Failed(key.page));
        }
        let idle = frame.is_idle();
        let Some(site) = self.home(key) else { return Err(PinError::BeyondEnd(key.page)) };
        if self.shown_for(no, site, purpose) {
            return Ok(None);
        }
        let access = match purpose {
            PinFor::Read => Access::Read,
            PinFor::Write => Access::Write,
        };
        if idle
            && purpose == PinFor::Write
            && let Some(by) = self.barred(site)
        {
            self.frames[by].waited = true;
            return Ok(Some(by));
        }
        if idle {
            self.frames[no].waited = true;
            self.serve(no, site, Want::of(access), plan);
        } else {
            self.want(no, Touch { site, access, waiter: Waiter::Caller });
        }
        Ok(Some(no))
    }

    fn let_go_of_pages(&mut self, pin: &mut Pin, plan: &mut Plan) {
        for page in (0..core::mem::take(&mut pin.taken)).map(|n| pin.page(n)) {
            let no = self.lookup(pin.object, page).expect("a pinned page stays");
            let frame = &mut self.frames[no];
            match pin.purpose {
                PinFor::Read => frame.pins -= 1,
                PinFor::Write => frame.pinned_for_write = false,
            }
            if self.to_be_given(pin, page).is_some() {
                self.forgo(pin.object, page, no, plan);
            }
            self.unpinned(no, plan);
        }
    }

    /// Nobody gives the page its bytes after all: it goes, and who waits for it has it read.
    fn forgo(&mut self, object: ObjectId, page: PageIndex, no: FrameNo, plan: &mut Plan) {
        self.frames[no].kind = Kind::Plain;
        self.doom(no);
        plan.push_read(object, page, no, Source::Zeros, self.config.run_max);
    }

    /// Do the rights of its address let a page be pinned? They stay as long as it is.
    fn is_allowed(&self, key: PageKey, purpose: PinFor) -> bool {
        let access = match purpose {
            PinFor::Read => Access::Read,
            PinFor::Write => Access::Write,
        };
        let site = self.home(key);
        let area = site.and_then(|site| self.spaces[site.space().index()].find(site.at()));
        area.is_none_or(|area| area.prot.allows(access))
    }

    /// The address where pins show a page of an object.
    pub(crate) fn home(&self, key: PageKey) -> Option<Site> {
        let (space, at) = self.object(key.object).windows.addresses(key.page).next()?;
        Some(Site::new(space, at))
    }

    /// Ends a pin, whether it holds or was still being made.
    pub fn unpin(&mut self, pin: &mut Pin, plan: &mut Plan) {
        if pin.leave(&self.passes) {
            return;
        }
        let mut ended = false;
        if pin.hold == Hold::LastOfPass && self.passes.end(pin.first()) {
            let no = self.pass_ended(pin.first());
            self.unpinned(no, plan);
            ended = true;
        }
        pin.hold = Hold::Itself;
        self.let_go_of_pages(pin, plan);
        pin.given = NONE;
        if core::mem::take(&mut pin.admitted) {
            self.pinned -= pin.pages.len() as u32;
            self.object_mut(pin.object).pinned -= pin.pages.len() as u32;
            ended = true;
        }
        if ended && core::mem::take(&mut self.starved) {
            plan.wakes.frames = true;
        }
    }
}
