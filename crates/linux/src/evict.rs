//! Taking pages away from their addresses: aside, or for good.

use faultless_addr::{FrameNo, PAGE_SIZE, VirtAddr, VirtRange};
use faultless_sys::Errno;
use faultless_sys::memory::dont_need_many;

use crate::error::{PageError, Verb};
use crate::machine::LinuxMachine;
use crate::slots::Run;

/// Fewer neighbours than this are dropped rather than moved into the pool: measured,
/// one move costs as much as dropping two pages and making them anew.
const RECYCLE_MIN: usize = 4;

impl LinuxMachine {
    /// Moves pages aside, neighbours by one call, next to each other where possible.
    pub(crate) fn keep(&self, pages: &[(VirtAddr, FrameNo)]) -> Result<(), PageError> {
        let mut run = Run::EMPTY;
        let mut left = pages.len();
        for group in neighbours(pages) {
            let mut group = group;
            while !group.is_empty() {
                let at = group[0].0;
                if run.len == 0 {
                    run = self.pool.take_hollow(left as u32).ok_or(PageError::new(
                        Verb::Unmap,
                        at,
                        Errno::NOMEM,
                    ))?;
                }
                let part = run.split_front(run.len.min(group.len() as u32));
                let moved = self.pool.move_out(at, part, &self.counters);
                let done = moved.map_or_else(|s| s.done / PAGE_SIZE, |()| part.len as usize);
                self.pool.adopt(group[..done].iter().map(|(_, frame)| *frame), part.start);
                if let Err(stopped) = moved {
                    let mut unused = part;
                    unused.split_front(done as u32);
                    self.pool.give_hollow(unused);
                    self.pool.give_hollow(run);
                    return Err(PageError::stopped(Verb::Unmap, at, stopped));
                }
                left -= done;
                group = &group[done..];
            }
        }
        self.pool.give_hollow(run);
        Ok(())
    }

    /// Forgets pages: long runs go into the pool for other frames, the rest is dropped
    /// in batches.
    pub(crate) fn forget(&self, pages: &[(VirtAddr, FrameNo)]) -> Result<(), PageError> {
        let mut batch = Batch::new();
        for group in neighbours(pages) {
            let mut group = group;
            while group.len() >= RECYCLE_MIN {
                let done = self.pool.recycle(group[0].0, group.len() as u32, &self.counters);
                if done == 0 {
                    break; // Pinned, or there are enough ready pages.
                }
                group = &group[done as usize..];
            }
            if let Some((at, _)) = group.first() {
                batch.push(self, *at, group.len() as u64)?;
            }
        }
        batch.drop(self)
    }
}

/// Ranges that are dropped together.
struct Batch {
    ranges: [VirtRange; 128],
    used: usize,
}

impl Batch {
    fn new() -> Batch {
        Batch { ranges: [VirtRange { start: VirtAddr(0), end: VirtAddr(0) }; 128], used: 0 }
    }

    fn push(&mut self, machine: &LinuxMachine, at: VirtAddr, pages: u64) -> Result<(), PageError> {
        if self.used == self.ranges.len() {
            self.drop(machine)?;
        }
        self.ranges[self.used] = VirtRange { start: at, end: at.plus_pages(pages) };
        self.used += 1;
        Ok(())
    }

    fn drop(&mut self, machine: &LinuxMachine) -> Result<(), PageError> {
        let ranges = &self.ranges[..self.used];
        let Some(first) = ranges.first() else { return Ok(()) };
        machine.counters.drop_();
        // SAFETY: 1. the ranges are pages of our arenas (checked in `unmap`); 2. the
        // driver's promise is that it unmaps pages of its own, whose bytes it forgets.
        unsafe { dont_need_many(ranges) }
            .map_err(|errno| PageError::new(Verb::Unmap, first.start, errno))?;
        machine.pool.dropped(ranges.iter().map(|range| range.pages() as u32).sum());
        self.used = 0;
        Ok(())
    }
}

/// Cuts sorted pages into runs of neighbours.
fn neighbours(pages: &[(VirtAddr, FrameNo)]) -> impl Iterator<Item = &[(VirtAddr, FrameNo)]> {
    pages.chunk_by(|(a, _), (b, _)| a.plus_pages(1) == *b)
}
