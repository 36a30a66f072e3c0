//! mmap, munmap, mprotect, brk.

use faultless_addr::{PAGE_BYTES, PageIndex, Prot, SpaceId, VirtAddr, VirtRange};
use faultless_engine::space::{Backing, MapRequest, Merge, Place, Sharing, VmaFlags};

use super::{addr, numbers};
use crate::access::Pending;
use crate::model::Page;
use crate::world::World;

impl World {
    /// A new area, mostly over others: these go before it, or at once with it.
    pub(super) fn mmap(&mut self, process: u32) {
        let range = self.choose_range();
        let over = self.rng.bool();
        if !over {
            self.munmap_range(process, range);
        }
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
        for (n, number) in numbers(range).enumerate() {
            let object = file.map(|object| (object, first.plus(n as u64)));
            self.model.pages_mut(process).insert(number, Page::new(prot, shared, object));
        }
        let space = SpaceId(process);
        self.tally.note(if over { "verb: mmap over maps" } else { "verb: mmap" });
        let mapped = match over {
            true => self.clear(space, range, |engine, plan| engine.map_over(space, request, plan)),
            false => self.engine.map(space, request),
        };
        assert_eq!(mapped, Ok(range));
    }

    pub(crate) fn munmap_range(&mut self, process: u32, range: VirtRange) {
        self.model.pages_mut(process).retain(|number, _| !range.contains(addr(*number)));
        let space = SpaceId(process);
        self.clear(space, range, |engine, plan| {
            engine.unmap(space, range, plan).expect("a range of the bounds");
        });
    }

    /// As a program that fills a buffer: stores to page after page.
    pub(super) fn fill(&mut self, process: u32) {
        self.tally.note("verb: buffer filled");
        for number in self.model.processes[&process].keys().copied().collect::<Vec<_>>() {
            let store = Some(self.rng.u64(..));
            self.access_to_end(process, Pending { store, ..Pending::load(number, 0) });
        }
    }

    pub(super) fn munmap(&mut self, process: u32) {
        self.tally.note("verb: munmap");
        let range = self.choose_range();
        self.munmap_range(process, range);
    }

    /// A hole is an error; what was before it has changed.
    pub(super) fn mprotect(&mut self, process: u32) {
        let range = self.choose_range();
        self.tally.note("verb: mprotect");
        let prot = match self.rng.u32(..3) {
            0 => Prot::READ,
            1 => Prot::empty(),
            _ => Prot::READ | Prot::WRITE,
        };
        let pages = self.model.pages_mut(process);
        let whole = numbers(range).map_while(|number| pages.get(&number).map(|_| number)).count();
        for number in numbers(range).take(whole) {
            pages.get_mut(&number).expect("it was just there").prot = prot;
        }
        let space = SpaceId(process);
        let result =
            self.clear(space, range, |engine, plan| engine.protect(space, range, prot, plan));
        assert_eq!(result.is_ok(), whole as u64 == range.pages(), "{range:?}: {result:?}");
    }

    /// The heap becomes longer, if nothing is in its way, or shorter.
    pub(super) fn brk(&mut self, process: u32) {
        let space = SpaceId(process);
        let before = *self.engine.space(space).layout().expect("each process has a heap");
        let wanted = VirtAddr(before.start_brk.0 + self.rng.u64(..24 * PAGE_BYTES));
        let page_end = |at: VirtAddr| VirtAddr(at.0.next_multiple_of(PAGE_BYTES));
        let (old, new) = (page_end(before.brk), page_end(wanted));
        let range = VirtRange { start: old.min(new), end: old.max(new) };
        let result = self.clear(space, range, |engine, plan| engine.brk(space, wanted, plan));
        if result.is_err() {
            return;
        }
        self.tally.note(if old < new { "verb: brk up" } else { "verb: brk down" });
        for number in numbers(range) {
            let page = Page::new(Prot::READ | Prot::WRITE, false, None);
            match old < new {
                true => self.model.pages_mut(process).insert(number, page),
                false => self.model.pages_mut(process).remove(&number),
            };
        }
    }
}
