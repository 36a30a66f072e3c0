//! An engine with one page, a machine, and a disk; verbs by their steps, plans by their
//! tasks.

use std::collections::BTreeMap;
use std::vec::Vec;

use super::*;
use crate::space::{Backing, MapRequest, Merge, Place, Sharing, VmaFlags};

const PARENT: SpaceId = SpaceId(0);
const AT: VirtAddr = VirtAddr(1 << 30);

/// One thing that a plan says.
#[derive(Clone, Debug)]
pub enum Task {
    Read(Run, Vec<FrameNo>, Source),
    Write(Run, Vec<FrameNo>, Option<(SpaceId, VirtAddr)>),
    WriteEnds(Run, FrameNo, u64),
    Map(SpaceId, VirtAddr, FrameNo, WriteAccess),
    Grant(SpaceId, VirtAddr, FrameNo),
    Stop(SpaceId, VirtAddr, FrameNo),
    Copy(FrameNo, FrameNo),
    Unmap(Leaver, Leave),
}

/// What a verb waits for.
#[derive(Clone, Copy, PartialEq)]
pub enum Wait {
    Nothing,
    /// That the frame settles.
    Frame(FrameNo),
    /// That something is done.
    Task,
    /// That the file's change is over.
    Change,
}

/// A verb under way.
pub struct Running {
    pub verb: Verb,
    steps: u32,
    pub wait: Wait,
    pub done: bool,
    rest: PageRange,
}

impl Running {
    pub fn new(verb: Verb) -> Running {
        Running { verb, steps: 0, wait: Wait::Nothing, done: false, rest: PageRange::all() }
    }
}

pub struct World {
    engine: Engine,
    object: ObjectId,
    /// What is behind objects, swap's too.
    disk: BTreeMap<(ObjectId, PageIndex), u64>,
    bytes: Vec<u64>,
    table: BTreeMap<SpaceId, (FrameNo, bool)>,
    pub tasks: Vec<Task>,
    /// Frames that have settled, by their group.
    pub settled: u64,
    /// Is the file being changed?
    pub changes: bool,
    child: Option<SpaceId>,
    end: End,
}

impl World {
    pub fn new(page: Page, start: Start, addresses: Addresses) -> World {
        let range = VirtRange::new(AT, AT.plus_pages(1));
        let config = Config { guard_pages: 0, addresses, ..Config::new(4, std::vec![range]) };
        let mut engine = Engine::new(config);
        let object = engine.create(ObjectOptions::file(PAGE_BYTES, Rights::ReadWrite));
        let swap = engine.create(ObjectOptions::file(8 * PAGE_BYTES, Rights::ReadWrite));
        engine.set_swap(swap);
        let backing = match page {
            Page::Anonymous => Backing::Anonymous,
            _ => Backing::Object { object, first: PageIndex(0) },
        };
        let request = MapRequest {
            place: Place::Fixed(AT),
            len: PAGE_BYTES,
            prot: Prot::READ | Prot::WRITE,
            sharing: if page == Page::Shared { Sharing::Shared } else { Sharing::Private },
            backing,
            flags: VmaFlags::empty(),
            merge: Merge::No,
        };
        engine.map(PARENT, request).unwrap();
        let mut world = World {
            engine,
            object,
            disk: BTreeMap::from([((object, PageIndex(0)), FILE)]),
            bytes: std::vec![0; 4],
            table: BTreeMap::new(),
            tasks: Vec::new(),
            settled: 0,
            changes: false,
            child: None,
            end: End::default(),
        };
        match start {
            Start::Untouched => {}
            Start::Loaded => drop(world.load(PARENT)),
            Start::Stored => world.store(PARENT, BEFORE).unwrap(),
        }
        world
    }

    fn plan<R>(&mut self, call: impl FnOnce(&mut Engine, &mut Plan) -> R) -> R {
        let mut plan = Plan::new();
        let result = call(&mut self.engine, &mut plan);
        self.settled |= plan.wakes.settled;
        for op in &plan.ops {
            let one = |span| match plan.frames(span) {
                [no] => *no,
                more => panic!("there is one page: {more:?}"),
            };
            let task = match *op {
                Op::Read { run, source } => {
                    Task::Read(run, plan.frames(run.frames).to_vec(), source)
                }
                Op::Write { run, mapped, .. } => {
                    Task::Write(run, plan.frames(run.frames).to_vec(), mapped)
                }
                Op::Map { space, at, frames, write } => Task::Map(space, at, one(frames), write),
                Op::Grant { space, at, frames } => Task::Grant(space, at, one(frames)),
                Op::Stop { space, at, frame } => Task::Stop(space, at, frame),
                Op::Copy { from, to, .. } => Task::Copy(from, to),
                Op::Protect { space, .. } => {
                    self.table.get_mut(&space).expect("it is there").1 = false;
                    continue;
                }
                Op::Wake { .. } | Op::ClearAccessed { .. } => continue,
                Op::StopRange { .. } => panic!("there is one page: {op:?}"),
                Op::Poison { .. } | Op::Heal { .. } => panic!("nobody is held: {op:?}"),
            };
            self.tasks.push(task);
        }
        self.tasks.extend(plan.keep.iter().map(|it| Task::Unmap(*it, Leave::Keep)));
        self.tasks.extend(plan.drop.iter().map(|it| Task::Unmap(*it, Leave::Drop)));
        result
    }

