//! Write-back: dirty pages go to their backing, in sorted runs.
//!
//! Three things start it: age (a page dirty for long), pressure (reclaim chose a
//! dirty page), and demand (a flush). In each case neighbours that are dirty too
//! go along in the same run.
//!
//! ```text
//!            store            begin_write             write_ended(ok)
//!   Clean ─────────► Dirty ───────────────► Writing ──────────────────► Clean
//!                      ▲                       │  no store passes here;
//!                      └───────────────────────┘  a thread that tries waits
//!                         write_ended(error)
//! ```

use faultless_addr::{FrameNo, ObjectId, PageIndex, PageRange};

use crate::Tick;
use crate::anon::{ANON, AnonId};
use crate::engine::Engine;
use crate::frame::{Busy, Dirt, State};
use crate::object::{Backing, Writes};
use crate::plan::Plan;

/// The longest run that write-back gathers, whatever the configuration says.
const GATHER_MAX: usize = 256;

/// So many pages a flush begins to write in one go, and some more where they lie together.
const FLUSHED_AT_ONCE: usize = 64;

/// How a flush stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushStep {
    /// Carry out the plan and come again with the cursor that was moved on.
    More,
    /// This frame has to settle first; then come again.
    Wait(FrameNo),
    /// The page's backing is just being changed: come again when that is over.
    InChange,
    /// A pin that may store holds this page: it can't be written as it stands.
    Pinned(PageIndex),
    /// Every page that was dirty has been dealt with, as far as plans have been
    /// carried out.
    Done,
}

impl Engine {
    /// The page has been stored to.
    pub(crate) fn set_dirty(&mut self, no: FrameNo) {
        let now = self.now;
        let frame = &mut self.frames[no];
        if !frame.is_dirty() && !frame.is_substitute() && !frame.is_device() {
            (frame.dirt, frame.dirty_since) = (Dirt::Unwritten, now);
            self.count_dirt(no, 1);
        }
    }

    /// The page is as its backing has it, or no more.
    pub(crate) fn set_clean(&mut self, no: FrameNo) {
        if self.frames[no].is_dirty() {
            self.frames[no].dirt = Dirt::None;
            self.count_dirt(no, -1);
        }
    }

    fn count_dirt(&mut self, no: FrameNo, by: i8) {
        self.stats.pages_dirty = self.stats.pages_dirty.strict_add_signed(by.into());
        let key = self.frames[no].key();
        if AnonId::of(key).is_none() {
            let object = self.objects[key.object.index()].as_deref_mut();
            let object = object.expect("the object exists");
            object.dirty = object.dirty.strict_add_signed(by.into());
            object.cache.note_dirt(key.page, &mut self.nodes, &self.frames);
        }
    }

    /// Can this page's write begin now?
    pub(crate) fn is_ready_to_write(&self, no: FrameNo) -> bool {
        let frame = &self.frames[no];
        frame.state == State::Resident
            && frame.is_idle()
            && frame.is_dirty()
            && !frame.doomed
            && !frame.pinned_for_write
            && !self.is_held(no)
    }

    /// Begins to write the run of dirty pages around `no`.
    pub(crate) fn begin_write_around(&mut self, no: FrameNo, plan: &mut Plan) {
        let (page, longest) = (self.frames[no].page, self.gather_max());
        let mut first = no;
        let mut back = 0;
        while back + 1 < longest / 2
            && let Some(before) = self.neighbour(first, -1)
            && before != first
        {
            first = before;
            back += 1;
        }
        debug_assert!(self.frames[first].page <= page);
        self.begin_write_from(first, longest, plan);
    }

    pub(crate) fn gather_max(&self) -> usize {
        // Half the budget at most, so that small budgets keep frames that can move.
        GATHER_MAX.min(self.config.run_max as usize).min(self.frames.count() as usize / 2).max(1)
    }

    /// The page beside `no`, if it can be written in the same run.
    fn neighbour(&self, no: FrameNo, step: i64) -> Option<FrameNo> {
        let frame = &self.frames[no];
        let page = PageIndex(frame.page.0.checked_add_signed(step)?);
        let next = self.lookup(frame.object, page)?;
        let beside = &self.frames[next];
        let fits = self.is_ready_to_write(next)
            && beside.is_mapped() == frame.is_mapped()
            // What could not be written would make the whole run fail.
            && beside.dirt == frame.dirt;
        let together = !frame.is_mapped() || {
            let (here, there) = (self.first_site(no)?, self.first_site(next)?);
            let number = here.number().wrapping_add_signed(step);
            (here.space(), number) == (there.space(), there.number())
        };
        (fits && together).then_some(next)
    }

