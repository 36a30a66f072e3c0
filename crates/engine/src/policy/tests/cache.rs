//! A small cache, as the engine will be one, on either kind of machine. It checks what a
//! policy promises at each step.

use std::{collections::HashMap, vec::Vec};

use faultless_addr::{FrameNo, ObjectId, PageIndex};

use crate::policy::{Arrival, Departure, PageKey, Policy, PolicyKind, Verdict, View};

/// How the machine shows that a page was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// It sets a bit, unseen.
    AccessedBits,
    /// It faults, if the page was unmapped.
    Unmapping,
}

pub const MACHINES: [Machine; 2] = [Machine::AccessedBits, Machine::Unmapping];

#[derive(Clone, Copy)]
pub struct Frame {
    pub page: Option<u64>,
    pub referenced: bool,
    pub pins: u32,
    /// The write of a dirty page has this many steps to go.
    writing: u32,
    pub dirty: bool,
}

/// The frames as a policy sees them.
pub struct Frames(pub Vec<Frame>);

impl View for Frames {
    fn is_referenced(&self, frame: FrameNo) -> bool {
        self.0[frame.index()].referenced
    }

    fn is_movable(&self, frame: FrameNo) -> bool {
        let frame = &self.0[frame.index()];
        assert!(frame.page.is_some(), "the policy asks about a frame that it gave back");
        frame.pins == 0 && frame.writing == 0
    }
}

/// A cache of pages, as the engine will be one.
pub struct Cache {
    machine: Machine,
    pub policy: std::boxed::Box<dyn Policy>,
    pub frames: Frames,
    free: Vec<FrameNo>,
    pub resident: HashMap<u64, FrameNo>,
    hits: u64,
    pub misses: u64,
    /// References that were taken away.
    pub asked: u64,
    /// Pages in the order in which they were evicted.
    pub evicted: Vec<u64>,
}

/// Most steps that a search for one frame may take, in frames of the cache.
const VERDICTS_PER_FRAME: usize = 4;

fn key(page: u64) -> PageKey {
    PageKey { object: ObjectId(1), page: PageIndex(page) }
}

impl Cache {
    pub fn new(kind: PolicyKind, machine: Machine, capacity: u32) -> Cache {
        let empty = Frame { page: None, referenced: false, pins: 0, writing: 0, dirty: false };
        Cache {
            machine,
            policy: kind.build(capacity),
            frames: Frames(std::vec![empty; capacity as usize]),
            free: (0..capacity).rev().map(FrameNo).collect(),
            resident: HashMap::new(),
            hits: 0,
            misses: 0,
            asked: 0,
            evicted: Vec::new(),
        }
    }

    pub fn hit_ratio(&self) -> f64 {
        self.hits as f64 / (self.hits + self.misses) as f64
    }

    /// A load from `page`.
    pub fn load(&mut self, page: u64) {
        self.finish_writes();
        let Some(&frame) = self.resident.get(&page) else {
            self.misses += 1;
            self.bring_in(page, Arrival::Demand);
            return;
        };
        self.hits += 1;
        let state = &mut self.frames.0[frame.index()];
        if self.machine == Machine::Unmapping && !state.referenced {
            self.policy.touch(frame);
        }
        state.referenced = true;
    }

    pub fn store(&mut self, page: u64) {
        self.load(page);
        let frame = self.resident[&page];
        self.frames.0[frame.index()].dirty = true;
    }

    pub fn read_ahead(&mut self, page: u64) {
        if !self.resident.contains_key(&page) {
            self.bring_in(page, Arrival::ReadAhead);
        }
    }

    fn bring_in(&mut self, page: u64, how: Arrival) {
        if self.free.is_empty() {
            self.reclaim_one();
        }
        let frame = self.free.pop().expect("a frame was reclaimed");
        let state = &mut self.frames.0[frame.index()];
        // Read ahead, a page is mapped at once where there is no bit to clear.
        let mapped = self.machine == Machine::Unmapping;
        state.referenced = how == Arrival::Demand || mapped;
        assert_eq!(state.page.replace(page), None, "a frame came back twice");
        assert!(self.resident.insert(page, frame).is_none());
        self.policy.insert(frame, key(page), how);
        assert_eq!(self.resident.len() + self.free.len(), self.frames.0.len());
    }

    fn reclaim_one(&mut self) {
        let verdicts_max = VERDICTS_PER_FRAME * self.frames.0.len() + 64;
        for _ in 0..verdicts_max {
            let Some(verdict) = self.policy.next(&self.frames) else {
                let movable = self.resident.values().any(|&f| self.frames.is_movable(f));
                assert!(!movable, "nothing to do, with frames that can move");
                self.end_writes();
                continue;
            };
            let (Verdict::Evict(frame) | Verdict::Unreference(frame)) = verdict;
            assert!(self.frames.is_movable(frame), "{verdict:?} of a frame that can't move");
            let state = &mut self.frames.0[frame.index()];
            match verdict {
                Verdict::Unreference(_) => {
                    state.referenced = false;
                    self.asked += 1;
                }
                Verdict::Evict(_) if state.dirty => (state.dirty, state.writing) = (false, 20),
                Verdict::Evict(_) => {
                    let asks_all = self.policy.name() != PolicyKind::TwoList.name();
                    assert!(!(state.referenced && asks_all), "a page goes without a probe");
                    return self.drop_page(frame, Departure::Evicted);
                }
            }
        }
        panic!("no frame after {verdicts_max} verdicts");
    }

    pub fn drop_page(&mut self, frame: FrameNo, why: Departure) {
        let page = self.frames.0[frame.index()].page.take().expect("the frame holds a page");
        self.resident.remove(&page);
        self.policy.remove(frame, key(page), why);
        self.free.push(frame);
        if why == Departure::Evicted {
            self.evicted.push(page);
        }
    }

    pub fn pin(&mut self, page: u64) {
        let frame = self.resident[&page];
        self.frames.0[frame.index()].pins += 1;
        self.policy.touch(frame);
    }

    fn finish_writes(&mut self) {
        for frame in &mut self.frames.0 {
            frame.writing = frame.writing.saturating_sub(1);
        }
    }

    fn end_writes(&mut self) {
        self.frames.0.iter_mut().for_each(|frame| frame.writing = 0);
    }
}
