//! The least that is a computer: frames as arrays, page tables as a map, swap in memory.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use faultless_addr::{
    Access, FrameNo, PAGE_BYTES, PageIndex, Prot, SpaceId, VirtAddr, VirtRange, WriteAccess,
};
use faultless_engine::space::{Backing, MapRequest, Merge, Place, Sharing, VmaFlags};
use faultless_engine::{
    Config, Engine, Leave, ObjectOptions, Op, Outcome, Plan, ReadEnd, Rights, Scope, Source, Waiter,
};

/// Frames: the budget.
const FRAMES: u32 = 8;
/// Slots of swap.
const SLOTS: u64 = 64;
/// Where programs have their pages.
const BASE: VirtAddr = VirtAddr(1 << 30);
/// A fault that isn't served by so many tries never will be.
const TRIES_MAX: u32 = 100;

/// Two numbers stand for the bytes of a page: a store to one leaves the other.
pub type Bytes = [u64; 2];

/// An engine, and what it decides about.
pub struct Computer {
    engine: Engine,
    frames: Vec<Bytes>,
    /// Which frame is at an address, and whether stores pass.
    translations: BTreeMap<(SpaceId, VirtAddr), (FrameNo, WriteAccess)>,
    swap: BTreeMap<PageIndex, Bytes>,
    has_swapped: bool,
}

impl Computer {
    /// With one program that has so many pages.
    pub fn new(pages: u64) -> Computer {
        let range = VirtRange::new(BASE, BASE.plus_pages(pages));
        let config = Config { guard_pages: 0, ..Config::new(FRAMES, vec![range]) };
        let mut engine = Engine::new(config);
        let swap = engine.create(ObjectOptions::file(SLOTS * PAGE_BYTES, Rights::ReadWrite));
        engine.set_swap(swap);
        let request = MapRequest {
            place: Place::Fixed(BASE),
            len: range.len(),
            prot: Prot::READ | Prot::WRITE,
            sharing: Sharing::Private,
            backing: Backing::Anonymous,
            flags: VmaFlags::empty(),
            merge: Merge::Yes,
        };
        let (translations, swap) = Default::default();
        let frames = vec![[0; 2]; FRAMES as usize];
        let mut computer = Computer { engine, frames, translations, swap, has_swapped: false };
        let first = computer.first();
        let mapped = computer.plan(|engine, plan| engine.map_over(first, request, plan));
        assert!(mapped.is_ok(), "nothing is there yet");
        computer
    }

    /// The first program.
    pub fn first(&self) -> SpaceId {
        SpaceId(0)
    }

    /// Has any page been to swap?
    pub fn has_swapped(&self) -> bool {
        self.has_swapped
    }

    /// A program's store; `None` where it can't be.
    pub fn store(&mut self, space: SpaceId, page: u64, half: usize, number: u64) -> Option<()> {
        let frame = self.reach(space, page, Access::Write)?;
        self.frames[frame.0 as usize][half] = number;
        Some(())
    }

    /// A program's load; `None` where it can't be.
    pub fn load(&mut self, space: SpaceId, page: u64) -> Option<Bytes> {
        let frame = self.reach(space, page, Access::Read)?;
        Some(self.frames[frame.0 as usize])
    }

    /// Another program like this one.
    pub fn fork(&mut self, space: SpaceId) -> SpaceId {
        let child = self.engine.fork(space);
        while self.plan(|engine, plan| engine.fork_step(space, plan)).is_some() {}
        child
    }

    /// The frame that an access gets to.
    fn reach(&mut self, space: SpaceId, page: u64, access: Access) -> Option<FrameNo> {
        let at = BASE.plus_pages(page);
        for _ in 0..TRIES_MAX {
            match self.translations.get(&(space, at)) {
                Some((frame, write))
                    if access == Access::Read || *write == WriteAccess::Allowed =>
                {
                    return Some(*frame);
                }
                _ => {}
            }
            let fault = |engine: &mut Engine, plan: &mut Plan| {
                engine.fault(space, at, access, Waiter::Caller, plan)
            };
            match self.plan(fault) {
                Outcome::Resolved | Outcome::Waiting(_) => {}
                Outcome::NoFrame(_) => {
                    self.plan(|engine, plan| engine.reclaim(Scope::All, 2, plan));
                }
                Outcome::Signal(_) => return None,
            }
        }
        None
    }

    /// Calls the engine, and does what it says until there is nothing to do.
    fn plan<R>(&mut self, call: impl FnOnce(&mut Engine, &mut Plan) -> R) -> R {
        let mut plan = Plan::new();
        let result = call(&mut self.engine, &mut plan);
        while !plan.is_empty() {
            let mut next = Plan::new();
            for op in &plan.ops {
                self.carry_out(&plan, *op, &mut next);
            }
            let keep = plan.keep.iter().map(|leaver| (leaver, Leave::Keep));
            for (leaver, then) in keep.chain(plan.drop.iter().map(|it| (it, Leave::Drop))) {
                self.translations.remove(&(leaver.space, leaver.at));
                self.engine.unmapped(leaver, then, &mut next);
            }
            self.engine.check_invariants();
            plan = next;
        }
        result
    }

    fn carry_out(&mut self, plan: &Plan, op: Op, next: &mut Plan) {
        match op {
            Op::Read { run, source, .. } => {
                let frames = plan.frames(run.frames);
                for (page, frame) in run.pages().iter().zip(frames) {
                    self.frames[frame.0 as usize] = match source {
                        Source::Zeros | Source::Given => [0; 2],
                        Source::Pager { .. } => self.swap.get(&page).copied().unwrap_or_default(),
                    };
                }
                self.engine.read_ended(run.first, frames, ReadEnd::GOOD, next);
            }
            Op::Write { run, mapped, .. } => {
                let frames = plan.frames(run.frames);
                for (n, (page, frame)) in run.pages().iter().zip(frames).enumerate() {
                    if let Some((space, at)) = mapped {
                        self.set_write(space, at.plus_pages(n as u64), WriteAccess::Tracked);
                    }
                    self.swap.insert(page, self.frames[frame.0 as usize]);
                    self.has_swapped = true;
                }
                self.engine.write_ended(run.object, run.first, frames, Ok(()), next);
            }
            Op::Map { space, at, frames, write } => {
                let frames = plan.frames(frames);
                for (n, frame) in frames.iter().enumerate() {
                    self.translations.insert((space, at.plus_pages(n as u64)), (*frame, write));
                }
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
                self.frames[to.0 as usize] = self.frames[from.0 as usize];
                self.engine.copied(from, to, next);
            }
            Op::StopRange { .. } => unreachable!("stores are stopped page by page"),
            Op::Protect { space, at } => self.set_write(space, at, WriteAccess::Tracked),
            Op::Stop { space, at, frame } => {
                self.set_write(space, at, WriteAccess::Tracked);
                self.engine.stopped(space, at, frame, next);
            }
            Op::ClearAccessed { .. } | Op::Wake { .. } => {}
            Op::Poison { .. } | Op::Heal { .. } => unreachable!("no read fails"),
        }
    }

    fn set_write(&mut self, space: SpaceId, at: VirtAddr, write: WriteAccess) {
        if let Some((_, old)) = self.translations.get_mut(&(space, at)) {
            *old = write;
        }
    }
}
