//! What must now be done: the engine's answer to whoever drives it.
//!
//! A driver carries a plan out with no lock held and reports each operation's
//! end to the engine, which may add to the next plan. Frames named in a plan are
//! busy until that report, so plans of different threads never touch the same
//! frame and need no order among them. Within one plan, what comes first is done
//! first.
//!
//! Plans are made to be used again: a warm plan allocates nothing.

use alloc::vec::Vec;

use crate::frame::Site;
use faultless_addr::{
    FrameNo, ObjectId, PageIndex, PageRange, SpaceId, VirtAddr, VirtRange, WriteAccess,
};

/// Frames of a plan: a stretch of [`Plan::frames`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// How many frames.
    pub fn len(self) -> u64 {
        u64::from(self.len)
    }

    /// Is there none? (A plan never holds such a span.)
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// Consecutive pages of one object, and the frames for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The object.
    pub object: ObjectId,
    /// The first page.
    pub first: PageIndex,
    /// A frame for each page.
    pub frames: Span,
}

impl Run {
    /// The pages.
    pub fn pages(self) -> PageRange {
        PageRange::from_len(self.first, self.frames.len())
    }
}

/// Where the bytes of pages come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The object's pager.
    Pager {
        /// The object's length in bytes when this was said: what lies behind it is zeros.
        size: u64,
    },
    /// They are zeros.
    Zeros,
    /// They are what whoever [pins](crate::Pin::giving) them is about to store.
    Given,
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Fill empty frames; report by `read_ended`.
    Read {
        /// What to read.
        run: Run,
        /// Where from.
        source: Source,
    },
    /// Write pages out, from their address where they are mapped (after stores to
    /// them have been stopped), else from where they are kept; report by `write_ended`.
    Write {
        /// What to write.
        run: Run,
        /// Where the first page is, when the run is mapped.
        mapped: Option<(SpaceId, VirtAddr)>,
        /// Stores to it are stopped by an operation before it.
        stopped: bool,
    },
    /// Map frames at consecutive pages; report by `mapped`.
    Map {
        /// The space.
        space: SpaceId,
        /// Where the first goes.
        at: VirtAddr,
        /// The frames.
        frames: Span,
        /// What stores do there.
        write: WriteAccess,
    },
    /// Let stores through at consecutive pages; report by `granted`.
    Grant {
        /// The space.
        space: SpaceId,
        /// Where the first is.
        at: VirtAddr,
        /// The frames.
        frames: Span,
    },
    /// Copy a frame's bytes to an empty one; report by `copied`.
    Copy {
        /// The frame with the bytes.
        from: FrameNo,
        /// Where it is, when it is mapped; stores may still pass.
        mapped: Option<(SpaceId, VirtAddr)>,
        /// The frame for the copy.
        to: FrameNo,
    },
    /// Stop stores to a page of which another operation of the plan is told. No report.
    Protect {
        /// The space.
        space: SpaceId,
        /// Where.
        at: VirtAddr,
    },
    /// Stop stores to all pages that are shown in a range; report by `range_stopped`. (Only
    /// for machines that can, [`Stops::Ranges`](crate::Stops).)
    StopRange {
        /// The space.
        space: SpaceId,
        /// Where.
        range: VirtRange,
    },
    /// Clear the accessed bit of a page, where it still is. No report.
    ClearAccessed {
        /// The space.
        space: SpaceId,
        /// Where.
        at: VirtAddr,
    },
    /// Stop stores to a page; report by `stopped`.
    Stop {
        /// The space.
        space: SpaceId,
        /// Where.
        at: VirtAddr,
        /// The frame.
        frame: FrameNo,
    },
    /// Make touching a page an error; report by `poisoned`.
    Poison {
        /// The space.
        space: SpaceId,
        /// Where.
        at: VirtAddr,
        /// The failed frame.
        frame: FrameNo,
    },
    /// End what `Poison` began; report by `healed`. No page is there.
    Heal {
        /// The space.
        space: SpaceId,
        /// Where.
        range: VirtRange,
    },
    /// Let those who wait for a page try again. No report.
    Wake {
        /// The space.
        space: SpaceId,
        /// Where.
        range: VirtRange,
    },
}

/// A page that leaves its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaver {
    /// The space.
    pub space: SpaceId,
    /// Where it is.
    pub at: VirtAddr,
    /// The frame that is mapped there.
    pub frame: FrameNo,
    /// Stores go through, up to the moment when it leaves.
    pub writable: bool,
}

/// Sleepers to wake: those that wait for one of a group of frames, or for any frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wakes {
    /// Bit `n` set: whoever waits for a frame whose number is `n` modulo 64.
    pub settled: u64,
    /// Whoever waits because there was no frame.
    pub frames: bool,
}

impl Wakes {
    /// The group of a frame: its bit in [`settled`](Wakes::settled).
    pub fn group(frame: FrameNo) -> usize {
        frame.index() % 64
    }
}

/// See the [module's description](self).
#[derive(Default)]
pub struct Plan {
    /// In order.
    pub ops: Vec<Op>,
    /// Mapped pages to take away with their bytes kept; report by `unmapped`.
    pub keep: Vec<Leaver>,
    /// Mapped pages to take away with their bytes dropped; report by `unmapped`.
    pub drop: Vec<Leaver>,
    /// Sleepers to wake.
    pub wakes: Wakes,
    frames: Vec<FrameNo>,
}

impl Plan {
    /// An empty plan.
    pub fn new() -> Plan {
        Plan::default()
    }

