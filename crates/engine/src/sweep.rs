//! Sweeps: all that is dirty of an object, in the order of its pages, with many writes under way.
//!
//! A disk that reads for a fault and writes for an eviction in turns does both slowly: each
//! waits for the other. Written together the same pages take a fraction of the time. So reclaim
//! passes dirty pages over until half of the memory is dirty (or nothing else can go); the first
//! that it meets then begins a sweep, after which all is clean; between sweeps only reads are
//! under way.
//! (So does Linux's write-back: when a bound is passed, an inode's pages are written in order.)

use faultless_addr::{ObjectId, PageIndex, PageRange};

use crate::bars::Stretch;
use crate::engine::Engine;
use crate::frame::{Busy, Dirt};
use crate::object::Writes;
use crate::plan::Plan;

/// As many pages are being written at a time, and some more where they lie together; of few
/// frames a quarter, so that some can move.
const DEPTH: u32 = 64;

/// Worth it are so many dirty pages of an object: one in eight frames.
const WORTH: u32 = 8;

/// Dirty pages that are looked at in one go, so that the engine's lock is free again.
const LOOKS: u32 = 512;

/// A sweep, and how far it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sweep {
    object: ObjectId,
    next: PageIndex,
}

impl Engine {
    /// Begins a sweep of an object, unless one is under way.
    pub(crate) fn begin_sweep(&mut self, id: ObjectId, plan: &mut Plan) {
        let object = self.object(id);
        let worth = object.dirty >= self.frames.count() / WORTH;
        if self.sweep.is_none() && worth && object.options.writes == Writes::InTime {
            self.sweep = Some(Sweep { object: id, next: PageIndex(0) });
        }
        self.go_on_sweeping(plan);
    }

    /// The object is no more: another may have its number.
    pub(crate) fn end_sweep(&mut self, id: ObjectId) {
        self.sweep = self.sweep.filter(|sweep| sweep.object != id);
    }

    /// Begins as many writes as may be under way.
    pub(crate) fn go_on_sweeping(&mut self, plan: &mut Plan) {
        // Many at a time, whose stores stop together.
        if self.writing > self.sweep_depth() / 2 {
            return;
        }
        let mut stretch = None;
        self.sweep_on(&mut stretch, plan);
        self.bar(&mut stretch, plan);
    }

    fn sweep_depth(&self) -> u32 {
        DEPTH.min(self.frames.count() / 4)
    }

    fn sweep_on(&mut self, stretch: &mut Option<Stretch>, plan: &mut Plan) {
        let depth = self.sweep_depth();
        let mut looks = LOOKS;
        while let Some(Sweep { object: id, next }) = self.sweep
            && self.writing < depth
            && looks > 0
        {
            looks -= 1;
            let object = self.object(id);
            let rest = PageRange::new(next, PageRange::all().end);
            let found = match object.dirty > 0 && !object.write_failed {
                true => object.cache.first_dirty_in(rest, &self.nodes, &self.frames),
                false => None,
            };
            let Some((page, no)) = found else {
                self.sweep = None;
                return;
            };
            let ready = self.is_ready_to_write(no) && self.frames[no].dirt == Dirt::Unwritten;
            let mut len = 1;
            if ready {
                len = self.begin_write_from(no, self.gather_max(), plan);
                self.extend(stretch, plan);
            } else if self.frames[no].busy != Busy::Writing {
                // Stores to it may go on.
                self.bar(stretch, plan);
            }
            self.sweep = Some(Sweep { object: id, next: page.plus(len as u64) });
        }
    }
}
