//! A world for the engine: threads that load and store, a machine, a file.
//!
//! A page's bytes are one number. The file, the frames and the model each hold
//! numbers; the model is changed at the very store, the others only by the
//! operations of plans. Law by law, what must hold is asserted where it could break.

use std::collections::BTreeMap;
use std::vec::Vec;

use faultless_addr::*;

use crate::*;

/// xorshift64*: small, and the same everywhere.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    Empty,
    Aside(u64),
    Mapped,
}

#[derive(Clone, Copy, Debug)]
struct Translation {
    frame: FrameNo,
    value: u64,
    writable: bool,
}

/// One step of a plan, on its own.
#[derive(Clone, Debug)]
enum Task {
    Read(Run, Vec<FrameNo>, Source),
    /// Stores are stopped, then the write begins.
    Write(Run, Vec<FrameNo>, Option<VirtAddr>),
    /// The write ends: these bytes get to the file.
    WriteEnds(Run, Vec<FrameNo>, Vec<u64>),
    Map(VirtAddr, Vec<FrameNo>, WriteAccess),
    Grant(VirtAddr, Vec<FrameNo>),
    /// And the writes that begin when stores have stopped.
    StopRange(VirtRange, Vec<Task>),
    Poison(VirtAddr, FrameNo),
    /// A held access is answered with an error.
    Mark(VirtAddr),
    Heal(VirtRange),
    Unmap(Leaver, Leave),
}

/// What a thread is about to do.
#[derive(Clone, Copy, Debug)]
struct Thread {
    page: u64,
    store: Option<u64>,
}

pub struct World {
    rng: Rng,
    pub engine: Engine,
    object: ObjectId,
    base: VirtAddr,
    pages: u64,
    file: Vec<u64>,
    model: Vec<u64>,
    frames: Vec<Place>,
    table: BTreeMap<u64, Translation>,
    poisoned: BTreeMap<u64, ()>,
    tasks: Vec<Task>,
    threads: Vec<Option<Thread>>,
    pins: Vec<Pin>,
    /// Pins that their holders have let go of, which the engine doesn't know yet.
    left: Vec<Pin>,
    disk_fails: bool,
    stored: u64,
    now: Tick,
}

const SPACE: SpaceId = SpaceId(0);

/// Does the plan map a page at the start of `range`?
fn maps_there(plan: &Plan, range: VirtRange) -> bool {
    plan.ops.iter().any(|op| match *op {
        Op::Map { at, frames, .. } => (at..at.plus_pages(frames.len())).contains(&range.start),
        _ => false,
    })
}

/// The writes to pages of a range, to which stores are stopped by another operation.
fn writes_in(plan: &Plan, range: VirtRange) -> Vec<Task> {
    let writes = plan.ops.iter().filter_map(|op| match *op {
        Op::Write { run, mapped: Some((_, at)), stopped: true } if range.contains(at) => {
            Some(Task::Write(run, plan.frames(run.frames).to_vec(), Some(at)))
        }
        _ => None,
    });
    writes.collect()
}

