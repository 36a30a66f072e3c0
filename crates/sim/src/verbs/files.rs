//! truncate, fallocate, msync, and read and write through the cache.

use faultless_addr::{ObjectId, PAGE_BYTES, PAGE_SIZE, PageIndex, PageRange, Prot, VirtRange};
use faultless_engine::ResizedBy;
use faultless_engine::space::{Backing, MapRequest, Merge, Place, Sharing, VmaFlags};

use super::numbers;
use crate::access::Pending;
use crate::model::Page;
use crate::world::{KERNEL, WINDOW, World};

impl World {
    fn choose_file(&mut self) -> ObjectId {
        self.files[self.rng.usize(..self.files.len())]
    }

    /// A file has another length. Nobody runs meanwhile.
    pub(super) fn resize(&mut self) {
        self.tally.note("file: resized");
        let object = self.choose_file();
        let pages = self.rng.u64(1..40);
        let size = pages * PAGE_BYTES;
        self.model.set_size(object, pages);
        self.backing_mut(object).resize(size as usize);
        self.promised.get_mut(&object.0).expect("it is a file").resize(size as usize, 0);
        self.plan(|engine, plan| engine.set_size(object, size, ResizedBy::User, plan));
        self.finish_tasks();
    }

    /// Some pages of a file are zeros from now on: in private copies they stay.
    pub(super) fn punch(&mut self) {
        self.tally.note("file: hole punched");
        let object = self.choose_file();
        let pages = self.choose_pages(object);
        let bytes = pages.start.offset() as usize..pages.end.offset() as usize;
        self.rewrite(object, pages, |file| file[bytes.clone()].fill(0));
    }

    /// Pages go from the middle of a file, or come there; those behind move, and private
    /// copies of them are lost.
    pub(super) fn shift(&mut self) {
        let object = self.choose_file();
        let (size, pages) = (self.engine.size(object), self.choose_pages(object));
        let collapses = self.rng.bool();
        let len = pages.len() * PAGE_BYTES;
        let new = if collapses { size - len } else { size + len };
        if new == 0 || new > 40 * PAGE_BYTES {
            return;
        }
        self.tally.note(if collapses { "file: collapsed" } else { "file: inserted" });
        let bytes = pages.start.offset() as usize..pages.end.offset() as usize;
        let behind = PageRange::new(pages.start, PageRange::all().end);
        self.rewrite(object, behind, |file| match collapses {
            true => drop(file.drain(bytes.clone())),
            false => drop(file.splice(bytes.start..bytes.start, vec![0; bytes.len()])),
        });
        self.model.forget_copies(object, behind);
        self.plan(|engine, plan| {
            engine.set_size(object, new, ResizedBy::User, plan);
            engine.forget_copies(object, behind, plan);
        });
        self.finish_tasks();
    }

    /// Some pages below the end.
    fn choose_pages(&mut self, object: ObjectId) -> PageRange {
        let pages = self.engine.size(object) / PAGE_BYTES;
        let first = self.rng.u64(..pages);
        let count = self.rng.u64(1..=pages - first);
        PageRange::from_len(PageIndex(first), count)
    }

    /// Changes what is behind an object. What is in memory is written before, and read
    /// again afterwards; nobody runs meanwhile, and nothing fails.
    fn rewrite(&mut self, object: ObjectId, pages: PageRange, change: impl Fn(&mut Vec<u8>)) {
        let failing = std::mem::replace(&mut self.failing, false);
        self.flush(object);
        change(&mut self.backing_mut(object).bytes);
        self.backing_mut(object).sync();
        change(self.model.objects.get_mut(&object.0).expect("it is a file"));
        self.plan(|engine, plan| engine.discard(object, pages, plan));
        self.finish_tasks();
        self.failing = failing;
        self.promise(object);
    }

    /// What has been stored to a file is where a crash can't take it.
    pub(super) fn msync(&mut self) {
        let object = self.choose_file();
        self.flush(object);
        if self.engine.dirty(object) == 0 {
            let same = self.backings[&object.0].bytes == self.model.objects[&object.0];
            assert!(same, "{object:?}: a store was lost");
            self.backing_mut(object).sync();
            self.tally.note("file: synced");
            self.promise(object);
        }
    }

    /// A system call reads or writes a file, by the cache: the kernel shows itself the page.
    pub(super) fn transfer(&mut self) {
        let object = self.choose_file();
        let page = self.choose_pages(object).start;
        let request = MapRequest {
            place: Place::FixedNoReplace(WINDOW.start),
            len: PAGE_BYTES,
            prot: Prot::READ | Prot::WRITE,
            sharing: Sharing::Shared,
            backing: Backing::Object { object, first: page },
            flags: VmaFlags::empty(),
            merge: Merge::No,
        };
        let number = numbers(WINDOW).start;
        let shown = Page::new(request.prot, true, Some((object, page)));
        self.model.pages_mut(KERNEL.0).insert(number, shown);
        self.engine.map(KERNEL, request).expect("the kernel's space is empty");
        let store = self.rng.bool().then(|| self.rng.u64(..));
        self.tally.note(if store.is_some() { "file: write" } else { "file: read" });
        let offset = self.rng.usize(..PAGE_SIZE / 8) * 8;
        self.access_to_end(KERNEL.0, Pending { store, ..Pending::load(number, offset) });
        self.unmap_window(WINDOW);
    }

    fn unmap_window(&mut self, window: VirtRange) {
        self.model.pages_mut(KERNEL.0).clear();
        self.clear(KERNEL, window, |engine, plan| {
            engine.unmap(KERNEL, window, plan).expect("it was mapped");
        });
    }

    fn backing_mut(&mut self, object: ObjectId) -> &mut crate::backing::Backing {
        self.backings.get_mut(&object.0).expect("it has a backing")
    }

    /// From now on a crash must leave these bytes, where nobody stores.
    pub(crate) fn promise(&mut self, object: ObjectId) {
        let bytes = self.model.objects[&object.0].clone();
        self.promised.insert(object.0, bytes);
    }
}
