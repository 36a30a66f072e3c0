//! Reports: a driver tells what has ended, and the engine goes on from there.

use faultless_addr::{FrameNo, ObjectId, PageIndex, SpaceId, VirtAddr, WriteAccess};

use crate::anon::{ANON, AnonId};
use crate::canary::Canary;
use crate::engine::{Engine, Leave};
use crate::frame::{Busy, Dirt, Kind, Site, State, Want};
use crate::object::{Backing, Failure, KeptError, OnError};
use crate::plan::{Leaver, Op, Plan, Source};
use crate::policy::{Arrival, Departure, PageKey};
use crate::shown::Translation;

/// How a read ended: this many pages from the run's start are good, the rest are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadEnd {
    /// Pages whose bytes are all there.
    pub good: u64,
    /// What befell the others.
    pub failure: Failure,
    /// The operating system's number for it.
    pub errno: i32,
}

impl ReadEnd {
    /// Every page is good.
    pub const GOOD: ReadEnd = ReadEnd { good: u64::MAX, failure: Failure::Read, errno: 0 };
}

impl Engine {
    /// Report: all of a plan but its reads and writes has been done, save that the pages of
    /// the frames in `stayed` are where they were. A driver that does one thing at a time
    /// reports each by itself instead.
    pub fn carried_out(&mut self, done: &Plan, stayed: &[FrameNo], plan: &mut Plan) {
        for leaver in &done.drop {
            self.unmapped(leaver, Leave::Drop, plan);
        }
        for leaver in &done.keep {
            match stayed.contains(&leaver.frame) {
                true => self.stayed(leaver, plan),
                false => self.unmapped(leaver, Leave::Keep, plan),
            }
        }
        for op in &done.ops {
            match *op {
                Op::Map { space, at, frames, write } => {
                    self.mapped(space, at, done.frames(frames), write, plan);
                }
                Op::Grant { space, at, frames } => {
                    self.granted(space, at, done.frames(frames), plan);
                }
                Op::Stop { space, at, frame } => self.stopped(space, at, frame, plan),
                Op::Copy { from, to, .. } => self.copied(from, to, plan),
                Op::Poison { space, at, frame } => self.poisoned(space, at, frame, plan),
                Op::Heal { space, range } => self.healed(space, range, plan),
                Op::StopRange { space, range } => self.range_stopped(space, range),
                Op::Wake { .. } | Op::Protect { .. } | Op::ClearAccessed { .. } => {}
                Op::Read { .. } | Op::Write { .. } => {}
            }
        }
    }

    /// Report: the frames of a run have been filled, or not.
    pub fn read_ended(
        &mut self,
        first: PageIndex,
        frames: &[FrameNo],
        end: ReadEnd,
        plan: &mut Plan,
    ) {
        for (n, no) in frames.iter().enumerate() {
            let key = self.frames[*no].key();
            debug_assert!(key.object == ANON || key.page == first.plus(n as u64), "{key:?}");
            self.end(*no, Busy::Reading);
            if (n as u64) < end.good {
                self.page_arrived(*no, plan);
            } else {
                self.page_failed(*no, end, plan);
            }
        }
    }

    fn page_arrived(&mut self, no: FrameNo, plan: &mut Plan) {
        let frame = &mut self.frames[no];
        frame.state = State::Resident;
        if frame.kind == Kind::Given {
            frame.kind = Kind::Plain;
            self.set_dirty(no);
        }
        let frame = &self.frames[no];
        let noted = frame.waited || self.others.contains_key(&no);
        let asked = frame.want != Want::Nothing || frame.is_pinned() || noted;
        let (key, kind, doomed) = (frame.key(), frame.kind, frame.doomed);
        let how = if asked { Arrival::Demand } else { Arrival::ReadAhead };
        self.policy.insert(no, key, how);
        if asked || doomed {
            self.settle(no, plan);
        } else if kind != Kind::Marker
            && let Some(site) = self.likely_site(key)
            && !self.is_mark_changing(site)
            && let Some(stores) = self.stores_at(no, site)
        {
            self.begin_map(no, site, stores, plan);
        }
    }

