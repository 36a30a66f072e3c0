//! Taking pages away from their addresses: aside, or for good.

use faultless_addr::{FrameNo, PAGE_SIZE, VirtAddr, VirtRange};
use faultless_machine::Stores;
use faultless_sys::Errno;
use faultless_sys::memory::dont_need_many;

use crate::error::{PageError, Verb};
use crate::machine::LinuxMachine;
use crate::pool::Copying;
use crate::slots::Run;

/// Fewer neighbours than this are copied or dropped rather than moved: measured, one
/// move costs as much as dropping two pages and making them anew, because each move
/// makes the other processors forget translations and a batch of drops does so once.
pub(crate) const MOVE_MIN: usize = 4;

impl LinuxMachine {
    /// Takes pages aside: neighbours move by one call, next to each other where
    /// possible, and so does each page whose bytes may change. Others are copied, and
    /// leave their addresses by one call for many.
    pub(crate) fn keep(
        &self,
        pages: &[(VirtAddr, FrameNo)],
        stores: Stores,
    ) -> Result<(), PageError> {
        let mut copied = Copied::new();
        for group in neighbours(pages) {
            match stores {
                Stores::Stopped if group.len() < MOVE_MIN => copied.push(self, group)?,
                _ => {
                    // In order: whoever hears of an error knows what came before it.
                    copied.finish(self)?;
                    self.move_aside(group, stores, &mut copied)?;
                }
            }
        }
        copied.finish(self)
    }

    /// Moves neighbours. Pages that are shared with another process, and whose bytes
    /// can't change, are left to be copied.
    fn move_aside(
        &self,
        group: &[(VirtAddr, FrameNo)],
        stores: Stores,
        copied: &mut Copied,
    ) -> Result<(), PageError> {
        let mut group = group;
        while let Some((at, _)) = group.first().copied() {
            let run = self.pool.take_hollow(group.len() as u32);
            let mut run = run.ok_or(PageError::new(Verb::Unmap, at, Errno::NOMEM))?;
            let moved = match stores {
                Stores::Pass => self.pool.move_out(at, run, &self.counters),
                Stores::Stopped => self.pool.move_out_own(at, run, &self.counters),
            };
            let done = moved.map_or_else(|s| s.done / PAGE_SIZE, |()| run.len as usize);
            self.pool.assign_moved(group[..done].iter().map(|(_, frame)| *frame), run.start);
            group = &group[done..];
            if let Err(stopped) = moved {
                run.split_front(done as u32);
                self.pool.give_hollow(run);
                let shared = stopped.errno == Errno::BUSY && self.pool.shares();
                if shared && stores == Stores::Stopped {
                    return copied.push(self, group);
                }
                return Err(PageError::stopped(Verb::Unmap, at, stopped));
            }
        }
        Ok(())
    }

    /// Forgets pages: long runs go into the pool for other frames, the rest is dropped
    /// in batches.
    pub(crate) fn forget(&self, pages: &[(VirtAddr, FrameNo)]) -> Result<(), PageError> {
        let mut batch = Batch::new();
        for group in neighbours(pages) {
            let mut group = group;
            while group.len() >= MOVE_MIN {
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

/// Pages that are copied together before they are dropped together.
struct Copied {
    pages: [(VirtAddr, FrameNo); COPIED_MAX],
    used: usize,
}

const COPIED_MAX: usize = 64;

impl Copied {
    fn new() -> Copied {
        Copied { pages: [(VirtAddr(0), FrameNo(0)); COPIED_MAX], used: 0 }
    }

    fn push(
        &mut self,
        machine: &LinuxMachine,
        group: &[(VirtAddr, FrameNo)],
    ) -> Result<(), PageError> {
        for page in group {
            if self.used == COPIED_MAX {
                self.finish(machine)?;
            }
            self.pages[self.used] = *page;
            self.used += 1;
        }
        Ok(())
    }

    /// Copies what has been gathered, and then drops it.
    fn finish(&mut self, machine: &LinuxMachine) -> Result<(), PageError> {
        let mut rest = &self.pages[..self.used];
        self.used = 0;
        while let Some((at, _)) = rest.first().copied() {
            let error = |errno| PageError::new(Verb::Unmap, at, errno);
            let granted = machine.pool.begin_copying(rest.len() as u32).map_err(error)?;
            let (now, later) = rest.split_at(granted as usize);
            let result = machine.pool.copy_out(now, &machine.counters).and_then(|()| {
                let mut batch = Batch::new();
                now.iter().try_for_each(|(at, _)| batch.push(machine, *at, 1))?;
                batch.drop(machine)
            });
            let ready = Run::EMPTY;
            machine.pool.end_copying(Copying { granted, not_made: 0, ready });
            result?;
            rest = later;
        }
        Ok(())
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
        let _quiet = machine.pool.moments.keep_off();
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
