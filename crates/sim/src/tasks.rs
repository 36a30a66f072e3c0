//! Operations of plans, each on its own, carried out in any order.

use faultless_addr::{FrameNo, PAGE_SHIFT, PAGE_SIZE, SpaceId, VirtAddr, VirtRange, WriteAccess};
use faultless_engine::{Failure, Leave, Leaver, Op, Plan, ReadEnd, Run, Source};
use faultless_machine::{Machine, Stores, Then};

use crate::world::World;

/// One step of a plan.
#[derive(Clone, Debug)]
pub enum Task {
    Read(Run, Vec<FrameNo>, Source),
    /// Stores are stopped, and the write begins.
    Write(Run, Vec<FrameNo>, Option<(SpaceId, VirtAddr)>),
    /// The write ends: these bytes get to the backing.
    WriteEnds(Run, Vec<FrameNo>, Vec<Vec<u8>>),
    Map(SpaceId, VirtAddr, Vec<FrameNo>, WriteAccess),
    Grant(SpaceId, VirtAddr, Vec<FrameNo>),
    Stop(SpaceId, VirtAddr, FrameNo),
    Copy(FrameNo, FrameNo),
    /// And the writes that begin when stores have stopped.
    StopRange(SpaceId, VirtRange, Vec<Task>),
    Poison(SpaceId, VirtAddr, FrameNo),
    /// A held access is answered with an error.
    Mark(SpaceId, VirtAddr),
    Heal(SpaceId, VirtRange),
    Unmap(Leaver, Leave),
}

/// Does the plan map a page at the start of `range`?
fn maps_there(plan: &Plan, place: SpaceId, range: VirtRange) -> bool {
    plan.ops.iter().any(|op| match *op {
        Op::Map { space, at, frames, .. } if space == place => {
            (at..at.plus_pages(frames.len())).contains(&range.start)
        }
        _ => false,
    })
}

impl World {
    /// A plan's operations become tasks, but for those that have no report: these are
    /// carried out at once, because others of the plan rely on them.
    pub(crate) fn take_apart(&mut self, plan: &Plan) {
        let mut healed = Vec::new();
        for op in &plan.ops {
            let frames = |span| plan.frames(span).to_vec();
            self.tasks.push(match *op {
                Op::Read { run, source } => Task::Read(run, frames(run.frames), source),
                Op::Write { run, mapped, stopped: false } => {
                    Task::Write(run, frames(run.frames), mapped)
                }
                // With the operation that stops stores to it.
                Op::Write { stopped: true, .. } => continue,
                Op::StopRange { space, range } => {
                    Task::StopRange(space, range, Self::stopped_by(plan, space, range))
                }
                Op::Map { space, at, frames: span, write } => {
                    Task::Map(space, at, frames(span), write)
                }
                Op::Grant { space, at, frames: span } => Task::Grant(space, at, frames(span)),
                Op::Stop { space, at, frame } => Task::Stop(space, at, frame),
                Op::Copy { from, to, .. } => Task::Copy(from, to),
                Op::Poison { space, at, frame } => Task::Poison(space, at, frame),
                Op::Protect { space, at } => {
                    self.set_write(space, at, WriteAccess::Tracked);
                    continue;
                }
                // What a plan says of an address before mapping it is done before.
                Op::Heal { space, range } if maps_there(plan, space, range) => {
                    healed.push((space, range));
                    continue;
                }
                Op::Heal { space, range } => Task::Heal(space, range),
                Op::ClearAccessed { space, at } => {
                    self.machine.clear_accessed(space, at);
                    continue;
                }
                Op::Wake { space, range } => {
                    self.let_go(space, range);
                    continue;
                }
            });
        }
        let keep = plan.keep.iter().map(|it| Task::Unmap(*it, Leave::Keep));
        let drop = plan.drop.iter().map(|it| Task::Unmap(*it, Leave::Drop));
        self.tasks.extend(keep.chain(drop));
        healed.into_iter().for_each(|(space, range)| self.heal(space, range));
    }

    /// Whoever the machine holds there tries again.
    fn let_go(&mut self, space: SpaceId, range: VirtRange) {
        self.held.retain(|process, at| *process != space.0 || !range.contains(*at));
    }