    /// Begins to write the run of dirty pages that starts with `first`; returns its length.
    pub(crate) fn begin_write_from(
        &mut self,
        first: FrameNo,
        longest: usize,
        plan: &mut Plan,
    ) -> usize {
        let mut run = [first; GATHER_MAX];
        let mut len = 1;
        while len < longest
            && let Some(next) = self.neighbour(run[len - 1], 1)
        {
            run[len] = next;
            len += 1;
        }
        let mapped = self.first_site(first).map(|site| (site.space(), site.at()));
        let key = self.frames[first].key();
        for no in &run[..len] {
            self.begin(*no, Busy::Writing, 1);
            self.stop_stores(*no, plan);
        }
        plan.push_write(key.object, key.page, &run[..len], mapped);
        len
    }

    /// Goes on with a flush of `range`, whose start is moved on as pages are dealt with: begins
    /// runs of some pages together, whose stores stop together, too.
    ///
    /// A page that becomes dirty again behind the cursor is not this flush's
    /// business, so a flush ends even while others store.
    pub fn flush_step(
        &mut self,
        object: ObjectId,
        range: &mut PageRange,
        plan: &mut Plan,
    ) -> FlushStep {
        let (mut stretch, mut begun) = (None, 0);
        loop {
            let cache = &self.object(object).cache;
            let found = cache.first_dirty_in(*range, &self.nodes, &self.frames);
            let ready = found.filter(|(_, no)| self.is_ready_to_write(*no));
            let Some((page, no)) = ready.filter(|_| begun < FLUSHED_AT_ONCE) else {
                self.bar(&mut stretch, plan);
                // What has been begun is carried out before there is a wait for anything.
                return if begun > 0 { FlushStep::More } else { self.flush_halt(found, range) };
            };
            let len = self.begin_write_from(no, self.gather_max(), plan);
            self.extend(&mut stretch, plan);
            range.start = page.plus(len as u64);
            begun += len;
        }
    }

    /// Why a flush can't begin to write the next page that is dirty.
    fn flush_halt(
        &mut self,
        found: Option<(PageIndex, FrameNo)>,
        range: &mut PageRange,
    ) -> FlushStep {
        let Some((page, no)) = found else {
            range.start = range.end;
            return FlushStep::Done;
        };
        range.start = page;
        let frame = &mut self.frames[no];
        if frame.doomed {
            range.start = page.next();
            FlushStep::More
        } else if frame.pinned_for_write {
            FlushStep::Pinned(page)
        } else if !frame.is_idle() {
            if frame.busy == Busy::Writing {
                // Its bytes were fixed before this flush looked: waiting is enough.
                range.start = page.next();
            }
            frame.waited = true;
            FlushStep::Wait(no)
        } else {
            debug_assert!(self.is_held(no), "it could be written");
            FlushStep::InChange
        }
    }

    /// Does a page of the range differ from its backing?
    pub fn is_dirty_in(&self, object: ObjectId, range: PageRange) -> bool {
        self.object(object).cache.first_dirty_in(range, &self.nodes, &self.frames).is_some()
    }

    /// Are writes of pages in `range` still under way? Then one frame to wait for.
    pub fn writing_in(&mut self, object: ObjectId, range: PageRange) -> Option<FrameNo> {
        let mut rest = range;
        while self.object(object).writing > 0 {
            let cache = &self.object(object).cache;
            // A page is dirty until its write has ended well.
            let (page, no) = cache.first_dirty_in(rest, &self.nodes, &self.frames)?;
            if self.frames[no].busy == Busy::Writing {
                self.frames[no].waited = true;
                return Some(no);
            }
            rest.start = page.next();
        }
        None
    }

    /// Begins to write pages that have been dirty for `age` ticks, looking at
    /// `looks` frames from where the last call stopped. Returns how many runs.
    pub fn write_aged(&mut self, age: Tick, looks: u32, plan: &mut Plan) -> u32 {
        let mut runs = 0;
        for _ in 0..looks.min(self.frames.count()) {
            let no = FrameNo(self.age_hand);
            self.age_hand = (self.age_hand + 1) % self.frames.count();
            let old = self.now.wrapping_sub(self.frames[no].dirty_since) >= age;
            // Anonymous pages have nowhere to be safe: they are written when they leave.
            let old = old && self.frames[no].object != ANON;
            if old && self.is_ready_to_write(no) && self.is_worth_writing(no) {
                self.begin_write_around(no, plan);
                runs += 1;
            }
        }
        runs
    }

    fn is_worth_writing(&self, no: FrameNo) -> bool {
        let object = self.object(self.frames[no].object);
        let options = &object.options;
        let in_time = options.backing == Backing::Pager && options.writes == Writes::InTime;
        in_time && !object.write_failed
    }
}
