//! The driver: plans are carried out at once, in order, and faults are served until the
//! access goes through or can't.
//!
//! ```text
//!   verb or fault ──► engine ──► plan ──► carried out ──► reports ──► plan … until it is empty
//! ```

use faultless_addr::{
    Access, FrameNo, ObjectId, PAGE_SIZE, PageIndex, PageRange, Prot, SpaceId, VirtAddr, VirtRange,
    WriteAccess,
};
use faultless_engine::{
    Engine, FlushStep, Leave, Leaver, Op, Outcome, Plan, ReadEnd, References, Run, Scope, Source,
    Waiter,
};
use faultless_machine::{Machine, Stores, Then};
use faultless_software::Rights;

use crate::config::Locked;
use crate::system::System;
use crate::user::Trouble;

/// A fault that isn't served by so many tries never will be.
const TRIES_MAX: u32 = 10_000;

impl System {
    /// Calls the engine, and does what it says until there is nothing to do.
    pub(crate) fn plan<R>(&mut self, call: impl FnOnce(&mut Engine, &mut Plan) -> R) -> R {
        let mut plan = Plan::new();
        let result = call(&mut self.engine, &mut plan);
        self.carry_on(plan);
        result
    }

    fn carry_on(&mut self, mut plan: Plan) {
        while !plan.is_empty() {
            plan = self.carry_out(&plan);
        }
    }

    /// Answers what is to be done next.
    fn carry_out(&mut self, plan: &Plan) -> Plan {
        let mut next = Plan::new();
        for op in &plan.ops {
            self.carry_out_op(plan, *op, &mut next);
        }
        for leaver in &plan.keep {
            self.take_away(leaver, Leave::Keep, &mut next);
        }
        for leaver in &plan.drop {
            self.take_away(leaver, Leave::Drop, &mut next);
        }
        next
    }

    fn carry_out_op(&mut self, plan: &Plan, op: Op, next: &mut Plan) {
        match op {
            Op::Read { run, source } => self.read(run, plan.frames(run.frames), source, next),
            Op::Write { run, mapped, .. } => self.write(run, plan.frames(run.frames), mapped, next),
            Op::Map { space, at, frames, write } => {
                let frames = plan.frames(frames);
                self.map(space, at, frames, write);
                self.engine.mapped(space, at, frames, write, next);
            }
            Op::Grant { space, at, frames } => {
                let frames = plan.frames(frames);
                for n in 0..frames.len() as u64 {
                    self.set_write(space, at.plus_pages(n), WriteAccess::Allowed);
                }
                self.engine.granted(space, at, frames, next);
            }
            Op::Copy { from, to, .. } => {
                self.empty(&[to]);
                self.machine.copy_frame(from, to);
                self.engine.copied(from, to, next);
            }
            Op::StopRange { .. } => unreachable!("stores are stopped page by page"),
            Op::Protect { space, at } => self.set_write(space, at, WriteAccess::Tracked),
            Op::Stop { space, at, frame } => {
                self.set_write(space, at, WriteAccess::Tracked);
                self.engine.stopped(space, at, frame, next);
            }
            Op::ClearAccessed { space, at } => {
                self.machine.clear_accessed(space, at);
            }
            Op::Poison { .. } | Op::Heal { .. } => unreachable!("no read fails, nobody is held"),
            Op::Wake { .. } => {}
        }
    }

    /// Entries get the rights of their area: the engine's word is on stores alone.
    fn map(&mut self, space: SpaceId, at: VirtAddr, frames: &[FrameNo], write: WriteAccess) {
        for (n, frame) in frames.iter().enumerate() {
            let at = at.plus_pages(n as u64);
            let mut rights = self.fetches_at(space, at) | Rights::USER;
            rights.set(Rights::WRITE, write == WriteAccess::Allowed);
            self.machine.map_with(space, at, *frame, rights).expect("nothing is there");
        }
    }

    fn fetches_at(&self, space: SpaceId, at: VirtAddr) -> Rights {
        let area = self.engine.space(space).find(at);
        match area.is_some_and(|area| area.prot.contains(Prot::EXEC)) {
            true => Rights::EXECUTE,
            false => Rights::empty(),
        }
    }

    /// Instructions may be fetched, or not any more, from pages that are there.
    pub(crate) fn set_fetches(&mut self, space: SpaceId, range: VirtRange) {
        let pages = self.machine.translations(space).filter(|it| range.contains(it.at));
        for there in pages.collect::<Vec<_>>() {
            let at = there.at;
            let rights = (there.rights - Rights::EXECUTE) | self.fetches_at(space, at);
            if rights != there.rights {
                self.machine.protect(space, at, rights);
            }
        }
    }

    fn set_write(&mut self, space: SpaceId, at: VirtAddr, write: WriteAccess) {
        self.machine.set_write(space, VirtRange::page(at), write).expect("the page is there");
    }

    /// Frames with memory, and nothing in it.
    fn empty(&mut self, frames: &[FrameNo]) {
        self.machine.release(frames);
        self.machine.back(frames).expect("frames have memory");
    }

    fn read(&mut self, run: Run, frames: &[FrameNo], source: Source, next: &mut Plan) {
        self.empty(frames);
        for (page, frame) in run.pages().iter().zip(frames) {
            let bytes = match source {
                Source::Zeros => None,
                Source::Given => unreachable!("nobody pins here"),
                Source::Pager { .. } => self.files[&run.object].page(page.0),
            };
            if matches!(source, Source::Pager { .. }) {
                self.io.of_mut(run.object == self.swap).read += 1;
            }
            match bytes {
                Some(bytes) => self.machine.write_frame(*frame, 0, bytes),
                None => self.machine.zero_frame(*frame),
            }
        }
        self.engine.read_ended(run.first, frames, ReadEnd::GOOD, next);
    }

