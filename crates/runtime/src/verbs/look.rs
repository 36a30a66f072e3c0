//! `look`: what is in memory, and where what is (mincore(2), /proc/PID/maps).

use faultless_addr::{ObjectId, SpaceId, VirtRange};
use faultless_engine::space::ObjectName;
use faultless_machine::Machine;

use crate::core::Core;
use crate::error::Error;

/// Pages that are looked at in one taking of the lock.
const LOOKS: u64 = 1024;

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
        self.check_birthplace()?;
        // Pagers are asked for their names with no lock held.
        let pagers: Vec<_> = self.pagers.lock().clone();
        let known: Vec<_> = (0..)
            .map(ObjectId)
            .zip(pagers)
            .map(|(object, pager)| {
                (file(object), pager.map_or_else(String::new, |pager| pager.name()))
            })
            .collect();
        let name = |object: ObjectId| {
            let (file, name) = known.get(object.index()).map_or((None, ""), |(f, n)| (Some(f), n));
            let FileOf { device, inode } = file.cloned().unwrap_or_default();
            ObjectName { device, inode, name }
        };
        let mut text = String::new();
        let engine = self.engine.lock();
        let mut spaces: Vec<_> = spaces.iter().map(|space| engine.space(*space)).collect();
        spaces.sort_by_key(|space| space.config().bounds.start);
        for space in spaces {
            space.write_maps(&mut text, name).expect("a string takes everything");
        }
        Ok(text)
    }
}
