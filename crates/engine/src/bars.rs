//! Bars: stores to many pages stopped by one operation.
//!
//! Before a page is written, stores to it stop, and every other processor has to forget that
//! they were allowed, by an interrupt: a fifth of the busy time of random stores by many threads
//! (docs/performance.md). So where pages that are to be written lie near each other, stores stop
//! in the whole *stretch* from the first to the last, at once. What lies between them is clean,
//! or absent, and takes no stores anyway.
//!
//! It must stay so until that has been carried out: stores to a page that begins to take them
//! meanwhile might be stopped without the engine's knowing. So the stretch is *barred*: who
//! would store there waits, for a page of it that is being written.

use faultless_addr::{FrameNo, SpaceId, VirtRange};

use crate::engine::{Engine, Stops};
use crate::frame::Site;
use crate::object::OnError;
use crate::plan::{Op, Plan};
use crate::space::{Sharing, Vma};

/// Pages between two that are to be written, at most: to pass over as many should take the
/// machine about as long as to be called for each (an estimate; no other was measured).
const BETWEEN: u64 = 1024;

/// Addresses where no page may begin to take stores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bar {
    space: SpaceId,
    range: VirtRange,
    /// A page of it that is being written.
    by: FrameNo,
}

/// Runs of a plan that are to be written, in the order of their addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    bar: Bar,
    /// The area that shows them.
    area: VirtRange,
    /// From a page's place in its object to its address there.
    shift: u64,
    runs: usize,
    /// The first of their operations.
    op: usize,
}

impl Engine {
    /// Takes the write that ends the plan into a stretch. The caller has met, in the order of
    /// pages, all that are dirty since the stretch began, and has begun to write them.
    pub(crate) fn extend(&mut self, stretch: &mut Option<Stretch>, plan: &mut Plan) {
        let Some(&Op::Write { run, mapped, .. }) = plan.ops.last() else { return };
        // No store passes where a page isn't shown.
        let Some((space, at)) = mapped else { return };
        let range = VirtRange { start: at, end: at.plus_pages(run.frames.len()) };
        if let Some(it) = stretch
            && it.bar.space == space
            && it.area.encloses(range)
            && it.shift == at.0.wrapping_sub(run.first.offset())
            && (it.bar.range.end..=it.bar.range.end.plus_pages(BETWEEN)).contains(&range.start)
        {
            it.bar.range.end = range.end;
            it.runs += 1;
            return;
        }
        self.bar(stretch, plan);
        let area = self.spaces[space.index()].find(at);
        let is_meant = |area: &&Vma| {
            let shows = area.object() == Some(run.object) && area.page_at(at) == Some(run.first);
            shows && area.sharing == Sharing::Shared && area.range.encloses(range)
        };
        // A substitute takes stores without being dirty.
        let dirty_if_stored = self.object(run.object).options.on_error == OnError::Signal;
        let area = area.filter(|area| dirty_if_stored && is_meant(area));
        *stretch = area.map(|area| Stretch {
            bar: Bar { space, range, by: plan.frames(run.frames)[0] },
            area: area.range,
            shift: at.0.wrapping_sub(run.first.offset()),
            runs: 1,
            op: plan.ops.len() - 1,
        });
    }

    /// Ends a stretch: of several runs, stores stop at once.
    pub(crate) fn bar(&mut self, stretch: &mut Option<Stretch>, plan: &mut Plan) {
        let Some(Stretch { bar, runs, op, .. }) = stretch.take() else { return };
        if runs < 2 || self.config.stops == Stops::Each {
            return;
        }
        for op in &mut plan.ops[op..] {
            if let Op::Write { mapped: Some((space, at)), run, stopped } = op {
                let range = VirtRange { start: *at, end: at.plus_pages(run.frames.len()) };
                *stopped |= *space == bar.space && bar.range.encloses(range);
            }
        }
        plan.ops.insert(op, Op::StopRange { space: bar.space, range: bar.range });
        self.bars.push(bar);
    }

    /// Whoever would store to a page that takes no stores at `site` yet waits for this frame,
    /// if there is one.
    pub(crate) fn barred(&self, site: Site) -> Option<FrameNo> {
        let at = |bar: &&Bar| bar.space == site.space() && bar.range.contains(site.at());
        self.bars.iter().find(at).map(|bar| bar.by)
    }

    /// Report: stores have been stopped in a range.
    pub fn range_stopped(&mut self, space: SpaceId, range: VirtRange) {
        let is = |bar: &Bar| (bar.space, bar.range) == (space, range);
        let n = self.bars.iter().position(is).expect("what was stopped is barred");
        self.bars.swap_remove(n);
    }
}