    /// The address where a page that was read ahead will be looked for.
    fn likely_site(&self, key: PageKey) -> Option<Site> {
        if key.object == ANON {
            return None;
        }
        let object = self.object(key.object);
        let mut addresses = object.windows.addresses(key.page);
        let (space, at) = addresses.next()?;
        if addresses.next().is_none() {
            return Some(Site::new(space, at));
        }
        let (site, page) = object.looked_at;
        let number = site.number().checked_add_signed(key.page.0 as i64 - page.0 as i64)?;
        (site != Site::NONE).then(|| Site::of_number(site.space(), number))
    }

    fn page_failed(&mut self, no: FrameNo, end: ReadEnd, plan: &mut Plan) {
        self.stats.read_errors += 1;
        let noted = self.others.contains_key(&no);
        let frame = &mut self.frames[no];
        let touched = frame.want != Want::Nothing;
        if frame.doomed || !(touched || noted || frame.waited || frame.is_pinned()) {
            frame.state = State::Failed;
            return self.settle_failed(no, plan);
        }
        let (key, pinned, held) = (frame.key(), frame.is_pinned(), frame.held);
        let backing = self.backing_of(key);
        let object = self.object_mut(backing);
        object.keep_error(KeptError { failure: end.failure, page: key.page, errno: end.errno });
        if touched && !pinned && object.options.on_error == OnError::Zeros {
            self.frames[no].kind = Kind::Substitute;
            self.begin(no, Busy::Reading, 1);
            plan.push_read(key.object, key.page, no, Source::Zeros, self.config.run_max);
            return;
        }
        self.frames[no].state = State::Failed;
        self.frames[no].want = Want::Nothing;
        if held {
            self.begin_poison(no, plan);
        } else {
            self.settle_failed(no, plan);
        }
    }

    /// The object whose pager holds a page: for anonymous ones, swap.
    fn backing_of(&self, key: PageKey) -> ObjectId {
        match &self.swap {
            Some(swap) if key.object == ANON => swap.object,
            _ => key.object,
        }
    }

    /// Report: frames are at their addresses.
    pub fn mapped(
        &mut self,
        space: SpaceId,
        at: VirtAddr,
        frames: &[FrameNo],
        write: WriteAccess,
        plan: &mut Plan,
    ) {
        for (n, no) in frames.iter().enumerate() {
            let site = Site::new(space, at.plus_pages(n as u64));
            let writable = write == WriteAccess::Allowed;
            self.end(*no, Busy::Mapping);
            self.translations.show(&mut self.frames, *no, Translation { site, writable });
            self.settle(*no, plan);
        }
    }

    /// Report: stores to these frames go through there.
    pub fn granted(&mut self, space: SpaceId, at: VirtAddr, frames: &[FrameNo], plan: &mut Plan) {
        for (n, no) in frames.iter().enumerate() {
            let site = Site::new(space, at.plus_pages(n as u64));
            self.end(*no, Busy::Granting);
            let now = Translation { site, writable: true };
            self.translations.show(&mut self.frames, *no, now);
            self.settle(*no, plan);
        }
    }

    /// Report: stores to a frame have been stopped at an address.
    pub fn stopped(&mut self, space: SpaceId, at: VirtAddr, no: FrameNo, plan: &mut Plan) {
        let now = Translation { site: Site::new(space, at), writable: false };
        self.translations.show(&mut self.frames, no, now);
        if self.end(no, Busy::Stopping) {
            self.settle(no, plan);
        }
    }

    /// Report: a mapped frame has left an address.
    pub fn unmapped(&mut self, leaver: &Leaver, then: Leave, plan: &mut Plan) {
        let (no, site) = (leaver.frame, Site::new(leaver.space, leaver.at));
        self.translations.hide(&mut self.frames, no, site);
        self.closing.remove(&(site, no));
        if self.end(no, Busy::Leaving) {
            if self.has(Canary::LostDirty) && self.stats.second_chances % 16 == 15 {
                self.set_clean(no);
            }
            self.left(no, then, plan);
        }
    }

    /// Report: a page that was to be kept aside could not leave its address, because
    /// somebody's direct I/O has pinned it. It is there as before.
    pub fn stayed(&mut self, leaver: &Leaver, plan: &mut Plan) {
        if self.end(leaver.frame, Busy::Leaving) {
            self.left(leaver.frame, Leave::Keep, plan);
        }
    }