    fn stopped_by(plan: &Plan, place: SpaceId, range: VirtRange) -> Vec<Task> {
        let writes = plan.ops.iter().filter_map(|op| match *op {
            Op::Write { run, mapped: Some((space, at)), stopped: true }
                if space == place && range.contains(at) =>
            {
                Some(Task::Write(run, plan.frames(run.frames).to_vec(), None))
            }
            _ => None,
        });
        writes.collect()
    }

    fn heal(&mut self, space: SpaceId, range: VirtRange) {
        let there = self.machine.translation(space, range.start);
        assert!(there.is_none(), "a mapped page is healed: its bytes are lost");
        self.machine.heal(space, range).expect("a marker can be taken away");
        self.plan(|engine, plan| engine.healed(space, range, plan));
    }

    /// Some task is carried out.
    pub(crate) fn advance_task(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        match self.choose_task() {
            Task::Read(run, frames, source) => self.read(run, &frames, source),
            Task::Write(run, frames, mapped) => self.begin_write(run, frames, mapped),
            Task::WriteEnds(run, frames, bytes) => self.end_write(run, &frames, &bytes),
            Task::Map(space, at, frames, write) => {
                if let Err(error) = self.machine.map(space, at, &frames, write) {
                    self.tell_what_is_there(space, at, &frames);
                    panic!("{error}");
                }
                self.let_go(space, VirtRange::new(at, at.plus_pages(frames.len() as u64)));
                self.plan(|engine, plan| engine.mapped(space, at, &frames, write, plan));
            }
            Task::Grant(space, at, frames) => {
                for n in 0..frames.len() as u64 {
                    self.set_write(space, at.plus_pages(n), WriteAccess::Allowed);
                }
                self.let_go(space, VirtRange::new(at, at.plus_pages(frames.len() as u64)));
                self.plan(|engine, plan| engine.granted(space, at, &frames, plan));
            }
            Task::Stop(space, at, frame) => {
                self.set_write(space, at, WriteAccess::Tracked);
                self.plan(|engine, plan| engine.stopped(space, at, frame, plan));
            }
            Task::StopRange(space, range, writes) => {
                let stopped = self.machine.set_write(space, range, WriteAccess::Tracked);
                stopped.expect("stores can be stopped");
                self.plan(|engine, _| engine.range_stopped(space, range));
                self.tasks.extend(writes);
            }
            Task::Copy(from, to) => self.copy(from, to),
            Task::Poison(space, at, frame) => {
                self.machine.poison(space, VirtRange::page(at)).expect("a page can be marked");
                self.let_go(space, VirtRange::page(at));
                self.plan(|engine, plan| engine.poisoned(space, at, frame, plan));
            }
            Task::Mark(space, at) => {
                let there = self.machine.translation(space, at);
                assert!(there.is_none(), "a mapped page is marked");
                self.machine.poison(space, VirtRange::page(at)).expect("a page can be marked");
                self.let_go(space, VirtRange::page(at));
                self.plan(|engine, plan| engine.marked(space, at, plan));
            }
            Task::Heal(space, range) => self.heal(space, range),
            Task::Unmap(leaver, then) => self.unmap(leaver, then),
        }
    }

    /// Any task; while pagers stall, none of theirs, if there is another.
    fn choose_task(&mut self) -> Task {
        let is_io = |task: &Task| {
            matches!(task, Task::Read(_, _, Source::Pager { .. }) | Task::WriteEnds(..))
        };
        let quick: Vec<usize> = match self.stalled {
            true => (0..self.tasks.len()).filter(|n| !is_io(&self.tasks[*n])).collect(),
            false => Vec::new(),
        };
        let n = self.rng.choice(quick).unwrap_or_else(|| self.rng.usize(..self.tasks.len()));
        self.tasks.swap_remove(n)
    }

    /// Before a panic: what is where frames are to be mapped?
    fn tell_what_is_there(&self, space: SpaceId, at: VirtAddr, frames: &[FrameNo]) {
        for (n, frame) in frames.iter().enumerate() {
            let at = at.plus_pages(n as u64);
            let there = self.machine.translation(space, at).map(|it| self.engine.frame(it.frame));
            let marker = self.machine.marker(space, at);
            eprintln!("{at:?} has {there:?} and {marker:?}, gets {:?}", self.engine.frame(*frame));
        }
    }

