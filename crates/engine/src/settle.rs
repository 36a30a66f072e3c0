//! A frame that has become idle: who wanted something of it, and what comes next.
//!
//! This is the one place where wants are served, so it doesn't matter which
//! operation a fault or a pin ran into.

use faultless_addr::{FrameNo, VirtRange, WriteAccess};

use crate::engine::{Engine, Leave};
use crate::frame::{Busy, State};
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
                if frame.mapped {
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
        let frame = &self.frames[no];
        if !frame.mapped && self.is_mark_changing(frame.key()) {
            return; // The report of that comes here again.
        }
        let frame = &mut self.frames[no];
        let want_write = core::mem::take(&mut frame.want_write);
        let want_read = core::mem::take(&mut frame.want_read);
        let (mapped, writable) = (frame.mapped, frame.writable);
        if want_write && !writable {
            frame.marker = false;
            self.set_dirty(no);
            if mapped {
                self.begin_grant(no, plan);
            } else {
                self.policy.touch(no);
                self.begin_map(no, WriteAccess::Allowed, plan);
            }
        } else if want_read && !mapped {
            self.frames[no].marker = false;
            self.policy.touch(no);
            self.begin_map(no, self.write_access(no), plan);
        } else {
            if want_read || want_write {
                self.push_wakes(no, plan);
            }
            self.frames[no].held = false;
            self.wake(no, plan);
        }
    }

    fn begin_grant(&mut self, no: FrameNo, plan: &mut Plan) {
        self.begin(no, Busy::Granting);
        let key = self.frames[no].key();
        for (space, at) in self.object(key.object).windows.addresses(key.page) {
            plan.push_grant(space, at, no);
        }
    }

    /// Lets threads that a machine holds at the page try again.
    pub(crate) fn push_wakes(&self, no: FrameNo, plan: &mut Plan) {
        let key = self.frames[no].key();
        for (space, at) in self.object(key.object).windows.addresses(key.page) {
            plan.ops.push(Op::Wake { space, range: VirtRange::page(at) });
        }
    }

    /// A page that couldn't be had stays until its sleepers have been told.
    pub(crate) fn settle_failed(&mut self, no: FrameNo, plan: &mut Plan) {
        let frame = &self.frames[no];
        if frame.waited {
            self.wake(no, plan);
            self.failed.push(no);
        } else if !frame.is_pinned() {
            self.forget(no, Departure::Dropped, plan);
        }
    }
}
