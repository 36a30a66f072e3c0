//! The slow truth: a map from pages to frames, and bytes, one by one.

use std::collections::{BTreeMap, HashSet};

use faultless_addr::Access;
use faultless_addr::PAGE_SIZE;

use super::*;

#[derive(Clone, Copy, Debug)]
pub struct Page {
    frame: FrameNo,
    rights: Rights,
    pub accessed: bool,
    pub dirty: bool,
}

/// A machine that remembers nothing but what was asked for last.
pub struct Slow {
    pages: BTreeMap<(SpaceId, VirtAddr), Page>,
    markers: BTreeMap<(SpaceId, VirtAddr), Marker>,
    /// `None` where a frame is empty.
    frames: Vec<Option<Vec<u8>>>,
    /// Without the roots.
    table_frames: u32,
}

impl Slow {
    pub fn new(frames: u32, table_frames: u32) -> Slow {
        let frames = vec![None; frames as usize];
        Slow { pages: BTreeMap::new(), markers: BTreeMap::new(), frames, table_frames }
    }

    pub fn fill(&mut self, frame: FrameNo, byte: u8) {
        self.frames[frame.index()] = Some(vec![byte; PAGE_SIZE]);
    }

    pub fn empty(&mut self, frame: FrameNo) {
        self.frames[frame.index()] = None;
    }

    pub fn copy(&mut self, from: FrameNo, to: FrameNo) {
        self.frames[to.index()] = self.frames[from.index()].clone();
    }

    pub fn bytes(&self, frame: FrameNo) -> Option<&Vec<u8>> {
        self.frames[frame.index()].as_ref()
    }

    pub fn place(&self, frame: FrameNo) -> Place {
        let addresses = self.pages.values().filter(|page| page.frame == frame).count();
        match (addresses, self.bytes(frame)) {
            (0, None) => Place::Empty,
            (0, Some(_)) => Place::Aside,
            _ => Place::Mapped(addresses as u32),
        }
    }

    /// Answers if it can be done; else nothing is.
    pub fn map(
        &mut self,
        space: SpaceId,
        at: VirtAddr,
        frames: &[FrameNo],
        rights: Rights,
    ) -> bool {
        let range = VirtRange::new(at, at.plus_pages(frames.len() as u64));
        let is_free =
            |at| !self.pages.contains_key(&(space, at)) && !self.markers.contains_key(&(space, at));
        if !pages(range).all(is_free) || !self.fits(space, range) {
            return false;
        }
        for (at, frame) in pages(range).zip(frames) {
            let page = Page { frame: *frame, rights, accessed: false, dirty: false };
            self.pages.insert((space, at), page);
        }
        true
    }

    /// Answers which frame it was.
    pub fn unmap(&mut self, space: SpaceId, at: VirtAddr, then: Then) -> Option<FrameNo> {
        let frame = self.pages.remove(&(space, at))?.frame;
        if then == Then::Drop && self.place(frame) == Place::Aside {
            self.empty(frame);
        }
        Some(frame)
    }

    /// Answers if a page is there.
    pub fn protect(
        &mut self,
        space: SpaceId,
        at: VirtAddr,
        change: impl Fn(Rights) -> Rights,
    ) -> bool {
        let page = self.pages.get_mut(&(space, at));
        page.map(|page| page.rights = change(page.rights)).is_some()
    }

    /// Answers if it can be done; else nothing is.
    pub fn mark(&mut self, space: SpaceId, range: VirtRange, marker: Marker) -> bool {
        if !self.fits(space, range) {
            return false;
        }
        for at in pages(range).filter(|at| !self.pages.contains_key(&(space, *at))) {
            self.markers.entry((space, at)).or_insert(marker);
        }
        true
    }

    pub fn unmark(&mut self, space: SpaceId, range: VirtRange, marker: Marker) {
        self.markers
            .retain(|(of, at), found| *of != space || !range.contains(*at) || *found != marker);
    }

    /// Clears a bit of a page; answers if it was set.
    pub fn clear(
        &mut self,
        space: SpaceId,
        at: VirtAddr,
        bit: impl Fn(&mut Page) -> &mut bool,
    ) -> bool {
        self.pages.get_mut(&(space, at)).is_some_and(|page| std::mem::take(bit(page)))
    }