    fn left(&mut self, no: FrameNo, then: Leave, plan: &mut Plan) {
        match then {
            Leave::Keep => self.settle(no, plan),
            Leave::Drop => self.dropped(no, plan),
        }
    }

    /// The bytes are gone. Whoever wanted the page meanwhile gets it read again.
    fn dropped(&mut self, no: FrameNo, plan: &mut Plan) {
        let frame = &mut self.frames[no];
        if core::mem::take(&mut frame.leaving) {
            self.departing -= 1;
        }
        let wanted = frame.want != Want::Nothing || frame.is_pinned();
        let key = frame.key();
        if !wanted || frame.doomed {
            let why = if frame.doomed { Departure::Dropped } else { Departure::Evicted };
            return self.forget(no, why, plan);
        }
        self.policy.remove(no, key, Departure::Evicted);
        self.stats.evictions += 1;
        self.frames[no].state = State::Reading;
        self.frames[no].kind = Kind::Plain;
        self.begin(no, Busy::Reading, 1);
        self.stats.pages_demanded += 1;
        if let Some(id) = AnonId::of(key) {
            return self.push_anon_read(id, no, plan);
        }
        let source = match self.object(key.object).options.backing {
            Backing::Pager => self.pager_of(key.object),
            Backing::Zeros => Source::Zeros,
            Backing::Device => unreachable!("a device's frames are not dropped"),
        };
        plan.push_read(key.object, key.page, no, source, self.config.run_max);
    }

    /// Report: a run has been written, or not. Pages that could not be written stay dirty.
    pub fn write_ended(
        &mut self,
        object: ObjectId,
        first: PageIndex,
        frames: &[FrameNo],
        result: Result<(), (Failure, i32)>,
        plan: &mut Plan,
    ) {
        self.stats.runs_written += 1;
        match result {
            Ok(()) => self.stats.pages_written += frames.len() as u64,
            Err((failure, errno)) => {
                self.stats.write_errors += 1;
                let object = self.object_mut(object);
                object.keep_error(KeptError { failure, page: first, errno });
                object.write_failed = true;
            }
        }
        if result.is_ok() {
            self.object_mut(object).write_failed = false;
            self.forget_refusals(object);
        }
        for no in frames {
            self.end(*no, Busy::Writing);
            match result {
                Ok(()) => {
                    self.set_clean(*no);
                    self.drop_if_torn(*no);
                }
                Err(_) => self.note_refused(*no),
            }
            self.written(*no, plan);
        }
        self.go_on_sweeping(plan);
    }

    /// A page could not be written: it is the turn of others before its.
    fn note_refused(&mut self, no: FrameNo) {
        let now = self.now;
        let frame = &mut self.frames[no];
        (frame.dirt, frame.dirty_since) = (Dirt::Refused, now);
        if AnonId::of(frame.key()).is_some()
            && let Some(swap) = &mut self.swap
        {
            swap.refused.insert(no);
        }
    }

    /// A page that was cut while it was dirty is written up to the end now: it goes, and with
    /// it what it has behind the end. Under a pin it stays, for it may be stored to again.
    fn drop_if_torn(&mut self, no: FrameNo) {
        if self.frames[no].kind == Kind::Torn {
            self.recall(no);
            if !self.frames[no].is_pinned() {
                self.doom(no);
            }
        }
    }

    /// Report: what was written of an object could not be made durable. Every mapping is
    /// to be told, by whosever flush it was found.
    pub fn sync_failed(&mut self, object: ObjectId, first: PageIndex, errno: i32) {
        self.stats.write_errors += 1;
        let error = KeptError { failure: Failure::Sync, page: first, errno };
        self.object_mut(object).keep_error(error);
    }

    /// A page chosen to leave does, now that it is clean and if nobody came back for it.
    fn written(&mut self, no: FrameNo, plan: &mut Plan) {
        let frame = &mut self.frames[no];
        let leaving = frame.leaving;
        let wanted = frame.want != Want::Nothing || frame.is_pinned();
        if leaving && !wanted && !frame.is_dirty() && !frame.doomed {
            if frame.is_mapped() {
                return self.begin_leave(no, Leave::Drop, plan);
            }
            frame.leaving = false;
            self.departing -= 1;
            return self.forget(no, Departure::Evicted, plan);
        }
        if leaving {
            frame.leaving = false;
            self.departing -= 1;
        }
        self.settle(no, plan);
    }
}
