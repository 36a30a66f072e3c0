//! What programs ask for: mappings, their end, other rights, forks, other lengths.
//!
//! A verb is carried through before its process goes on; tasks, and the accesses of
//! other processes, happen in between.

use std::collections::BTreeMap;

use faultless_addr::{ObjectId, PAGE_BYTES, PAGE_SHIFT, PageIndex, Prot, SpaceId, VirtRange};
use faultless_engine::space::{Backing, MapRequest, Merge, Place, Sharing, VmaFlags};
use faultless_engine::{Engine, Plan, ResizedBy};

use crate::model::Page;
use crate::world::{BOUNDS, World};

impl World {
    /// Some process, if one is between two accesses, asks for something.
    pub(crate) fn verb(&mut self) {
        let resting: Vec<u32> =
            self.processes.iter().filter(|(_, it)| it.is_none()).map(|(p, _)| *p).collect();
        let Some(process) = self.rng.choice(resting) else { return };
        match self.rng.u32(..10) {
            0..4 => self.mmap(process),
            4 => self.munmap(process),
            5 => self.mprotect(process),
            6 => self.dont_need(process),
            7 => self.fork(process),
            8 if self.processes.len() > 1 => self.exit(process),
            _ => self.resize(),
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
    pub(crate) fn clear(
        &mut self,
        space: SpaceId,
        range: VirtRange,
        begin: impl FnOnce(&mut Engine, &mut Plan),
    ) {
        self.plan(begin);
        while let Some(no) = self.plan(|engine, plan| engine.clear_step(space, range, plan)) {
            self.wait(no);
            if self.rng.bool() && !self.processes.is_empty() {
                self.advance_others(space.0);
            }
        }
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

    fn munmap_range(&mut self, process: u32, range: VirtRange) {
        let pages = self.model.processes.get_mut(&process).expect("it lives");
        pages.retain(|number, _| !range.contains(faultless_addr::VirtAddr(number << PAGE_SHIFT)));
        let space = SpaceId(process);
        self.clear(space, range, |engine, plan| {
            engine.unmap(space, range, plan).expect("a range of the bounds");
        });
    }

    fn mmap(&mut self, process: u32) {
        let range = self.choose_range();
        self.munmap_range(process, range);
        let prot = match self.rng.u32(..6) {
            0 => Prot::READ,
            1 => Prot::empty(),
            _ => Prot::READ | Prot::WRITE,
        };
        let file = self.rng.bool().then(|| self.files[self.rng.usize(..self.files.len())]);
        let first = PageIndex(self.rng.u64(..12));
        let shared = file.is_some() && self.rng.bool();
        let request = MapRequest {
            place: Place::Fixed(range.start),
            len: range.len(),
            prot,
            sharing: if shared { Sharing::Shared } else { Sharing::Private },
            backing: file.map_or(Backing::Anonymous, |object| Backing::Object { object, first }),
            flags: VmaFlags::empty(),
            merge: Merge::Yes,
        };
        let mapped = self.engine.map(SpaceId(process), request).expect("the range is free");
        assert_eq!(mapped, range);
        let pages = self.model.processes.get_mut(&process).expect("it lives");
        for n in 0..range.pages() {
            let object = file.map(|object| (object, first.plus(n)));
            let page = Page { prot, shared, object, copy: None };
            pages.insert((range.start.0 >> PAGE_SHIFT) + n, page);
        }
    }

    fn munmap(&mut self, process: u32) {
        let range = self.choose_range();
        self.munmap_range(process, range);
    }

    /// The pages of the model in a range, up to the first that isn't mapped.
    fn pages_of(&mut self, process: u32, range: VirtRange) -> impl Iterator<Item = &mut Page> {
        let first = range.start.0 >> PAGE_SHIFT;
        let pages = self.model.processes.get_mut(&process).expect("it lives");
        let numbers = first..first + range.pages();
        pages
            .range_mut(numbers)
            .enumerate()
            .take_while(move |(n, (number, _))| **number == first + *n as u64)
            .map(|(_, (_, page))| page)
    }

    fn mprotect(&mut self, process: u32) {
        let range = self.choose_range();
        let prot = match self.rng.u32(..3) {
            0 => Prot::READ,
            1 => Prot::empty(),
            _ => Prot::READ | Prot::WRITE,
        };
        self.pages_of(process, range).for_each(|page| page.prot = prot);
        let space = SpaceId(process);
        self.clear(space, range, |engine, plan| {
            // A hole is an error; what was before it has changed.
            let _ = engine.protect(space, range, prot, plan);
        });
    }

    fn dont_need(&mut self, process: u32) {
        let range = self.choose_range();
        let first = range.start.0 >> PAGE_SHIFT;
        let pages = self.model.processes.get_mut(&process).expect("it lives");
        for (_, page) in pages.range_mut(first..first + range.pages()) {
            page.copy = None;
        }
        let space = SpaceId(process);
        self.clear(space, range, |engine, plan| engine.dont_need(space, range, plan));
    }

    fn fork(&mut self, process: u32) {
        if self.processes.len() >= 4 {
            return;
        }
        let parent = SpaceId(process);
        let child = self.engine.fork(parent);
        let pages: BTreeMap<_, _> = self.model.processes[&process].clone();
        self.model.processes.insert(child.0, pages);
        while let Some(no) = self.plan(|engine, plan| engine.fork_step(parent, plan)) {
            self.wait(no);
            if self.rng.bool() {
                self.advance_others(process);
            }
        }
        if self.machine_lacks(child) {
            self.machine.add_space().expect("there are table frames");
        }
        self.processes.insert(child.0, None);
    }

    /// Spaces of the machine are used again, as those of the engine are.
    fn machine_lacks(&mut self, space: SpaceId) -> bool {
        let new = space.0 >= self.machine_spaces;
        self.machine_spaces += u32::from(new);
        new
    }

    /// A file has another length. Nobody runs meanwhile.
    fn resize(&mut self) {
        let object: ObjectId = self.files[self.rng.usize(..self.files.len())];
        let pages = self.rng.u64(1..40);
        let size = pages * PAGE_BYTES;
        self.model.set_size(object, pages);
        let backing = self.backings.get_mut(&object.0).expect("it has a backing");
        backing.bytes.resize(size as usize, 0);
        self.plan(|engine, plan| engine.set_size(object, size, ResizedBy::User, plan));
        self.finish_tasks();
    }
}