    pub fn carry_out(&mut self, n: usize) {
        match self.tasks.remove(n) {
            Task::Read(run, frames, source) => {
                let mut end = ReadEnd::GOOD;
                for (page, no) in run.pages().iter().zip(&frames) {
                    match self.disk.get(&(run.object, page)) {
                        _ if source == Source::Zeros => self.bytes[no.index()] = 0,
                        Some(bytes) => self.bytes[no.index()] = *bytes,
                        None => end.good = 0,
                    }
                }
                self.plan(|engine, plan| engine.read_ended(run.first, &frames, end, plan));
            }
            Task::Write(run, frames, mapped) => {
                if let Some((space, _)) = mapped {
                    self.table.get_mut(&space).expect("it is there").1 = false;
                }
                let [no] = frames[..] else { panic!("there is one page: {frames:?}") };
                self.tasks.push(Task::WriteEnds(run, no, self.bytes[no.index()]));
            }
            Task::WriteEnds(run, no, bytes) => {
                assert_eq!(self.bytes[no.index()], bytes, "a store passed during the write");
                if run.object != self.object || self.engine.size(run.object) > 0 {
                    self.disk.insert((run.object, run.first), bytes);
                }
                self.plan(|engine, plan| {
                    engine.write_ended(run.object, run.first, &[no], Ok(()), plan);
                });
            }
            Task::Map(space, at, no, write) => {
                let before = self.table.insert(space, (no, write == WriteAccess::Allowed));
                assert_eq!(before, None, "two pages are at one address");
                self.plan(|engine, plan| engine.mapped(space, at, &[no], write, plan));
            }
            Task::Grant(space, at, no) => {
                assert_eq!(self.table.insert(space, (no, true)), Some((no, false)));
                self.plan(|engine, plan| engine.granted(space, at, &[no], plan));
            }
            Task::Stop(space, at, no) => {
                assert_eq!(self.table.insert(space, (no, false)).map(|it| it.0), Some(no));
                self.plan(|engine, plan| engine.stopped(space, at, no, plan));
            }
            Task::Copy(from, to) => {
                self.bytes[to.index()] = self.bytes[from.index()];
                self.plan(|engine, plan| engine.copied(from, to, plan));
            }
            Task::Unmap(leaver, then) => {
                let there = self.table.remove(&leaver.space).map(|it| it.0);
                assert_eq!(there, Some(leaver.frame), "what leaves is there");
                self.plan(|engine, plan| engine.unmapped(&leaver, then, plan));
            }
        }
    }

    fn finish_tasks(&mut self) {
        while !self.tasks.is_empty() {
            self.carry_out(0);
        }
    }

    /// Accesses when nothing else is under way.
    fn access(&mut self, space: SpaceId, access: Access) -> Result<FrameNo, Signal> {
        for _ in 0..20 {
            match self.table.get(&space) {
                Some((no, writable)) if *writable || access == Access::Read => return Ok(*no),
                _ => {}
            }
            let waiter = Waiter::Caller;
            let outcome = self.plan(|engine, plan| engine.fault(space, AT, access, waiter, plan));
            if let Outcome::Signal(signal) = outcome {
                return Err(signal);
            }
            self.finish_tasks();
        }
        panic!("{space:?} is never served")
    }

    fn load(&mut self, space: SpaceId) -> Seen {
        self.access(space, Access::Read).map(|no| self.bytes[no.index()])
    }

    fn store(&mut self, space: SpaceId, value: u64) -> Result<(), Signal> {
        self.access(space, Access::Write).map(|no| self.bytes[no.index()] = value)
    }