    /// Is there nothing to do?
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
            && self.keep.is_empty()
            && self.drop.is_empty()
            && self.wakes == Wakes::default()
    }

    /// Is there nothing to do but reads?
    pub fn only_reads(&self) -> bool {
        let are_reads = self.ops.iter().all(|op| matches!(op, Op::Read { .. }));
        are_reads && self.keep.is_empty() && self.drop.is_empty()
    }

    /// Makes it empty again, its memory kept.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.keep.clear();
        self.drop.clear();
        self.frames.clear();
        self.wakes = Wakes::default();
    }

    /// The frames of a span.
    pub fn frames(&self, span: Span) -> &[FrameNo] {
        &self.frames[span.start as usize..][..span.len as usize]
    }

    /// Does the first read of the plan fill `frame`?
    pub fn reads_first(&self, frame: FrameNo) -> bool {
        let first = self.ops.iter().find_map(|op| match op {
            Op::Read { run, .. } => Some(self.frames(run.frames)),
            _ => None,
        });
        first.is_some_and(|frames| frames.contains(&frame))
    }

    fn push_frame(&mut self, frame: FrameNo) -> Span {
        let start = self.frames.len() as u32;
        self.frames.push(frame);
        Span { start, len: 1 }
    }

    /// Can a frame that is pushed now become the next of `span`?
    fn is_last(&self, span: Span) -> bool {
        span.start as usize + span.len as usize == self.frames.len()
    }

    /// Reads are at most `longest` pages, and begin anew at each multiple of that: the same
    /// pages are cut in the same places each time, whatever of them is there already.
    pub(crate) fn push_read(
        &mut self,
        object: ObjectId,
        page: PageIndex,
        frame: FrameNo,
        source: Source,
        longest: u32,
    ) {
        if let Some(Op::Read { run, source: same }) = self.ops.last().copied()
            && run.object == object
            && run.pages().end == page
            && same == source
            && !page.0.is_multiple_of(longest.into())
            && self.is_last(run.frames)
        {
            self.frames.push(frame);
            if let Some(Op::Read { run, .. }) = self.ops.last_mut() {
                run.frames.len += 1;
            }
            return;
        }
        let frames = self.push_frame(frame);
        self.ops.push(Op::Read { run: Run { object, first: page, frames }, source });
    }

    pub(crate) fn push_map(
        &mut self,
        space: SpaceId,
        at: VirtAddr,
        frame: FrameNo,
        write: WriteAccess,
    ) {
        if let Some(Op::Map { space: s, at: a, frames, write: w }) = self.ops.last().copied()
            && s == space
            && a.plus_pages(frames.len()) == at
            && w == write
            && self.is_last(frames)
        {
            self.frames.push(frame);
            if let Some(Op::Map { frames, .. }) = self.ops.last_mut() {
                frames.len += 1;
            }
            return;
        }
        let frames = self.push_frame(frame);
        self.ops.push(Op::Map { space, at, frames, write });
    }

    pub(crate) fn push_grant(&mut self, space: SpaceId, at: VirtAddr, frame: FrameNo) {
        let frames = self.push_frame(frame);
        self.ops.push(Op::Grant { space, at, frames });
    }

    /// Whoever waits at `site` tries again.
    pub(crate) fn push_wake(&mut self, site: Site) {
        debug_assert!(site != Site::NONE, "nobody waits nowhere");
        self.ops.push(Op::Wake { space: site.space(), range: VirtRange::page(site.at()) });
    }

    /// A page that is written to swap goes along with the one before it, if its slot is
    /// the next and both are aside.
    pub(crate) fn push_swap_write(
        &mut self,
        object: ObjectId,
        slot: PageIndex,
        frame: FrameNo,
        mapped: Option<(SpaceId, VirtAddr)>,
        longest: u32,
    ) {
        if let Some(Op::Write { run, mapped: None, .. }) = self.ops.last().copied()
            && mapped.is_none()
            && run.object == object
            && run.pages().end == slot
            && run.frames.len < longest
            && self.is_last(run.frames)
        {
            self.frames.push(frame);
            if let Some(Op::Write { run, .. }) = self.ops.last_mut() {
                run.frames.len += 1;
            }
            return;
        }
        self.push_write(object, slot, &[frame], mapped);
    }

    pub(crate) fn push_write(
        &mut self,
        object: ObjectId,
        first: PageIndex,
        frames: &[FrameNo],
        mapped: Option<(SpaceId, VirtAddr)>,
    ) {
        let span = Span { start: self.frames.len() as u32, len: frames.len() as u32 };
        self.frames.extend_from_slice(frames);
        let run = Run { object, first, frames: span };
        self.ops.push(Op::Write { run, mapped, stopped: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_run() {
        let from_pager = Source::Pager { size: 1 << 20 };
        let mut plan = Plan::new();
        for n in 0..7 {
            plan.push_read(ObjectId(1), PageIndex(10 + n), FrameNo(n as u32), from_pager, 4);
        }
        plan.push_read(ObjectId(1), PageIndex(20), FrameNo(9), from_pager, 4);
        let runs: Vec<_> = plan
            .ops
            .iter()
            .map(|op| match op {
                Op::Read { run, .. } => (run.first.0, plan.frames(run.frames).len()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(runs, [(10, 2), (12, 4), (16, 1), (20, 1)]);
    }

    #[test]
    fn a_run_is_not_extended_over_other_frames() {
        let mut plan = Plan::new();
        let at = VirtAddr(0x1000);
        plan.push_map(SpaceId(0), at, FrameNo(1), WriteAccess::Allowed);
        plan.push_grant(SpaceId(0), VirtAddr(0x9000), FrameNo(7));
        plan.push_map(SpaceId(0), at.plus_pages(1), FrameNo(2), WriteAccess::Allowed);
        plan.push_map(SpaceId(0), at.plus_pages(2), FrameNo(3), WriteAccess::Tracked);
        assert_eq!(plan.ops.len(), 4);
    }
}
