//! A frame that has become idle: who wanted something of it, and what comes next.
//!
//! This is the one place where wants are served, so it doesn't matter which
//! operation a fault or a pin ran into.

use faultless_addr::FrameNo;

use crate::engine::{Engine, Leave};
use crate::frame::{State, Want};
use crate::plan::Plan;
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
            State::Resident | State::Device => self.settle_wants(no, plan),
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
        } else {
            // Cut off while a pin waits for it, which is refused when it looks again.
            self.let_go(no, plan);
        }
    }
}