    /// The next call of a verb.
    pub fn advance(&mut self, it: &mut Running) {
        let first = it.steps == 0;
        it.steps += 1;
        assert!(it.steps < 20, "{:?} does not come to an end", it.verb);
        let range = VirtRange::page(AT);
        let left = match it.verb {
            Verb::Fault => return self.advance_store(it),
            Verb::WriteBack => return self.advance_flush(it),
            // As somebody who needs a frame does, again and again.
            Verb::Evict => {
                self.plan(|engine, plan| engine.reclaim(Scope::All, 1, plan));
                it.done = it.steps == 3;
                return;
            }
            Verb::Truncate => self.advance_truncate(first),
            Verb::Fork => {
                if first {
                    self.child = Some(self.engine.fork(PARENT));
                    return;
                }
                self.plan(|engine, plan| engine.fork_step(PARENT, plan))
            }
            Verb::Unmap => {
                if first {
                    self.plan(|engine, plan| engine.unmap(PARENT, range, plan)).unwrap();
                    return;
                }
                let left = self.plan(|engine, plan| engine.clear_step(PARENT, range, plan));
                assert!(left.is_some() || !self.table.contains_key(&PARENT), "the page is there");
                left
            }
        };
        it.done = left.is_none();
        it.wait = left.map_or(Wait::Nothing, Wait::Frame);
    }

    /// Holds writes off, waits for those under way, cuts, and waits until nothing is left.
    fn advance_truncate(&mut self, first: bool) -> Option<FrameNo> {
        let (object, all) = (self.object, PageRange::all());
        if first {
            self.engine.begin_change(object, all).expect("one changes");
            self.changes = true;
        }
        if self.disk.contains_key(&(object, PageIndex(0))) {
            if let Some(no) = self.engine.writing_in(object, all) {
                return Some(no);
            }
            self.disk.remove(&(object, PageIndex(0)));
            self.plan(|engine, plan| engine.set_size(object, 0, ResizedBy::User, plan));
        }
        let left = self.plan(|engine, plan| engine.gone_step(object, all, plan));
        if left.is_none() {
            self.plan(|engine, plan| engine.end_change(object, plan));
            self.changes = false;
        }
        left
    }

    fn advance_store(&mut self, it: &mut Running) {
        if let Some((no, true)) = self.table.get(&PARENT) {
            self.bytes[no.index()] = NOW;
            self.end.store = Some(Ok(()));
            it.done = true;
            return;
        }
        let waiter = if it.steps == 1 { Waiter::Caller } else { Waiter::Again };
        let fault = |engine: &mut Engine, plan: &mut Plan| {
            engine.fault(PARENT, AT, Access::Write, waiter, plan)
        };
        it.wait = match self.plan(fault) {
            Outcome::Resolved if self.tasks.is_empty() => Wait::Nothing,
            Outcome::Resolved => Wait::Task,
            Outcome::Waiting(no) => Wait::Frame(no),
            Outcome::NoFrame(_) => panic!("four frames are enough"),
            Outcome::Signal(signal) => {
                self.end.store = Some(Err(signal));
                it.done = true;
                Wait::Nothing
            }
        };
    }

    fn advance_flush(&mut self, it: &mut Running) {
        let object = self.object;
        let rest = &mut it.rest;
        it.wait = match self.plan(|engine, plan| engine.flush_step(object, rest, plan)) {
            FlushStep::More => Wait::Nothing,
            FlushStep::Wait(no) => Wait::Frame(no),
            FlushStep::InChange => Wait::Change,
            FlushStep::Pinned(page) => panic!("{page:?} is pinned"),
            FlushStep::Done => match self.engine.writing_in(object, PageRange::all()) {
                Some(no) => Wait::Frame(no),
                None => {
                    it.done = true;
                    Wait::Nothing
                }
            },
        };
    }

    pub fn check(&self) {
        self.engine.check_invariants();
        if self.tasks.is_empty() {
            let shown =
                |no: FrameNo| self.engine.addresses_of(no).map(move |it| (it.0, (no, it.2)));
            let told: BTreeMap<_, _> = self.engine.frames().flat_map(|(no, _)| shown(no)).collect();
            assert_eq!(told, self.table, "what the engine says is where");
        }
    }

    /// Verbs are over, and what they began is.
    pub fn end(mut self) -> End {
        self.end.parent = Some(self.load(PARENT));
        if let Some(child) = self.child {
            self.end.child = Some(self.load(child));
            let _ = self.store(child, CHILDS);
            self.end.after_child = Some(self.load(PARENT));
        }
        let (object, mut flush) = (self.object, Running::new(Verb::WriteBack));
        while !flush.done {
            self.advance(&mut flush);
            self.finish_tasks();
        }
        self.end.file = self.disk.get(&(object, PageIndex(0))).copied();
        self.check();
        self.end
    }
}
