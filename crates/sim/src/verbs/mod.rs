//! What programs ask for. Each verb changes the model by its own rule, and then the engine.
//!
//! A verb is carried through before its process goes on; tasks, and the accesses of
//! other processes, happen in between.
//!
//! | file | verbs |
//! |---|---|
//! | `map` | mmap, also over other maps; munmap, mprotect, brk |
//! | `remap` | mremap |
//! | `advise` | madvise, mlock |
//! | `process` | fork, exit |
//! | `files` | truncate, fallocate, read and write, msync |

mod advise;
mod files;
mod map;
mod process;
mod remap;

use faultless_addr::{PAGE_SHIFT, SpaceId, VirtAddr, VirtRange};
use faultless_engine::{Engine, Plan};

use crate::world::{BOUNDS, World};

/// The page numbers of a range.
fn numbers(range: VirtRange) -> std::ops::Range<u64> {
    range.start.0 >> PAGE_SHIFT..range.end.0 >> PAGE_SHIFT
}

/// The address of a page.
fn addr(number: u64) -> VirtAddr {
    VirtAddr(number << PAGE_SHIFT)
}

impl World {
    /// Some process, if one is between two accesses, asks for something.
    pub(crate) fn verb(&mut self) {
        let resting: Vec<u32> =
            self.processes.iter().filter(|(_, it)| it.is_none()).map(|(p, _)| *p).collect();
        let Some(process) = self.rng.choice(resting) else { return };
        match self.rng.u32(..35) {
            0..8 => self.mmap(process),
            8..10 => self.munmap(process),
            10..12 => self.mprotect(process),
            12..18 => self.mremap(process),
            18..22 => self.madvise(process),
            22 => self.mlock(process),
            23 => self.brk(process),
            24..26 => self.fork(process),
            26 if self.processes.len() > 1 => self.exit(process),
            27 => self.resize(),
            28 => self.punch(),
            29 => self.shift(),
            30 => self.msync(),
            31 => self.fill(process),
            _ => self.transfer(),
        }
    }

    /// Some pages of the bounds.
    fn choose_range(&mut self) -> VirtRange {
        let pages = self.rng.u64(1..24);
        let first = self.rng.u64(..BOUNDS.pages() - pages);
        let start = BOUNDS.start.plus_pages(first);
        VirtRange { start, end: start.plus_pages(pages) }
    }

    /// The verb's beginning, and then its steps until every page has left.
    pub(crate) fn clear<R>(
        &mut self,
        space: SpaceId,
        range: VirtRange,
        begin: impl FnOnce(&mut Engine, &mut Plan) -> R,
    ) -> R {
        let result = self.plan(begin);
        while let Some(no) = self.plan(|engine, plan| engine.clear_step(space, range, plan)) {
            self.wait(no);
            if self.rng.bool() && !self.processes.is_empty() {
                self.advance_others(space.0);
            }
        }
        result
    }

    fn advance_others(&mut self, but: u32) {
        let mine = self.processes.remove(&but);
        if !self.processes.is_empty() {
            self.advance_process();
        }
        if let Some(mine) = mine {
            self.processes.insert(but, mine);
        }
    }
}
