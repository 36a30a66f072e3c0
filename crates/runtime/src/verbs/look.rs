//! `look`: what is in memory, and where what is (mincore(2), /proc/PID/maps and smaps).

use std::collections::HashMap;
use std::fmt;

use faultless_addr::{ObjectId, PAGE_BYTES, PageIndex, SpaceId, VirtRange};
use faultless_engine::Engine;
use faultless_engine::space::{AddressSpace, ObjectName, Sharing, Usage, Vma};
use faultless_machine::Machine;

use crate::core::Core;
use crate::error::Error;

/// Pages that are looked at in one taking of the lock.
const LOOKS: u64 = 1024;

/// Addresses of which pages are counted in one taking of the lock, in pages: 256 MiB, most of
/// which mean nothing.
const COUNTS: u64 = 64 << 10;

/// What `maps` says of an object.
#[derive(Clone, Debug, Default)]
pub struct FileOf {
    /// The device with the file system, major and minor.
    pub device: (u32, u32),
    /// The file's number there.
    pub inode: u64,
}

impl<M: Machine> Core<M> {
    /// Which pages of a range are in memory, one by one.
    pub fn residency(&self, space: SpaceId, range: VirtRange) -> Result<Vec<bool>, Error> {
        self.check_birthplace()?;
        let mut pages = Vec::with_capacity(range.pages() as usize);
        while (pages.len() as u64) < range.pages() {
            let engine = self.engine.lock();
            let first = pages.len() as u64;
            let some = first..(first + LOOKS).min(range.pages());
            pages.extend(some.map(|n| engine.is_in_memory(space, range.start.plus_pages(n))));
        }
        Ok(pages)
    }

    /// The areas of spaces as lines, by address, in the kernel's format.
    pub fn maps(
        &self,
        spaces: &[SpaceId],
        file: impl Fn(ObjectId) -> FileOf,
    ) -> Result<String, Error> {
        self.text(spaces, file, |space, names, text| space.write_maps(text, |it| names.of(it)))
    }

    /// As [`maps`](Self::maps), with what of each area is in memory and in swap, each as it
    /// was when it was counted.
    pub fn smaps(
        &self,
        spaces: &[SpaceId],
        file: impl Fn(ObjectId) -> FileOf,
    ) -> Result<String, Error> {
        self.check_birthplace()?;
        let mut usages = HashMap::new();
        for space in spaces {
            let areas: Vec<VirtRange> =
                self.engine.lock().space(*space).iter().map(|area| area.range).collect();
            usages.extend(areas.into_iter().map(|area| (area, self.usage(*space, area))));
        }
        let usage = |area: &Vma| usages.get(&area.range).copied().unwrap_or_default();
        self.text(spaces, file, |space, names, text| {
            space.write_smaps(text, |it| names.of(it), usage)
        })
    }

    /// What `write` makes of each space.
    fn text(
        &self,
        spaces: &[SpaceId],
        file: impl Fn(ObjectId) -> FileOf,
        write: impl Fn(&AddressSpace, &Names, &mut String) -> fmt::Result,
    ) -> Result<String, Error> {
        self.check_birthplace()?;
        let names = self.names(file);
        let mut text = String::new();
        let engine = self.engine.lock();
        for space in by_address(&engine, spaces) {
            let written = write(engine.space(space), &names, &mut text);
            written.expect("a string takes everything");
        }
        Ok(text)
    }

    fn usage(&self, space: SpaceId, range: VirtRange) -> Usage {
        let mut usage = Usage::default();
        let mut rest = range;
        while !rest.is_empty() {
            let end = rest.start.plus_pages(rest.pages().min(COUNTS));
            let part = VirtRange::new(rest.start, end);
            usage.add(&self.engine.lock().usage(space, part));
            rest.start = end;
        }
        let swap = self.shared_in_swap(space, range) as u64;
        usage.add(&Usage { swap, proportional_swap_bytes: swap * PAGE_BYTES, ..Usage::default() });
        usage
    }

    /// Pages of shared memory that are in swap and not in memory.
    fn shared_in_swap(&self, space: SpaceId, range: VirtRange) -> usize {
        let area = self.engine.lock().space(space).find(range.start).copied();
        let shared = area.filter(|area| area.sharing == Sharing::Shared);
        let shown = shared.and_then(|area| Some((area.object()?, area.page_at(range.start)?)));
        let Some((object, first)) = shown else { return 0 };
        let Some(pager) = self.pagers.lock().get(object.index()).cloned().flatten() else {
            return 0;
        };
        let pages = pager.in_swap(first.offset(), range.len());
        let pages: Vec<PageIndex> = pages.into_iter().map(PageIndex).collect();
        let engine = self.engine.lock();
        if self.is_still(object, &pager) { engine.absent(object, &pages) } else { 0 }
    }

    fn names(&self, file: impl Fn(ObjectId) -> FileOf) -> Names {
        // Pagers are asked for their names with no lock held.
        let pagers: Vec<_> = self.pagers.lock().clone();
        let named = (0..).map(ObjectId).zip(pagers).map(|(object, pager)| {
            (file(object), pager.map_or_else(String::new, |pager| pager.name()))
        });
        Names(named.collect())
    }
}

/// What objects are called, by their numbers.
struct Names(Vec<(FileOf, String)>);

impl Names {
    fn of(&self, object: ObjectId) -> ObjectName<'_> {
        let known = self.0.get(object.index());
        let (device, inode) = known.map_or(((0, 0), 0), |(file, _)| (file.device, file.inode));
        ObjectName { device, inode, name: known.map_or("", |(_, name)| name) }
    }
}

fn by_address(engine: &Engine, spaces: &[SpaceId]) -> Vec<SpaceId> {
    let mut spaces = spaces.to_vec();
    spaces.sort_by_key(|space| engine.space(*space).config().bounds.start);
    spaces
}
