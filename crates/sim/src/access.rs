//! What programs do: loads and stores, and the faults that they lead to.

use faultless_addr::{Access, PAGE_SHIFT, PAGE_SIZE, SpaceId, VirtAddr};
use faultless_engine::{Outcome, Scope, Signal, Waiter};
use faultless_software::{Cause, CpuNo, Marker};

use crate::model::Expected;
use crate::tasks::Task;
use crate::world::{BOUNDS, World};

/// An access that a process is about to make, again and again until it is served.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    pub number: u64,
    pub offset: usize,
    pub store: Option<u64>,
    pub tries: u32,
}

impl Pending {
    pub fn load(number: u64, offset: usize) -> Pending {
        Pending { number, offset, store: None, tries: 0 }
    }

    fn addr(&self) -> VirtAddr {
        VirtAddr((self.number << PAGE_SHIFT) + self.offset as u64)
    }
}

impl World {
    /// Some process goes on.
    pub(crate) fn advance_process(&mut self) {
        let n = self.rng.usize(..self.processes.len());
        let Some((process, pending)) = self.processes.iter().nth(n).map(|(p, it)| (*p, *it)) else {
            return;
        };
        if let Some(at) = self.held.get(&process).copied() {
            assert!(!self.tasks.is_empty(), "process {process} was not let go at {at:?}");
            // But for a signal it stays there.
            if self.rng.u32(..20) > 0 {
                return;
            }
            self.held.remove(&process);
        }
        let mut access = match pending {
            Some(access) => access,
            None => self.choose_access(process),
        };
        access.tries += 1;
        assert!(access.tries < 20_000, "an access is never served: {access:?}");
        let done = self.try_access(process, access);
        self.processes.insert(process, (!done).then_some(access));
    }

    fn choose_access(&mut self, process: u32) -> Pending {
        let pages = &self.model.processes[&process];
        let anywhere = pages.is_empty() || self.rng.u32(..50) == 0;
        // Some pages are touched often, by all: there things meet.
        let among = if self.rng.u32(..3) > 0 { pages.len().min(6) } else { pages.len() };
        let number = match anywhere {
            true => (BOUNDS.start.0 >> PAGE_SHIFT) + self.rng.u64(..BOUNDS.pages()),
            false => *pages.keys().nth(self.rng.usize(..among)).expect("it has pages"),
        };
        let store = self.rng.u32(..5) < 2;
        Pending {
            number,
            offset: self.rng.usize(..3) * (PAGE_SIZE / 8 - 1) / 2 * 8,
            store: store.then(|| self.rng.u64(..)),
            tries: 0,
        }
    }

    /// The access, until it is done or refused.
    pub(crate) fn access_to_end(&mut self, process: u32, access: Pending) {
        for _ in 0..20_000 {
            if self.try_access(process, access) {
                return;
            }
            self.held.remove(&process);
            if !self.tasks.is_empty() {
                self.advance_task();
            }
            self.now += 10;
            let now = self.now;
            self.plan(|engine, plan| engine.tick(now, plan));
        }
        self.tell_why_not(process, access);
        panic!("process {process}: never served: {access:?}");
    }

    /// Before a panic: what is the engine waiting for?
    fn tell_why_not(&mut self, process: u32, access: Pending) {
        let kind = if access.store.is_some() { Access::Write } else { Access::Read };
        let (space, at) = (SpaceId(process), access.addr());
        let outcome = self.plan(|engine, plan| engine.fault(space, at, kind, Waiter::Caller, plan));
        eprintln!("{outcome:?}, {} of {:?} slots", self.starved, self.engine.swap_slots());
        for (no, frame) in self.engine.frames() {
            eprintln!("{no:?}: {frame:?}");
        }
        eprintln!("tasks: {:?}", self.tasks);
    }