    pub fn load(
        &mut self,
        space: SpaceId,
        addr: VirtAddr,
        len: usize,
        access: Access,
    ) -> (Result<(), PageFault>, Vec<u8>) {
        let mut bytes = vec![0; len];
        for (addr, byte) in (addr.0..).map(VirtAddr).zip(&mut bytes) {
            match self.touch(space, addr, access) {
                Ok(found) => *byte = *found,
                Err(fault) => return (Err(fault), bytes),
            }
        }
        (Ok(()), bytes)
    }

    pub fn store(&mut self, space: SpaceId, addr: VirtAddr, bytes: &[u8]) -> Result<(), PageFault> {
        for (addr, byte) in (addr.0..).map(VirtAddr).zip(bytes) {
            *self.touch(space, addr, Access::Write)? = *byte;
        }
        Ok(())
    }

    pub fn exchange(
        &mut self,
        space: SpaceId,
        addr: VirtAddr,
        expected: u64,
        new: u64,
    ) -> Result<u64, PageFault> {
        let mut found = [0; 8];
        for (addr, byte) in (addr.0..).map(VirtAddr).zip(&mut found) {
            *byte = *self.touch(space, addr, Access::Write)?;
        }
        let found = u64::from_le_bytes(found);
        if found == expected {
            self.store(space, addr, &new.to_le_bytes())?;
        }
        Ok(found)
    }

    /// The number at `addr`, without an access.
    pub fn number(&self, space: SpaceId, addr: VirtAddr) -> Option<u64> {
        let byte = |addr: VirtAddr| {
            let page = self.pages.get(&(space, addr.page_start()))?;
            Some(self.bytes(page.frame)?[addr.0 as usize % PAGE_SIZE])
        };
        let bytes: Option<Vec<u8>> = (addr.0..addr.0 + 8).map(VirtAddr).map(byte).collect();
        Some(u64::from_le_bytes(bytes?.try_into().ok()?))
    }

    pub fn translations(&self, space: SpaceId) -> Vec<Translation> {
        let pages = self.pages.iter().filter(|((of, _), _)| *of == space);
        let translation = |((_, at), page): (&(SpaceId, VirtAddr), &Page)| {
            let Page { frame, rights, accessed, dirty } = *page;
            Translation { at: *at, frame, rights, accessed, dirty }
        };
        pages.map(translation).collect()
    }

    pub fn free_table_frames(&self) -> usize {
        self.table_frames as usize - self.tables().len()
    }

    /// One byte is accessed.
    fn touch(
        &mut self,
        space: SpaceId,
        addr: VirtAddr,
        access: Access,
    ) -> Result<&mut u8, PageFault> {
        let key = (space, addr.page_start());
        let fault = |cause| PageFault { addr, access, cause };
        let Some(page) = self.pages.get_mut(&key) else {
            let marker = self.markers.get(&key);
            return Err(fault(marker.map_or(Cause::Absent, |marker| Cause::Marked(*marker))));
        };
        if !page.rights.allow(access) {
            return Err(fault(Cause::Denied));
        }
        page.accessed = true;
        page.dirty |= access == Access::Write;
        let bytes = self.frames[page.frame.index()].as_mut().expect("a mapped frame has bytes");
        Ok(&mut bytes[addr.0 as usize % PAGE_SIZE])
    }

    /// Are there tables enough for the pages of `range`, too?
    fn fits(&self, space: SpaceId, range: VirtRange) -> bool {
        let mut tables = self.tables();
        tables.extend(pages(range).flat_map(|at| tables_for(space, at)));
        tables.len() <= self.table_frames as usize
    }

    fn tables(&self) -> HashSet<(SpaceId, u32, u64)> {
        let keys = self.pages.keys().chain(self.markers.keys());
        keys.flat_map(|(space, at)| tables_for(*space, *at)).collect()
    }
}

/// The tables that a page needs, each by what it translates.
fn tables_for(space: SpaceId, at: VirtAddr) -> [(SpaceId, u32, u64); 3] {
    [21, 30, 39].map(|shift| (space, shift, at.0 >> shift))
}

pub fn pages(range: VirtRange) -> impl Iterator<Item = VirtAddr> {
    (0..range.pages()).map(move |page| range.start.plus_pages(page))
}
