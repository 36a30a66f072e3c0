//! Page faults: what an access that a machine could not translate leads to.
//!
//! ```text
//!   1 where          1a no area                          SIGSEGV, MAPERR
//!                    1b the area forbids it              SIGSEGV, ACCERR
//!                    1c beyond the object's end          SIGBUS (or zeros, if chosen)
//!   2 absent         2a a frame is free                  read it, and ahead of it
//!                    2b none is                          reclaim, then come again
//!                    2c no backing                       zeros
//!   3 in memory      3a busy                             join: say what is wanted, wait
//!                    3b its bytes could not be had       SIGBUS
//!                    3c aside                            map it: the minor fault
//!                    3d aside, a window's marker         map it, and read ahead
//!                    3e mapped, store to a clean page    dirty now, let stores through
//!                    3f mapped, and nothing forbids it   somebody was quicker: try again
//! ```
//!
//! A fault never blocks. It changes the page's state, adds to the plan, and says
//! whether the access can be tried again once the plan is carried out.

use faultless_addr::{Access, FrameNo, ObjectId, PageIndex, SpaceId, VirtAddr, VirtRange};

use crate::engine::{Engine, Scope};
use crate::frame::State;
use crate::object::readahead::Ahead;
use crate::object::{Backing, Failure, KeptError, OnError, Rights};
use crate::plan::{Op, Plan, Source};
use crate::policy::PageKey;
use crate::signal::Signal;
use crate::space::Backing as AreaBacking;

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
        let (object, page) = match self.find(space, addr, access) {
            Ok(place) => place,
            Err(signal) => return self.refuse(signal),
        };
        if !self.object(object).pages().contains(page) {
            return self.fault_beyond_end(
                PageKey { object, page },
                space,
                addr,
                access,
                waiter,
                plan,
            );
        }
        match self.lookup(object, page) {
            None => self.fault_absent(PageKey { object, page }, access, waiter, plan),
            Some(no) => self.fault_cached(no, space, addr, access, waiter, plan),
        }
    }

    /// Case 1: which page is meant, and is the access allowed?
    fn find(
        &self,
        space: SpaceId,
        addr: VirtAddr,
        access: Access,
    ) -> Result<(ObjectId, PageIndex), Signal> {
        let area = self.spaces[space.index()].find(addr).ok_or(Signal::SegvMapErr)?;
        let AreaBacking::Object { object, .. } = area.backing else {
            return Err(Signal::SegvMapErr);
        };
        if !area.prot.allows(access) {
            return Err(Signal::SegvAccErr);
        }
        let refused =
            access == Access::Write && self.object(object).options.rights == Rights::ReadOnly;
        let page = area.page_at(addr).ok_or(Signal::SegvMapErr)?;
        if refused { Err(Signal::SegvAccErr) } else { Ok((object, page)) }
    }

    fn refuse(&mut self, signal: Signal) -> Outcome {
        self.stats.signals += 1;
        Outcome::Signal(signal)
    }

    /// Case 1c.
    fn fault_beyond_end(
        &mut self,
        key: PageKey,
        space: SpaceId,
        addr: VirtAddr,
        access: Access,
        waiter: Waiter,
        plan: &mut Plan,
    ) -> Outcome {
        let object = self.object_mut(key.object);
        if object.options.on_error == OnError::Signal {
            return self.refuse(Signal::Bus);
        }
        object.keep_error(KeptError { failure: Failure::Shrunk, page: key.page, errno: EIO });
        if let Some(no) = self.lookup(key.object, key.page) {
            return self.fault_cached(no, space, addr, access, waiter, plan);
        }
        let Some(no) = self.take_frame(key) else { return self.no_frame(Scope::All) };
        self.frames[no].substitute = true;
        plan.push_read(key.object, key.page, no, Source::Zeros, self.config.run_max);
        self.want(no, access, waiter, plan)
    }

    /// Case 2.
    fn fault_absent(
        &mut self,
        key: PageKey,
        access: Access,
        waiter: Waiter,
        plan: &mut Plan,
    ) -> Outcome {
        match self.start_read(key, plan) {
            Ok(no) => {
                self.stats.faults_major += 1;
                self.want(no, access, waiter, plan)
            }
            Err(scope) => self.no_frame(scope),
        }
    }

    /// Case 3.
    fn fault_cached(
        &mut self,
        no: FrameNo,
        space: SpaceId,
        addr: VirtAddr,
        access: Access,
        waiter: Waiter,
        plan: &mut Plan,
    ) -> Outcome {
        // Whoever runs into a marker that is still on its way is faster than the backing:
        // all the more reason to ask for the window after.
        if core::mem::take(&mut self.frames[no].marker) {
            self.read_next_window(self.frames[no].key(), plan);
        }
        let frame = &self.frames[no];
        if !frame.is_idle() {
            self.stats.faults_joined += u64::from(waiter != Waiter::Again);
            return self.want(no, access, waiter, plan);
        }
        if frame.state == State::Failed {
            // Whoever was told makes room for the next attempt.
            self.frames[no].waited = false;
            self.settle_failed(no, plan);
            return self.refuse(Signal::Bus);
        }
        let enough = frame.mapped && (access != Access::Write || frame.writable);
        if enough {
            self.stats.faults_spurious += u64::from(waiter != Waiter::Again);
            if waiter == Waiter::Machine {
                let range = VirtRange::page(addr.page_start());
                plan.ops.push(Op::Wake { space, range });
            }
            return Outcome::Resolved;
        }
        let key = frame.key();
        if frame.substitute && access == Access::Write {
            let error = KeptError { failure: Failure::Write, page: key.page, errno: EIO };
            self.object_mut(key.object).keep_error(error);
        }
        let frame = &self.frames[no];
        if frame.mapped {
            self.stats.faults_write += 1;
        } else {
            self.stats.faults_minor += 1;
        }
        let outcome = self.want(no, access, waiter, plan);
        self.settle(no, plan);
        outcome
    }

    /// Notes what the fault needs of a frame, to be served when it settles.
    fn want(&mut self, no: FrameNo, access: Access, waiter: Waiter, plan: &mut Plan) -> Outcome {
        let frame = &mut self.frames[no];
        match access {
            Access::Write => frame.want_write = true,
            Access::Read | Access::Execute => frame.want_read = true,
        }
        match waiter {
            Waiter::Machine => frame.held = true,
            Waiter::Caller | Waiter::Again => frame.waited = true,
        }
        let _ = plan;
        Outcome::Waiting(no)
    }

    fn no_frame(&mut self, scope: Scope) -> Outcome {
        self.starved = true;
        Outcome::NoFrame(scope)
    }

    /// How many frames may be spent on pages that nobody has asked for yet.
    fn allowance(&self, object: ObjectId) -> u64 {
        let object = self.object(object);
        let own = object.options.limit.saturating_sub(object.resident) / 2;
        let free = self.frames.free().saturating_sub(self.water_low() / 2);
        u64::from(own.min(free))
    }

    /// Takes a frame for an absent page and begins to read it, its granule, and
    /// what is likely to be needed next.
    pub(crate) fn start_read(&mut self, key: PageKey, plan: &mut Plan) -> Result<FrameNo, Scope> {
        let object = self.object(key.object);
        if object.resident >= object.options.limit {
            return Err(Scope::Object(key.object));
        }
        let granule = object.granule_of(key.page);
        let zeros = object.options.backing == Backing::Zeros;
        let no = self.take_frame(key).ok_or(Scope::All)?;
        self.stats.pages_demanded += 1;
        if zeros {
            plan.push_read(key.object, key.page, no, Source::Zeros, self.config.run_max);
            return Ok(no);
        }
        let longest = self.allowance(key.object).min(u64::from(self.config.ahead_max));
        let ahead = self.object_mut(key.object).ahead.note(key.page, longest);
        for page in granule.iter() {
            if page == key.page {
                plan.push_read(key.object, page, no, Source::Pager, self.config.run_max);
            } else {
                self.read_ahead_page(PageKey { page, ..key }, plan);
            }
        }
        self.read_ahead(key.object, ahead, plan);
        Ok(no)
    }

    /// The marker of a window was touched: the window after it.
    fn read_next_window(&mut self, key: PageKey, plan: &mut Plan) {
        let longest = self.allowance(key.object).min(u64::from(self.config.ahead_max));
        let ahead = self.object_mut(key.object).ahead.note_marker(key.page, longest);
        self.read_ahead(key.object, ahead, plan);
    }

    fn read_ahead(&mut self, object: ObjectId, ahead: Ahead, plan: &mut Plan) {
        match ahead {
            Ahead::Nothing => {}
            Ahead::Window { pages, marker } => {
                for page in pages.intersect(self.object(object).pages()).iter() {
                    let no = self.read_ahead_page(PageKey { object, page }, plan);
                    if let Some(no) = no.filter(|_| page == marker) {
                        self.frames[no].marker = true;
                    }
                }
            }
            Ahead::Strided { first, stride, count } => {
                for n in 0..count {
                    let page = first.0.checked_add_signed(stride * n as i64).map(PageIndex);
                    let page = page.filter(|page| self.object(object).pages().contains(*page));
                    let Some(page) = page else { break };
                    self.read_ahead_page(PageKey { object, page }, plan);
                }
            }
        }
    }

    /// Begins to read a page that nobody asked for, unless it is there or frames are short.
    pub(crate) fn read_ahead_page(&mut self, key: PageKey, plan: &mut Plan) -> Option<FrameNo> {
        if self.lookup(key.object, key.page).is_some() || self.allowance(key.object) == 0 {
            return None;
        }
        let no = self.take_frame(key)?;
        self.stats.pages_ahead += 1;
        plan.push_read(key.object, key.page, no, Source::Pager, self.config.run_max);
        Some(no)
    }
}