    /// Makes the access where the machine translates it, else faults. Answers whether it
    /// is over.
    fn try_access(&mut self, process: u32, access: Pending) -> bool {
        let (space, cpu) = (SpaceId(process), CpuNo(self.rng.u32(..2)));
        let expected = self.model.expected(process, access.number, access.store.is_some());
        let addr = access.addr();
        let result = match access.store {
            Some(value) => self.machine.store(cpu, space, addr, &value.to_le_bytes()),
            None => {
                let mut seen = [0; 8];
                let result = self.machine.load(cpu, space, addr, &mut seen);
                if result.is_ok() && expected == Expected::Done {
                    let must = self.model.bytes(process, access.number);
                    let must = &must[access.offset..access.offset + 8];
                    assert!(seen == *must, "{access:?} of {process}: wrong bytes");
                }
                result
            }
        };
        let Err(fault) = result else {
            self.starved = 0;
            assert_eq!(expected, Expected::Done, "process {process}: {access:?} must not happen");
            if let Some(value) = access.store {
                self.model.store(process, access.number, access.offset, &value.to_le_bytes());
            }
            return true;
        };
        if fault.cause == Cause::Marked(Marker::Poison) {
            // A mark stays for a while, also where the file has grown again.
            assert!(self.failed || self.marked, "{access:?}: an error");
            return true;
        }
        self.fault(process, access, expected)
    }

    /// There is no frame: if that stays so, swap is full, and some process loses its memory.
    /// (A private store to a file needs two: the file's page, and one for the copy.)
    fn starve(&mut self) {
        self.starved += 1;
        if self.starved < 400 {
            return;
        }
        let (used, all) = self.engine.swap_slots();
        assert!(used == all || self.failed, "no frame, with {used} of {all} slots in use");
        self.tally.note("verb: killed, as swap is full");
        self.starved = 0;
        self.failing = false;
        let processes: Vec<u32> = self.processes.keys().copied().collect();
        let Some(victim) = self.rng.choice(processes) else { return };
        self.model.pages_mut(victim).clear();
        self.held.remove(&victim);
        let space = SpaceId(victim);
        self.plan(|engine, plan| engine.unmap(space, BOUNDS, plan).expect("nothing is sealed"));
        while let Some(no) = self.plan(|engine, plan| engine.clear_step(space, BOUNDS, plan)) {
            self.wait(no);
        }
    }

    fn fault(&mut self, process: u32, access: Pending, expected: Expected) -> bool {
        let kind = if access.store.is_some() { Access::Write } else { Access::Read };
        let waiter = if self.rng.bool() { Waiter::Machine } else { Waiter::Caller };
        let (space, addr) = (SpaceId(process), access.addr());
        let before = self.engine.own_frame(space, addr);
        if waiter == Waiter::Machine {
            self.held.insert(process, addr.page_start());
        }
        let outcome = self.plan(|engine, plan| engine.fault(space, addr, kind, waiter, plan));
        if matches!(outcome, Outcome::NoFrame(_) | Outcome::Signal(_)) {
            self.held.remove(&process);
        }
        let own = self.engine.own_frame(space, addr);
        // Where frames are short, the object's page becomes the copy, without an operation
        // that copies: from now on it is what the program sees.
        if own != before && own.is_some_and(|no| self.engine.frame(no).is_dirty()) {
            self.model.copy(process, access.number);
        }
        match outcome {
            Outcome::Resolved | Outcome::Waiting(_) => false,
            Outcome::NoFrame(scope) => {
                let target = self.rng.u32(1..6);
                let begun = self.reclaim(scope, target);
                if matches!(scope, Scope::Account(_)) {
                    self.tally.note("fault: an account at its limit");
                }
                if begun == 0 && self.tasks.is_empty() && !matches!(scope, Scope::Object(_)) {
                    self.let_time_pass();
                    self.starved += 10;
                }
                self.starve();
                false
            }
            Outcome::Signal(signal) => {
                let must = match expected {
                    Expected::NoArea => Signal::SegvMapErr,
                    Expected::Denied => Signal::SegvAccErr,
                    Expected::BeyondEnd => Signal::Bus,
                    Expected::Done if self.failed => Signal::Bus,
                    Expected::Done => panic!("process {process}: {access:?} got {signal:?}"),
                };
                assert_eq!(signal, must, "process {process}: {access:?}");
                if signal == Signal::Bus && waiter == Waiter::Machine {
                    let at = addr.page_start();
                    self.engine.will_mark(space, at);
                    self.tasks.push(Task::Mark(space, at));
                    self.marked = true;
                }
                true
            }
        }
    }
}
