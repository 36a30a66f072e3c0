//! A core in a forked child, and what the parent keeps for it.
//!
//! The swap file is read by both: see `faultless_pager::InheritedSwap`. A child holds the
//! end of a pipe that nobody else has; when it is closed, by exec or exit or kill -9, the
//! keeper takes back what was kept.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use faultless_addr::{ObjectId, PAGE_BYTES, WriteAccess};
use faultless_engine::Lease;
use faultless_machine::Machine;
use faultless_pager::Pager;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::core::{Core, Rings};
use crate::drive::{Reads, Worker};
use crate::error::Error;
use faultless_sys::ring::RingUser;

/// Slots kept for a child, and the end of its pipe.
pub(crate) struct Kept {
    lease: Lease,
    pipe: OwnedFd,
}

/// What has been lent to the child that is about to be made.
pub struct Lending {
    kept: Kept,
    childs: OwnedFd,
}

impl Lending {
    /// In the child: what it keeps open for as long as it reads its parent's swap. The
    /// other end is closed.
    pub fn into_childs_end(self) -> OwnedFd {
        self.childs
    }
}

impl<M: Machine> Core<M> {
    /// Is nothing under way? Asked while nobody is at work. Else handlers are told.
    pub fn is_at_rest(&self) -> bool {
        let rests = !self.engine.lock().is_in_flight() && !self.handoff.has_some();
        if !rests {
            self.ring_handlers();
        }
        rests
    }

    /// Before a fork: keeps the slots of swap that the child may read. `None` where there
    /// is no swap.
    pub fn lend_swap(&self) -> Result<Option<Lending>, Error> {
        let failed = |what, source| Error::Setup { what, source };
        let Some(needs) = self.engine.lock().lending_needs() else { return Ok(None) };
        self.pager(needs.object)
            .resize(u64::from(needs.slots) * PAGE_BYTES)
            .map_err(|source| failed("a larger swap file", source))?;
        let (pipe, childs) = pipe_with(PipeFlags::CLOEXEC)
            .map_err(|errno| failed("a pipe to a child", errno.into()))?;
        let mut engine = self.engine.lock();
        engine.enlarge_swap(needs.slots);
        let lease = engine
            .lend_slots()
            .map_err(|source| failed("swap for one more child", std::io::Error::other(source)))?;
        Ok(lease.map(|lease| Lending { kept: Kept { lease, pipe }, childs }))
    }

    /// After the fork, in the parent.
    pub fn keep_lending(&self, lending: Option<Lending>) {
        if let Some(lending) = lending {
            drop(lending.childs);
            self.kept.lock().push(lending.kept);
        }
    }

    /// Takes back what was kept for children that are gone.
    pub(crate) fn end_leases(&self) {
        let gone: Vec<Kept> =
            self.kept.lock().extract_if(.., |kept| is_closed(&kept.pipe)).collect();
        let mut engine = self.engine.lock();
        for kept in gone {
            engine.end_lease(kept.lease);
        }
    }

    /// In a child whose only thread this is, and whose machine it is already: goes on with
    /// the copy. `swap` makes the child's swap area of the slots that are held.
    ///
    /// After an error, the core is the parent's, as it would be without this.
    pub fn take_over(
        &self,
        swap: impl FnOnce(Vec<u32>) -> Result<Option<Arc<dyn Pager>>, Error>,
    ) -> Result<(), Error> {
        self.kept.lock().clear();
        self.handoff.clear();
        self.reclaim_called.store(false, Ordering::Release);
        self.flushes.lock().clear();
        // Their rings are the parent's.
        self.workers.lock().clear();
        for bell in self.handler_bells.iter().chain([&self.keeper_bell]) {
            let failed = |errno: faultless_sys::Errno| Error::Setup {
                what: "an eventfd",
                source: errno.into(),
            };
            bell.renew().map_err(failed)?;
        }
        // Nothing is read by it: no ring is made.
        let mut worker = Worker::new(Rings::Refused, RingUser::OneAtATime);
        let (stopped, held, object) = {
            let mut engine = self.engine.lock();
            engine.inherit(&mut worker.plan);
            let held: Vec<u32> = engine.held_slots().map(|slot| slot.0).collect();
            (engine.stopped_ranges(), held, engine.swap_object())
        };
        if let Some((object, area)) = object.zip(swap(held)?) {
            let parents = self.pagers.lock()[object.index()].replace(area);
            drop(parents);
        }
        for (space, range) in stopped {
            let stopped = self.machine.set_write(space, range, WriteAccess::Tracked);
            stopped.map_err(|source| Error::Setup { what: "protected pages", source })?;
        }
        self.carry_out(&mut worker, Reads::Queue);
        self.birthplace.move_here();
        Ok(())
    }

    /// In a child: it is the parent's after all.
    pub fn renounce(&self) {
        self.birthplace.leave();
    }

    /// Is the object the parent's, in a child?
    pub(crate) fn is_withdrawn(&self, object: ObjectId) -> bool {
        self.engine.lock().is_withdrawn(object)
    }
}

/// Has the other end of a pipe been closed by all who had it?
fn is_closed(pipe: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}
