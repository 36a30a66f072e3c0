//! The engine alone: a fault on a page that is in memory, and looking up an area among many.

use std::hint::black_box;
use std::time::{Duration, Instant};

use faultless_addr::{
    Access, ObjectId, PAGE_BYTES, PageIndex, PageRange, Prot, SpaceId, VirtAddr, VirtRange,
};
use faultless_engine::space::{
    AddressSpace, Backing, MapRequest, Merge, Place, Sharing, SpaceConfig, VmaFlags,
};
use faultless_engine::{
    Config, Engine, Leave, ObjectOptions, Op, Outcome, Plan, ReadEnd, Rights, Scope, Waiter,
};

use super::instructions::{Sections, TIMES};
use super::{Figure, PAGES, each, shuffled};
use crate::allocations;

pub const RESIDENT_FAULT: &str = "engine: fault on a resident page and its report, ns";
pub const RESIDENT_ALLOCATIONS: &str = "engine: allocations in 8192 such faults, or some more";
const LOOK_UP: &str = "engine: look-up among 100,000 areas, ns";
const RESIDENT_FAULT_COUNTED: &str =
    "engine: fault on a resident page and its report, instructions";
const LOOK_UP_COUNTED: &str = "engine: look-up among 100,000 areas, instructions";

const SPACE: SpaceId = SpaceId(0);
const AREAS: u64 = 100_000;

/// All of it.
pub fn costs() -> Vec<Figure> {
    let (fault, allocations) = resident_fault();
    vec![
        (RESIDENT_FAULT.to_owned(), fault),
        (RESIDENT_ALLOCATIONS.to_owned(), allocations),
        (LOOK_UP.to_owned(), look_up()),
    ]
}

/// What of it is counted in instructions, too.
pub fn instructions(sections: &mut Sections) {
    let mut fixture = Fixture::new();
    fixture.prefetch();
    let kept = loop {
        let kept = fixture.reclaim();
        if kept.len() as u64 > 2 * TIMES {
            break kept;
        }
        kept.iter().for_each(|at| fixture.serve(*at));
        fixture.prefetch();
    };
    // The first make plans as long as they will ever be.
    let (first, counted) = kept.split_at(TIMES as usize);
    first.iter().for_each(|at| fixture.serve(*at));
    let counted = &counted[..TIMES as usize];
    sections.count(RESIDENT_FAULT_COUNTED, TIMES, || {
        counted.iter().for_each(|at| fixture.serve(*at));
    });
    let (space, starts) = areas();
    let order = &shuffled(AREAS)[..TIMES as usize];
    sections.count(LOOK_UP_COUNTED, TIMES, || {
        for area in order {
            black_box(space.find(starts[*area as usize]));
        }
    });
}

/// Faults on pages that reclaim has unmapped and kept: what they take, and how often they
/// allocate.
fn resident_fault() -> (f64, f64) {
    let mut fixture = Fixture::new();
    fixture.prefetch();
    let (mut took, mut allocations, mut count, mut timed) = (Duration::ZERO, 0, 0, 0);
    while timed < PAGES {
        let kept = fixture.reclaim();
        // The first round makes plans as long as they will ever be.
        let is_warm = count > 0;
        let before = allocations::calls_of_this_thread();
        let since = Instant::now();
        kept.iter().for_each(|at| fixture.serve(*at));
        if is_warm {
            took += since.elapsed();
            allocations += allocations::calls_of_this_thread() - before;
            timed += kept.len() as u64;
        }
        count += kept.len() as u64;
        fixture.prefetch();
    }
    let minor = fixture.engine.stats().faults_minor;
    assert_eq!(minor, count, "each was a fault without I/O");
    (took.as_nanos() as f64 / timed as f64, allocations as f64)
}

/// An engine with a file that fits, and a machine that does nothing.
struct Fixture {
    engine: Engine,
    object: ObjectId,
    plan: Plan,
    next: Plan,
}

impl Fixture {
    fn new() -> Fixture {
        let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 40));
        let mut engine = Engine::new(Config::new(4 * PAGES as u32, vec![bounds]));
        let object = engine.create(ObjectOptions::file(PAGES * PAGE_BYTES, Rights::ReadOnly));
        let mapped = engine.map_object(SPACE, object, PageIndex(0), PAGES, Prot::READ);
        mapped.expect("there is room");
        Fixture { engine, object, plan: Plan::new(), next: Plan::new() }
    }

    /// Has all pages in memory, and shown.
    fn prefetch(&mut self) {
        let all = PageRange::from_len(PageIndex(0), PAGES);
        self.engine.prefetch(self.object, all, &mut self.plan);
        self.carry_out();
    }

    /// Has many pages leave; answers where those were that are unmapped and kept.
    fn reclaim(&mut self) -> Vec<VirtAddr> {
        self.engine.reclaim(Scope::All, PAGES as u32 / 8, &mut self.plan);
        let kept = self.plan.keep.iter().map(|leaver| leaver.at).collect();
        self.carry_out();
        kept
    }

    fn serve(&mut self, at: VirtAddr) {
        let plan = &mut self.plan;
        let outcome = self.engine.fault(SPACE, at, Access::Read, Waiter::Machine, plan);
        assert!(!matches!(outcome, Outcome::NoFrame(_) | Outcome::Signal(_)), "{outcome:?}");
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while !self.plan.is_empty() {
            for op in &self.plan.ops {
                match *op {
                    Op::Read { run, .. } => {
                        let frames = self.plan.frames(run.frames);
                        self.engine.read_ended(run.first, frames, ReadEnd::GOOD, &mut self.next);
                    }
                    Op::Map { space, at, frames, write } => {
                        let frames = self.plan.frames(frames);
                        self.engine.mapped(space, at, frames, write, &mut self.next);
                    }
                    Op::Wake { .. } => {}
                    other => unreachable!("nobody writes here: {other:?}"),
                }
            }
            for leaver in &self.plan.keep {
                self.engine.unmapped(leaver, Leave::Keep, &mut self.next);
            }
            for leaver in &self.plan.drop {
                self.engine.unmapped(leaver, Leave::Drop, &mut self.next);
            }
            self.plan.clear();
            std::mem::swap(&mut self.plan, &mut self.next);
        }
    }
}

/// An address in one of many areas.
fn look_up() -> f64 {
    let (space, starts) = areas();
    let order = shuffled(AREAS);
    let mut found = 0;
    let cost = each(AREAS, || {
        for area in &order {
            found += u64::from(space.find(starts[*area as usize]).is_some());
        }
    });
    assert_eq!(found, AREAS);
    cost
}

/// A space with many areas, and where each begins.
fn areas() -> (AddressSpace, Vec<VirtAddr>) {
    let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 46));
    let areas_max = 2 * AREAS as usize;
    let mut space = AddressSpace::with_config(SpaceConfig { bounds, guard_pages: 1, areas_max });
    let map = |number| {
        let request = MapRequest {
            place: Place::Anywhere,
            len: PAGE_BYTES,
            prot: Prot::READ,
            sharing: Sharing::Shared,
            backing: Backing::Object { object: ObjectId(number as u32), first: PageIndex(0) },
            flags: VmaFlags::empty(),
            merge: Merge::Like(number as u32),
        };
        space.map(request, &mut Vec::new()).expect("there is room").start
    };
    let starts: Vec<VirtAddr> = (0..AREAS).map(map).collect();
    assert_eq!(space.len() as u64, AREAS, "none has merged");
    (space, starts)
}