    fn write(
        &mut self,
        run: Run,
        frames: &[FrameNo],
        mapped: Option<(SpaceId, VirtAddr)>,
        next: &mut Plan,
    ) {
        let mut bytes = [0; PAGE_SIZE];
        for (n, frame) in frames.iter().enumerate() {
            if let Some((space, at)) = mapped {
                self.set_write(space, at.plus_pages(n as u64), WriteAccess::Tracked);
            }
            self.machine.read_frame(*frame, 0, &mut bytes);
            self.file_mut(run.object).write_page(run.first.0 + n as u64, &bytes);
        }
        self.io.of_mut(run.object == self.swap).written += frames.len() as u64;
        self.engine.write_ended(run.object, run.first, frames, Ok(()), next);
    }

    fn take_away(&mut self, leaver: &Leaver, then: Leave, next: &mut Plan) {
        let how = match then {
            Leave::Drop => Then::Drop,
            Leave::Keep if leaver.writable => Then::Keep(Stores::Pass),
            Leave::Keep => Then::Keep(Stores::Stopped),
        };
        let pages = [(leaver.at, leaver.frame)];
        let done = self.machine.unmap(leaver.space, &pages, how).expect("the page is there");
        assert_eq!(done, 1, "nothing pins a page here");
        self.engine.unmapped(leaver, then, next);
    }

    /// Serves a fault until the access would go through. Nothing is under way elsewhere, so
    /// a frame that can't be had now won't be later either.
    pub(crate) fn serve(
        &mut self,
        space: SpaceId,
        addr: VirtAddr,
        access: Access,
    ) -> Result<(), Trouble> {
        let mut waiter = Waiter::Caller;
        if let Some(area) = self.engine.space(space).find(addr).copied()
            && area.prot.allows(access)
        {
            self.ask_driver(&area, addr.page_start());
        }
        // A copy takes two frames. Where one can be had, it is the one with the page to copy,
        // again and again; where there are more, each gets a second chance before it goes.
        let mut rounds_left = self.config.frames / 8 + 16;
        for _ in 0..TRIES_MAX {
            match self.plan(|engine, plan| engine.fault(space, addr, access, waiter, plan)) {
                Outcome::Resolved => return Ok(()),
                Outcome::Waiting(_) => {}
                Outcome::NoFrame(scope) => {
                    rounds_left = rounds_left.checked_sub(1).ok_or(Trouble::NoMemory)?;
                    self.reclaim(scope, 2)?;
                }
                Outcome::Signal(signal) => self.grow_stack(space, addr).ok_or(signal)?,
            }
            waiter = Waiter::Again;
        }
        panic!("a fault at {addr:?} of {space:?} is never served");
    }

    /// Begins to free frames; the machine's accessed bits say which pages are in use.
    pub(crate) fn reclaim(&mut self, scope: Scope, target: u32) -> Result<(), Trouble> {
        let mut plan = Plan::new();
        let machine = &self.machine;
        let accessed = |space, at| machine.translation(space, at).is_some_and(|it| it.accessed);
        let begun = match self.config.references {
            References::Bits => self.engine.reclaim_seeing(scope, target, &accessed, &mut plan),
            References::ByFault => self.engine.reclaim(scope, target, &mut plan),
        };
        if begun < target && self.config.locked == Locked::Last {
            self.engine.reclaim_locked(target - begun, &mut plan);
        }
        let moved = begun > 0 || !plan.is_empty();
        self.carry_on(plan);
        if moved { Ok(()) } else { Err(Trouble::NoMemory) }
    }

    /// A fault below a stack, where no area is, makes it longer.
    fn grow_stack(&mut self, space: SpaceId, addr: VirtAddr) -> Option<()> {
        match self.engine.space(space).find(addr) {
            Some(_) => None,
            None => self.engine.grow_down(space, addr).ok().map(drop),
        }
    }

    /// Goes on with what a verb began, until every page has left the range.
    pub(crate) fn clear(&mut self, space: SpaceId, range: VirtRange) {
        while self.plan(|engine, plan| engine.clear_step(space, range, plan)).is_some() {}
    }

    /// Writes the dirty pages of an object to what is behind it.
    pub(crate) fn flush(&mut self, object: ObjectId, pages: PageRange) {
        let mut rest = pages;
        loop {
            match self.plan(|engine, plan| engine.flush_step(object, &mut rest, plan)) {
                FlushStep::Done => return,
                FlushStep::More | FlushStep::Wait(_) => {}
                FlushStep::Pinned(page) => unreachable!("{page:?} is pinned"),
                FlushStep::InChange => unreachable!("one verb at a time"),
            }
        }
    }

    /// Changes what is behind some pages of an object, which are read again afterwards.
    pub(crate) fn rewrite(
        &mut self,
        object: ObjectId,
        first: PageIndex,
        change: impl FnOnce(&mut crate::file::File),
    ) {
        let pages = PageRange::new(first, PageRange::all().end);
        self.flush(object, pages);
        change(self.file_mut(object));
        self.plan(|engine, plan| engine.discard(object, pages, plan));
    }
}