impl World {
    pub fn new(seed: u64, policy: PolicyKind) -> World {
        let mut rng = Rng::new(seed);
        let frames = 8 + rng.below(56) as u32;
        let pages = 1 + rng.below(200);
        let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 40));
        let config = Config {
            policy,
            ahead_max: 1 + rng.below(16) as u32,
            run_max: 1 + rng.below(8) as u32,
            stops: if rng.one_in(2) { Stops::Ranges } else { Stops::Each },
            ..Config::new(frames, std::vec![bounds])
        };
        let mut engine = Engine::new(config);
        let object = engine.create(ObjectOptions {
            granule: 1 << rng.below(3),
            limit: if rng.one_in(3) { 6 + rng.below(10) as u32 } else { u32::MAX },
            ..ObjectOptions::file(pages * PAGE_BYTES, Rights::ReadWrite)
        });
        if rng.one_in(3) {
            engine.open_account(SPACE, 6 + rng.below(10) as u32);
        }
        let prot = Prot::READ | Prot::WRITE;
        let range = engine.map_object(SPACE, object, PageIndex(0), pages, prot).unwrap();
        let file: Vec<u64> = (0..pages).map(|page| 1_000_000 + page).collect();
        let threads = 1 + rng.below(4) as usize;
        World {
            engine,
            object,
            base: range.start,
            pages,
            model: file.clone(),
            file,
            frames: std::vec![Place::Empty; frames as usize],
            table: BTreeMap::new(),
            poisoned: BTreeMap::new(),
            tasks: Vec::new(),
            threads: std::vec![None; threads],
            pins: Vec::new(),
            left: Vec::new(),
            disk_fails: false,
            stored: 0,
            now: 0,
            rng,
        }
    }

    /// Lives for `steps` steps, then flushes and closes; the file is then the model.
    pub fn run(&mut self, steps: u64) {
        for _ in 0..steps {
            self.step();
            self.engine.check_invariants();
        }
        self.disk_fails = false;
        for pin in std::mem::take(&mut self.pins) {
            self.unpin(pin);
        }
        self.tell_who_left();
        self.finish_threads();
        self.flush();
        assert_eq!(self.file, self.model, "a store was lost");
        self.close();
    }

    fn step(&mut self) {
        match self.rng.below(20) {
            0..=8 => self.advance_thread(),
            9..=15 => self.advance_task(),
            16 => {
                let target = 1 + self.rng.below(8) as u32;
                self.plan(|engine, plan| engine.reclaim(Scope::All, target, plan));
            }
            17 => self.pin_or_unpin(),
            18 if self.rng.one_in(8) => self.disk_fails = !self.disk_fails,
            18 => {
                self.now += self.rng.below(700) as u32;
                let now = self.now;
                self.plan(|engine, plan| engine.tick(now, plan));
                self.plan(|engine, plan| engine.write_aged(300, 16, plan));
            }
            _ => {
                let mut pages = PageRange::from_len(PageIndex(self.rng.below(self.pages)), 9);
                let object = self.object;
                if self.rng.one_in(2) {
                    self.plan(|engine, plan| engine.prefetch(object, pages, plan));
                } else {
                    self.plan(|engine, plan| engine.drop_clean(object, &mut pages, plan));
                }
            }
        }
    }

    /// Calls the engine and takes its plan apart into tasks.
    fn plan<R>(&mut self, call: impl FnOnce(&mut Engine, &mut Plan) -> R) -> R {
        let mut plan = Plan::new();
        let result = call(&mut self.engine, &mut plan);
        let mut first = Vec::new();
        for op in &plan.ops {
            let task = match *op {
                Op::Read { run, source } => {
                    Task::Read(run, plan.frames(run.frames).to_vec(), source)
                }
                Op::Write { run, mapped, stopped: false } => {
                    Task::Write(run, plan.frames(run.frames).to_vec(), mapped.map(|(_, at)| at))
                }
                Op::Write { stopped: true, .. } => continue,
                Op::StopRange { range, .. } => Task::StopRange(range, writes_in(&plan, range)),
                Op::Map { at, frames, write, .. } => {
                    Task::Map(at, plan.frames(frames).to_vec(), write)
                }
                Op::Grant { at, frames, .. } => Task::Grant(at, plan.frames(frames).to_vec()),
                Op::Poison { at, frame, .. } => Task::Poison(at, frame),
                Op::Heal { range, .. } => Task::Heal(range),
                Op::Wake { .. } => continue,
                Op::Copy { .. }
                | Op::Protect { .. }
                | Op::Stop { .. }
                | Op::ClearAccessed { .. } => unreachable!("{op:?}"),
            };
            // What a plan says of an address before mapping it is done before; else, at
            // any time.
            match task {
                Task::Heal(range) if maps_there(&plan, range) => first.push(range),
                task => self.tasks.push(task),
            }
        }
        let leavers = plan.keep.iter().map(|it| (*it, Leave::Keep));
        for (leaver, then) in leavers.chain(plan.drop.iter().map(|it| (*it, Leave::Drop))) {
            self.tasks.push(Task::Unmap(leaver, then));
        }
        first.into_iter().for_each(|range| self.heal(range));
        result
    }

    fn heal(&mut self, range: VirtRange) {
        let mapped = self.table.contains_key(&range.start.0);
        assert!(!mapped, "a mapped page is healed: its bytes are lost");
        self.poisoned.remove(&range.start.0);
        self.plan(|engine, plan| engine.healed(SPACE, range, plan));
    }

    fn addr(&self, page: u64) -> u64 {
        self.base.plus_pages(page).0
    }

    /// A thread touches its page; where the machine can't translate, it faults.
    fn advance_thread(&mut self) {
        let n = self.rng.below(self.threads.len() as u64) as usize;
        let thread = match self.threads[n] {
            Some(thread) => thread,
            None => {
                self.stored += 1;
                let sequential = self.rng.one_in(2);
                let next = self.stored % self.pages;
                Thread {
                    page: if sequential { next } else { self.rng.below(self.pages) },
                    store: self.rng.one_in(3).then_some(self.stored),
                }
            }
        };
        let done = self.touch(thread);
        self.threads[n] = (!done).then_some(thread);
    }

    /// Returns true where the access happened (or ended with a signal).
    fn touch(&mut self, thread: Thread) -> bool {
        let addr = self.addr(thread.page);
        if self.poisoned.contains_key(&addr) {
            return true;
        }
        if self.store_is_barred(thread) {
            return true;
        }
        if let Some(translation) = self.table.get_mut(&addr) {
            match thread.store {
                None => {
                    assert_eq!(translation.value, self.model[thread.page as usize], "stale bytes");
                    return true;
                }
                Some(value) if translation.writable => {
                    translation.value = value;
                    self.model[thread.page as usize] = value;
                    return true;
                }
                Some(_) => {}
            }
        }
        let access = if thread.store.is_some() { Access::Write } else { Access::Read };
        let waiters = [Waiter::Machine, Waiter::Caller, Waiter::Again];
        let waiter = waiters[self.rng.below(3) as usize];
        let outcome =
            self.plan(|engine, plan| engine.fault(SPACE, VirtAddr(addr), access, waiter, plan));
        match outcome {
            Outcome::Resolved | Outcome::Waiting(_) => false,
            Outcome::NoFrame(scope) => {
                self.plan(|engine, plan| engine.reclaim(scope, 4, plan));
                false
            }
            Outcome::Signal(signal) => {
                assert_eq!(signal, Signal::Bus);
                if waiter == Waiter::Machine {
                    let at = VirtAddr(addr);
                    self.engine.will_mark(SPACE, at);
                    self.tasks.push(Task::Mark(at));
                }
                true
            }
        }
    }

    /// Programs don't store to what they have pinned for reading.
    fn store_is_barred(&self, thread: Thread) -> bool {
        thread.store.is_some()
            && self.pins.iter().any(|pin| pin.pages.contains(PageIndex(thread.page)))
    }

    fn advance_task(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        let n = self.rng.below(self.tasks.len() as u64) as usize;
        let task = self.tasks.swap_remove(n);
        match task {
            Task::Read(run, frames, source) => self.read(run, frames, source),
            Task::Write(run, frames, at) => self.begin_write(run, frames, at),
            Task::WriteEnds(run, frames, values) => self.end_write(run, frames, values),
            Task::Map(at, frames, write) => self.map(at, frames, write),
            Task::Grant(at, frames) => {
                for (n, frame) in frames.iter().enumerate() {
                    let translation = self.table.get_mut(&at.plus_pages(n as u64).0).unwrap();
                    assert_eq!(translation.frame, *frame);
                    translation.writable = true;
                }
                self.plan(|engine, plan| engine.granted(SPACE, at, &frames, plan));
            }
            Task::StopRange(range, writes) => {
                let shown = self.table.range_mut(range.start.0..range.end.0);
                shown.for_each(|(_, translation)| translation.writable = false);
                self.engine.range_stopped(SPACE, range);
                self.tasks.extend(writes);
            }
            Task::Poison(at, frame) => {
                assert!(!self.table.contains_key(&at.0), "a mapped page is poisoned");
                self.poisoned.insert(at.0, ());
                self.plan(|engine, plan| engine.poisoned(SPACE, at, frame, plan));
            }
            Task::Mark(at) => {
                assert!(!self.table.contains_key(&at.0), "a mapped page is marked");
                self.poisoned.insert(at.0, ());
                self.plan(|engine, plan| engine.marked(SPACE, at, plan));
            }
            Task::Heal(range) => self.heal(range),
            Task::Unmap(leaver, then) => self.unmap(leaver, then),
        }
    }

    fn read(&mut self, run: Run, frames: Vec<FrameNo>, source: Source) {
        let good = match source {
            Source::Pager { .. } if self.disk_fails && self.rng.one_in(2) => {
                self.rng.below(frames.len() as u64)
            }
            _ => u64::MAX,
        };
        for (n, frame) in frames.iter().enumerate().filter(|(n, _)| (*n as u64) < good) {
            let value = match source {
                Source::Pager { .. } => self.file[run.first.0 as usize + n],
                Source::Zeros => 0,
                Source::Given => self.store_in_model(run.first.0 as usize + n),
            };
            assert_ne!(self.frames[frame.index()], Place::Mapped, "a mapped frame is filled");
            self.frames[frame.index()] = Place::Aside(value);
        }
        let end = ReadEnd { good, failure: Failure::Read, errno: 5 };
        self.plan(|engine, plan| engine.read_ended(run.first, &frames, end, plan));
    }

    fn begin_write(&mut self, run: Run, frames: Vec<FrameNo>, at: Option<VirtAddr>) {
        let values = frames.iter().enumerate().map(|(n, frame)| match at {
            Some(at) => {
                let translation = self.table.get_mut(&at.plus_pages(n as u64).0).unwrap();
                assert_eq!(translation.frame, *frame);
                translation.writable = false;
                translation.value
            }
            None => match self.frames[frame.index()] {
                Place::Aside(value) => value,
                other => panic!("{frame:?} is written from where it isn't: {other:?}"),
            },
        });
        let values = values.collect();
        self.tasks.push(Task::WriteEnds(run, frames, values));
    }

    fn end_write(&mut self, run: Run, frames: Vec<FrameNo>, values: Vec<u64>) {
        let fails = self.disk_fails && self.rng.one_in(2);
        for (n, value) in values.iter().enumerate() {
            let page = run.first.0 as usize + n;
            assert_eq!(*value, self.model[page], "a store passed while the page was written");
            if !fails {
                self.file[page] = *value;
            }
        }
        let result = if fails { Err((Failure::Write, 5)) } else { Ok(()) };
        self.plan(|engine, plan| engine.write_ended(run.object, run.first, &frames, result, plan));
    }

    fn map(&mut self, at: VirtAddr, frames: Vec<FrameNo>, write: WriteAccess) {
        for (n, frame) in frames.iter().enumerate() {
            let Place::Aside(value) = self.frames[frame.index()] else {
                panic!("{frame:?} is mapped from where it isn't")
            };
            let addr = at.plus_pages(n as u64).0;
            assert!(!self.poisoned.contains_key(&addr), "mapped over an error");
            let writable = write == WriteAccess::Allowed;
            let before = self.table.insert(addr, Translation { frame: *frame, value, writable });
            assert!(before.is_none(), "two frames at one address");
            self.frames[frame.index()] = Place::Mapped;
        }
        self.plan(|engine, plan| engine.mapped(SPACE, at, &frames, write, plan));
    }

    fn unmap(&mut self, leaver: Leaver, then: Leave) {
        if then == Leave::Keep && self.rng.one_in(20) {
            self.plan(|engine, plan| engine.stayed(&leaver, plan));
            return;
        }
        let translation = self.table.remove(&leaver.at.0).expect("what leaves is mapped");
        assert_eq!(translation.frame, leaver.frame);
        let pinned = self
            .pins
            .iter()
            .any(|pin| pin.pages.iter().any(|page| self.addr(page.0) == leaver.at.0));
        assert!(!pinned, "a pinned page leaves");
        let page = (leaver.at.0 - self.base.0) >> PAGE_SHIFT;
        self.frames[leaver.frame.index()] = match then {
            Leave::Keep => Place::Aside(translation.value),
            Leave::Drop => {
                assert_eq!(translation.value, self.file[page as usize], "a dirty page is dropped");
                Place::Empty
            }
        };
        self.plan(|engine, plan| engine.unmapped(&leaver, then, plan));
    }

    fn pin_or_unpin(&mut self) {
        if !self.pins.is_empty() && self.rng.one_in(2) {
            let n = self.rng.below(self.pins.len() as u64) as usize;
            let pin = self.pins.swap_remove(n);
            return self.unpin(pin);
        }
        self.tell_who_left();
        let purpose = if self.rng.one_in(3) { PinFor::Write } else { PinFor::Read };
        let pages = match self.rng.below(4) {
            // Some are pinned again and again.
            0 => PageRange::from_len(PageIndex(self.rng.below(self.pages.min(4))), 1),
            _ => PageRange::from_len(PageIndex(self.rng.below(self.pages)), self.rng.below(5)),
        };
        if purpose == PinFor::Read
            && let Some(pin) = Pin::by_pass(&self.engine.passes, self.object, pages)
        {
            self.assert_shown(&pin);
            return self.pins.push(pin);
        }
        let mut pin = Pin::new(self.object, pages, purpose);
        if purpose == PinFor::Write && self.rng.one_in(2) {
            pin = pin.giving(pages);
        }
        if self.engine.pin_at_once(&mut pin) {
            self.assert_shown(&pin);
            return self.pins.push(pin);
        }
        for _ in 0..10_000 {
            match self.plan(|engine, plan| engine.pin_step(&mut pin, plan)) {
                PinStep::Held => {
                    self.assert_shown(&pin);
                    return self.pins.push(pin);
                }
                PinStep::Refused(_) => return,
                PinStep::Wait(_) => {}
                PinStep::NoFrame(scope) => {
                    self.plan(|engine, plan| engine.reclaim(scope, 4, plan));
                    // What the pin gives is under way until the pin has all.
                    if self.tasks.is_empty() {
                        self.now += 100;
                        let now = self.now;
                        self.plan(|engine, plan| engine.tick(now, plan));
                        self.disk_fails = false;
                    }
                }
            }
            self.advance_task();
            self.advance_thread();
            self.engine.check_invariants();
        }
        for frame in self.engine.frames.iter() {
            std::println!("{frame:?}");
        }
        panic!("a pin neither holds nor is refused: {pin:?}, {:?}", self.tasks);
    }

    /// Somebody's bytes are this page's from now on.
    fn store_in_model(&mut self, page: usize) -> u64 {
        self.stored += 1;
        self.model[page] = self.stored;
        self.stored
    }

    fn assert_shown(&self, pin: &Pin) {
        for page in pin.pages.iter() {
            let seen = self.table[&self.addr(page.0)];
            assert_eq!(seen.value, self.model[page.0 as usize], "pinned stale bytes");
            assert!(seen.writable || pin.purpose == PinFor::Read);
        }
    }

    fn unpin(&mut self, mut pin: Pin) {
        if !pin.leave(&self.engine.passes) {
            self.left.push(pin);
        }
        if self.rng.one_in(2) {
            self.tell_who_left();
        }
    }

    fn tell_who_left(&mut self) {
        for mut pin in core::mem::take(&mut self.left) {
            self.plan(|engine, plan| engine.unpin(&mut pin, plan));
        }
    }

    fn finish_threads(&mut self) {
        for n in 0..self.threads.len() {
            let Some(thread) = self.threads[n].take() else { continue };
            let mut left = 10_000;
            while !self.touch(thread) {
                self.advance_task();
                left -= 1;
                self.now += 10;
                let now = self.now;
                self.plan(|engine, plan| engine.tick(now, plan));
                assert!(left > 0, "a thread is never served: {thread:?}, {:?}", self.tasks);
            }
        }
    }

    pub fn flush(&mut self) {
        let object = self.object;
        let mut rest = PageRange::all();
        for _ in 0..100_000 {
            match self.plan(|engine, plan| engine.flush_step(object, &mut rest, plan)) {
                FlushStep::Done if self.tasks.is_empty() => return,
                FlushStep::Pinned(page) => panic!("{page:?} is pinned"),
                FlushStep::InChange => panic!("nobody changes the file"),
                _ => self.advance_task(),
            }
        }
        panic!("a flush never ends");
    }

    fn close(&mut self) {
        let object = self.object;
        for _ in 0..10_000 {
            if self.plan(|engine, plan| engine.close_step(object, plan)).is_none() {
                break;
            }
            self.advance_task();
        }
        while self.engine.are_marks_changing(object) {
            self.advance_task();
        }
        self.engine.forget_marks(object);
        self.poisoned.clear();
        self.engine.remove(object);
        self.engine.check_invariants();
        assert_eq!(self.engine.stats().frames_used, 0, "frames are lost");
    }
}