    fn set_write(&mut self, space: SpaceId, at: VirtAddr, write: WriteAccess) {
        let range = VirtRange::page(at);
        self.machine.set_write(space, range, write).expect("the page is there");
    }

    fn read(&mut self, run: Run, frames: &[FrameNo], source: Source) {
        self.machine.release(frames);
        self.machine.back(frames).expect("frames have memory");
        let fails = self.failing && matches!(source, Source::Pager { .. }) && self.rng.bool();
        let mut good = if fails { self.rng.u64(..frames.len() as u64) } else { u64::MAX };
        self.failed |= fails;
        for (n, frame) in frames.iter().enumerate() {
            let page = run.first.plus(n as u64);
            match source {
                Source::Given => unreachable!("nobody pins here"),
                Source::Zeros => self.machine.zero_frame(*frame),
                Source::Pager { .. } => match self.backings[&run.object.0].page(page) {
                    Some(bytes) if (n as u64) < good => self.machine.write_frame(*frame, 0, bytes),
                    // Beyond an end that has come nearer.
                    _ => good = good.min(n as u64),
                },
            }
        }
        let end = ReadEnd { good, failure: Failure::Read, errno: 5 };
        self.plan(|engine, plan| engine.read_ended(run.first, frames, end, plan));
    }

    fn begin_write(&mut self, run: Run, frames: Vec<FrameNo>, mapped: Option<(SpaceId, VirtAddr)>) {
        let bytes = frames.iter().enumerate().map(|(n, frame)| {
            if let Some((space, at)) = mapped {
                self.set_write(space, at.plus_pages(n as u64), WriteAccess::Tracked);
            }
            let mut bytes = vec![0; PAGE_SIZE];
            self.machine.read_frame(*frame, 0, &mut bytes);
            bytes
        });
        let bytes = bytes.collect();
        self.tasks.push(Task::WriteEnds(run, frames, bytes));
    }

    fn end_write(&mut self, run: Run, frames: &[FrameNo], bytes: &[Vec<u8>]) {
        let fails = self.failing && self.rng.bool();
        self.failed |= fails;
        for (n, (frame, bytes)) in frames.iter().zip(bytes).enumerate() {
            let mut now = vec![0; PAGE_SIZE];
            self.machine.read_frame(*frame, 0, &mut now);
            assert_eq!(now, *bytes, "{frame:?}: a store passed while it was written");
            let backing = self.backings.get_mut(&run.object.0).expect("it has a backing");
            match fails {
                true => backing.tear(run.first.plus(n as u64), bytes, &mut self.rng),
                false => backing.write(run.first.plus(n as u64), bytes),
            }
        }
        let result = if fails { Err((Failure::Write, 5)) } else { Ok(()) };
        self.plan(|engine, plan| {
            engine.write_ended(run.object, run.first, frames, result, plan);
        });
    }

    /// From now on the copy is what the program sees, whatever others do to the original.
    fn copy(&mut self, from: FrameNo, to: FrameNo) {
        self.machine.release(&[to]);
        self.machine.back(&[to]).expect("frames have memory");
        self.machine.copy_frame(from, to);
        let site = self.engine.frame(to).site;
        let (space, number) = (site.space().0, site.at().0 >> PAGE_SHIFT);
        let meant = self.model.processes.get(&space).and_then(|pages| pages.get(&number));
        // The address may mean something else by now: then nobody will see the copy.
        if meant.is_some_and(|page| !page.shared) && !self.engine.frame(to).doomed {
            self.model.copy(space, number);
        }
        self.plan(|engine, plan| engine.copied(from, to, plan));
    }

    fn unmap(&mut self, leaver: Leaver, then: Leave) {
        let how = match then {
            Leave::Drop => Then::Drop,
            Leave::Keep if leaver.writable => Then::Keep(Stores::Pass),
            Leave::Keep => Then::Keep(Stores::Stopped),
        };
        let pages = [(leaver.at, leaver.frame)];
        let done = self.machine.unmap(leaver.space, &pages, how).expect("the page is there");
        assert_eq!(done, 1);
        self.plan(|engine, plan| engine.unmapped(&leaver, then, plan));
    }
}
