//! What changes under the machine's lock: tables, TLBs, and the places of frames.

use faultless_addr::{FrameNo, SpaceId, VirtAddr, VirtRange};

use crate::config::Config;
use crate::cpu::CpuNo;
use crate::entry::Entry;
use crate::error::MapError;
use crate::frames::Frames;
use crate::level::{EVERYWHERE, is_canonical};
use crate::memory::Memory;
use crate::stats::Stats;
use crate::tables::{Slot, Tables};
use crate::tlb::Tlb;

/// Everything but the bytes of frames, which are in [`Memory`].
pub struct State {
    pub memory: Memory,
    pub tables: Tables,
    pub frames: Frames,
    pub stats: Stats,
    /// The root of each space (`CR3`), `None` where a space was destroyed.
    roots: Vec<Option<FrameNo>>,
    /// One for each CPU.
    tlbs: Vec<Tlb>,
    #[cfg(any(test, feature = "canary"))]
    canary: Option<crate::config::Canary>,
}

impl State {
    /// No space yet, and all frames empty.
    pub fn new(config: Config, memory: Memory) -> State {
        State {
            tables: Tables::new(memory.clone(), config.frames, config.table_frames),
            memory,
            frames: Frames::new(config.frames),
            stats: Stats::default(),
            roots: Vec::new(),
            tlbs: vec![Tlb::default(); config.cpus as usize],
            #[cfg(any(test, feature = "canary"))]
            canary: config.canary,
        }
    }

    /// A space without translations, in the first place that is free.
    pub fn add_space(&mut self) -> Result<SpaceId, MapError> {
        let out_of_tables = MapError::OutOfTables { at: VirtAddr(0) };
        let root = self.tables.new_table().ok_or(out_of_tables)?;
        let index = self.roots.iter().position(Option::is_none).unwrap_or(self.roots.len());
        if index == self.roots.len() {
            self.roots.push(None);
        }
        self.roots[index] = Some(root);
        Ok(SpaceId(index as u32))
    }

    /// Ends a space; its markers go with it.
    pub fn destroy_space(&mut self, space: SpaceId) {
        let root = self.root(space);
        for (at, entry) in self.tables.leaves(root, EVERYWHERE) {
            assert!(!entry.is_present(), "{space:?} still has {:?} at {at:?}", entry.frame());
            self.clear(space, at);
        }
        self.flush_space(space);
        self.tables.give_back(root);
        self.roots[space.index()] = None;
    }

    /// The frame of a space's first table.
    pub fn root(&self, space: SpaceId) -> FrameNo {
        let root = self.roots.get(space.index()).copied().flatten();
        root.unwrap_or_else(|| panic!("there is no {space:?}"))
    }

    /// The spaces that there are.
    pub fn spaces(&self) -> impl Iterator<Item = SpaceId> {
        let spaces = self.roots.iter().enumerate();
        spaces.filter(|(_, root)| root.is_some()).map(|(index, _)| SpaceId(index as u32))
    }

    /// A CPU's TLB.
    pub fn tlb(&mut self, cpu: CpuNo) -> &mut Tlb {
        let count = self.tlbs.len();
        self.tlbs.get_mut(cpu.index()).unwrap_or_else(|| panic!("no {cpu:?} among {count}"))
    }

    /// Every CPU's TLB.
    pub fn tlbs(&self) -> impl Iterator<Item = (CpuNo, &Tlb)> {
        self.tlbs.iter().enumerate().map(|(cpu, tlb)| (CpuNo(cpu as u32), tlb))
    }

    /// The slot of the page that holds `addr`, if there is a table for it.
    pub fn slot(&self, space: SpaceId, addr: VirtAddr) -> Option<Slot> {
        let root = self.root(space);
        // Others would be taken for canonical ones: tables don't look at the upper bits.
        is_canonical(addr).then(|| self.tables.leaf(root, addr))?
    }

    /// The entry of the page that holds `addr`; an empty one where there is no table.
    pub fn entry(&self, space: SpaceId, addr: VirtAddr) -> Entry {
        let slot = self.slot(space, addr);
        slot.map_or(Entry::EMPTY, |slot| self.tables.entry(slot))
    }

    /// The entry of the present page that holds `addr`, with its slot.
    pub fn present(&self, space: SpaceId, addr: VirtAddr) -> Option<(Slot, Entry)> {
        let slot = self.slot(space, addr)?;
        Some((slot, self.tables.entry(slot))).filter(|(_, entry)| entry.is_present())
    }

    /// Changes the entry of the page that holds `addr`, and flushes where a TLB may hold what isn't
    /// true any more. No entry of a present page is changed by any other way.
    pub fn replace(&mut self, space: SpaceId, addr: VirtAddr, slot: Slot, new: Entry) {
        let old = self.tables.entry(slot);
        self.tables.set(slot, new);
        if old.must_flush_for(new) && !self.forgets_to_flush(new) {
            self.flush(space, VirtRange::page(addr.page_start()));
        }
    }

    /// Makes the entry at `at` empty, and gives the tables back that nobody needs then.
    pub fn clear(&mut self, space: SpaceId, at: VirtAddr) {
        if let Some(slot) = self.slot(space, at) {
            self.replace(space, at, slot, Entry::EMPTY);
            self.tables.prune(self.root(space), at);
        }
    }

    /// Makes every CPU forget what it knows of the pages in `range`.
    pub fn flush(&mut self, space: SpaceId, range: VirtRange) {
        assert!(range.is_page_aligned(), "{range:?} is not of whole pages");
        self.stats.flushes += 1;
        for tlb in &mut self.tlbs {
            let forgot = tlb.flush(|cached| cached.space == space && range.contains(cached.at));
            self.stats.shootdowns += u64::from(forgot > 0);
        }
    }

    /// Makes every CPU forget all it knows of a space.
    pub fn flush_space(&mut self, space: SpaceId) {
        self.stats.flushes += 1;
        for tlb in &mut self.tlbs {
            let forgot = tlb.flush(|cached| cached.space == space);
            self.stats.shootdowns += u64::from(forgot > 0);
        }
    }

    /// Bytes that all of it takes, but for the frames of the engine.
    pub fn bookkeeping_bytes(&self) -> usize {
        let tlbs = self.tlbs.capacity() * size_of::<Tlb>();
        let roots = self.roots.capacity() * size_of::<Option<FrameNo>>();
        self.tables.bookkeeping_bytes() + self.frames.bookkeeping_bytes() + tlbs + roots
    }

    /// Is this the planted bug's moment?
    #[cfg(any(test, feature = "canary"))]
    fn forgets_to_flush(&self, new: Entry) -> bool {
        self.canary == Some(crate::config::Canary::MissingFlush) && !new.is_present()
    }

    #[cfg(not(any(test, feature = "canary")))]
    fn forgets_to_flush(&self, _new: Entry) -> bool {
        false
    }
}
