//! Reports: a driver tells what has ended, and the engine goes on from there.

use faultless_addr::{FrameNo, ObjectId, PageIndex, WriteAccess};

use crate::engine::{Engine, Leave};
use crate::frame::{Busy, State};
use crate::object::{Backing, Failure, KeptError, OnError};
use crate::plan::{Plan, Source};
use crate::policy::{Arrival, Departure};

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
    /// Report: the frames of a run have been filled, or not.
    pub fn read_ended(
        &mut self,
        first: PageIndex,
        frames: &[FrameNo],
        end: ReadEnd,
        plan: &mut Plan,
    ) {
        for (n, no) in frames.iter().enumerate() {
            debug_assert_eq!(self.frames[*no].page, first.plus(n as u64));
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
        let asked = frame.want_read || frame.want_write || frame.is_pinned();
        let (key, marker, doomed) = (frame.key(), frame.marker, frame.doomed);
        let how = if asked { Arrival::Demand } else { Arrival::ReadAhead };
        self.policy.insert(no, key, how);
        if asked || doomed {
            self.settle(no, plan);
        } else if !marker
            && !self.object(key.object).windows.is_empty()
            && !self.is_mark_changing(key)
        {
            self.begin_map(no, self.write_access(no), plan);
        }
    }

    fn page_failed(&mut self, no: FrameNo, end: ReadEnd, plan: &mut Plan) {
        self.stats.read_errors += 1;
        let frame = &self.frames[no];
        let touched = frame.want_read || frame.want_write;
        if frame.doomed || !(touched || frame.waited || frame.is_pinned()) {
            self.frames[no].state = State::Failed;
            return self.settle_failed(no, plan);
        }
        let (key, pinned, held) = (frame.key(), frame.is_pinned(), frame.held);
        let object = self.object_mut(key.object);
        object.keep_error(KeptError { failure: end.failure, page: key.page, errno: end.errno });
        if touched && !pinned && object.options.on_error == OnError::Zeros {
            self.frames[no].substitute = true;
            self.frames[no].busy = Busy::Reading;
            self.in_flight += 1;
            plan.push_read(key.object, key.page, no, Source::Zeros, self.config.run_max);
            return;
        }
        self.frames[no].state = State::Failed;
        if held {
            self.begin_poison(no, plan);
        } else {
            self.settle_failed(no, plan);
        }
    }

    /// Report: frames are at their addresses.
    pub fn mapped(&mut self, frames: &[FrameNo], write: WriteAccess, plan: &mut Plan) {
        for no in frames {
            if self.frames[*no].busy == Busy::Idle {
                continue; // Shown in several windows: one report is enough.
            }
            self.end(*no, Busy::Mapping);
            self.frames[*no].mapped = true;
            self.frames[*no].writable = write == WriteAccess::Allowed;
            self.settle(*no, plan);
        }
    }

    /// Report: stores to these frames go through.
    pub fn granted(&mut self, frames: &[FrameNo], plan: &mut Plan) {
        for no in frames {
            if self.frames[*no].busy == Busy::Idle {
                continue;
            }
            self.end(*no, Busy::Granting);
            self.frames[*no].writable = true;
            self.settle(*no, plan);
        }
    }

    /// Report: a mapped frame is at no address any more.
    pub fn unmapped(&mut self, no: FrameNo, then: Leave, plan: &mut Plan) {
        if self.frames[no].busy == Busy::Idle {
            return;
        }
        self.end(no, Busy::Leaving);
        self.frames[no].mapped = false;
        self.frames[no].writable = false;
        match then {
            Leave::Keep => self.settle(no, plan),
            Leave::Drop => self.dropped(no, plan),
        }
    }

    /// Report: a page that was to be kept aside could not leave its address, because
    /// somebody's direct I/O has pinned it. It is as it was before.
    pub fn stayed(&mut self, no: FrameNo, plan: &mut Plan) {
        self.end(no, Busy::Leaving);
        self.settle(no, plan);
    }

    /// The bytes are gone. Whoever wanted the page meanwhile gets it read again.
    fn dropped(&mut self, no: FrameNo, plan: &mut Plan) {
        let frame = &mut self.frames[no];
        if core::mem::take(&mut frame.leaving) {
            self.departing -= 1;
        }
        let wanted = (frame.want_read || frame.want_write || frame.is_pinned()) && !frame.doomed;
        let key = frame.key();
        if !wanted {
            let doomed = self.frames[no].doomed;
            let why = if doomed { Departure::Dropped } else { Departure::Evicted };
            return self.forget(no, why, plan);
        }
        self.policy.remove(no, key, Departure::Evicted);
        self.stats.evictions += 1;
        let frame = &mut self.frames[no];
        frame.state = State::Reading;
        frame.busy = Busy::Reading;
        frame.marker = false;
        frame.substitute = false;
        self.in_flight += 1;
        self.stats.pages_demanded += 1;
        let backing = self.object(key.object).options.backing;
        let source = match backing {
            Backing::Pager => Source::Pager,
            Backing::Zeros => Source::Zeros,
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
            // What its user is cutting off needs no saving.
            Err((Failure::Shrunk, _)) if self.object(object).resizing > 0 => {}
            Err((failure, errno)) => {
                self.stats.write_errors += 1;
                let now = self.now;
                let object = self.object_mut(object);
                object.keep_error(KeptError { failure, page: first, errno });
                object.write_failed = Some(now);
            }
        }
        if result.is_ok() {
            self.object_mut(object).write_failed = None;
        }
        for no in frames {
            self.end(*no, Busy::Writing);
            if result.is_ok() {
                self.set_clean(*no);
            }
            self.written(*no, plan);
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
        let needed = frame.want_read || frame.want_write || frame.is_pinned() || frame.dirty;
        if leaving && !needed && !frame.doomed {
            if frame.mapped {
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
