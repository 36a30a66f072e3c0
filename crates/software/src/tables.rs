//! Page tables: trees of frames, four levels deep.
//!
//! ```text
//!   root ─► PML4 ──► PDPT ──► PD ──► PT ──► the frame of a page
//!           512      512      512    512    entries, each a u64 in the table's frame
//! ```
//!
//! A table is made when the first entry in it is needed, and its frame is given back
//! with its last one; only the root stays. How many entries of a table are not empty is
//! counted beside it (as Linux does in `struct page`), so nobody counts 512 entries.

use std::iter;

use faultless_addr::{FrameNo, VirtAddr, VirtRange};

use crate::entry::Entry;
use crate::error::MapError;
use crate::level::Level;
use crate::memory::{Memory, WORDS};

/// The place of one entry: a table, and which of its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The frame of the table.
    pub table: FrameNo,
    /// From 0 to 511.
    pub index: usize,
}

/// The frames for tables, and what is in them.
pub struct Tables {
    memory: Memory,
    /// The first of our frames.
    first: u32,
    /// Frames that are no table, the next one last.
    free: Vec<FrameNo>,
    /// How many entries of each table are not empty.
    used: Vec<u16>,
}

impl Tables {
    /// `count` frames of `memory` from `first` on, none of them a table.
    pub fn new(memory: Memory, first: u32, count: u32) -> Tables {
        let free = (first..first + count).rev().map(FrameNo).collect();
        Tables { memory, first, free, used: vec![0; count as usize] }
    }

    /// The entry in `slot`.
    pub fn entry(&self, slot: Slot) -> Entry {
        Entry::from_bits(self.memory.number(slot.table, slot.index))
    }

    /// Changes the entry in `slot`.
    pub fn set(&mut self, slot: Slot, entry: Entry) {
        let was_used = self.entry(slot) != Entry::EMPTY;
        let is_used = entry != Entry::EMPTY;
        self.memory.set_number(slot.table, slot.index, entry.bits());
        let used = &mut self.used[(slot.table.0 - self.first) as usize];
        *used = *used + u16::from(is_used) - u16::from(was_used);
    }

    /// A table without entries, or `None` when no frame is left.
    pub fn new_table(&mut self) -> Option<FrameNo> {
        let table = self.free.pop()?;
        self.memory.fill(table, 0);
        Some(table)
    }

    /// Ends a table without entries.
    pub fn give_back(&mut self, table: FrameNo) {
        assert_eq!(self.used(table), 0, "the table in {table:?} still has entries");
        self.free.push(table);
    }

    /// How many entries of a table are not empty.
    pub fn used(&self, table: FrameNo) -> u16 {
        self.used[(table.0 - self.first) as usize]
    }

    /// The slots on the way to `addr`, from the root down, as far as there are tables.
    /// The fourth one is the page's own.
    pub fn walk(&self, root: FrameNo, addr: VirtAddr) -> impl Iterator<Item = Slot> {
        let first = (Level::Pml4, Slot { table: root, index: Level::Pml4.index(addr) });
        let slots = iter::successors(Some(first), move |(level, slot)| {
            let entry = self.entry(*slot);
            let next = level.next().filter(|_| entry.is_present())?;
            Some((next, Slot { table: entry.frame(), index: next.index(addr) }))
        });
        slots.map(|(_, slot)| slot)
    }

    /// The slot of the page at `addr`, if there is a table for it.
    pub fn leaf(&self, root: FrameNo, addr: VirtAddr) -> Option<Slot> {
        self.walk(root, addr).nth(3)
    }

    /// The slot of the page at `addr`, with the tables that it needs. Whoever leaves it
    /// empty calls [`prune`](Tables::prune).
    pub fn leaf_or_new(&mut self, root: FrameNo, at: VirtAddr) -> Result<Slot, MapError> {
        let mut level = Level::Pml4;
        let mut slot = Slot { table: root, index: level.index(at) };
        while let Some(next) = level.next() {
            if !self.entry(slot).is_present() {
                let table = self.new_table().ok_or(MapError::OutOfTables { at })?;
                self.set(slot, Entry::table(table));
            }
            slot = Slot { table: self.entry(slot).frame(), index: next.index(at) };
            level = next;
        }
        Ok(slot)
    }

    /// Gives those tables on the way to `addr` back that have no entries.
    pub fn prune(&mut self, root: FrameNo, addr: VirtAddr) {
        let slots: Vec<Slot> = self.walk(root, addr).collect();
        for pair in slots.windows(2).rev() {
            let (above, table) = (pair[0], pair[1].table);
            if self.used(table) > 0 {
                return;
            }
            self.set(above, Entry::EMPTY);
            self.give_back(table);
        }
    }

    /// The entries of a table that are not empty, with their places.
    pub fn entries(&self, table: FrameNo) -> impl Iterator<Item = (Slot, Entry)> {
        let slots = (0..WORDS).map(move |index| Slot { table, index });
        slots.map(|slot| (slot, self.entry(slot))).filter(|(_, entry)| *entry != Entry::EMPTY)
    }

    /// The entries of pages of `range` that are not empty, with their addresses, in order.
    pub fn leaves(&self, root: FrameNo, range: VirtRange) -> Vec<(VirtAddr, Entry)> {
        let mut leaves = Vec::new();
        self.add_leaves(Level::Pml4, root, VirtAddr(0), range, &mut leaves);
        leaves
    }

    /// `base` is the first address that `table` translates.
    fn add_leaves(
        &self,
        level: Level,
        table: FrameNo,
        base: VirtAddr,
        range: VirtRange,
        out: &mut Vec<(VirtAddr, Entry)>,
    ) {
        let is_meant = |index: &usize| level.span(base, *index).overlaps(range);
        for index in (0..WORDS).filter(is_meant) {
            let (at, entry) = (level.address(base, index), self.entry(Slot { table, index }));
            match level.next() {
                Some(next) if entry.is_present() => {
                    self.add_leaves(next, entry.frame(), at, range, out);
                }
                None if entry != Entry::EMPTY => out.push((at, entry)),
                _ => {}
            }
        }
    }

    /// How many frames are free.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Bytes of tables (not of free frames), and of what is known about them.
    pub fn bookkeeping_bytes(&self) -> usize {
        let tables = (self.used.len() - self.free.len()) * WORDS * size_of::<Entry>();
        let free = self.free.capacity() * size_of::<FrameNo>();
        tables + free + self.used.capacity() * size_of::<u16>()
    }

    /// Every frame is free or a table that one entry (or one of `roots`) leads to, and
    /// the counts are right.
    pub fn check_invariants(&self, roots: &[FrameNo]) {
        let mut seen = vec![false; self.used.len()];
        let mut see = |frame: FrameNo| {
            let seen = &mut seen[(frame.0 - self.first) as usize];
            assert!(!std::mem::replace(seen, true), "{frame:?} is in the tables twice");
        };
        self.free.iter().for_each(|frame| see(*frame));
        let mut waiting: Vec<_> = roots.iter().map(|root| (Level::Pml4, *root)).collect();
        while let Some((level, table)) = waiting.pop() {
            see(table);
            let count = self.entries(table).count();
            assert_eq!(count, usize::from(self.used(table)), "entries of the table in {table:?}");
            assert!(level == Level::Pml4 || count > 0, "the table in {table:?} is empty");
            if let Some(next) = level.next() {
                waiting.extend(self.entries(table).map(|(_, entry)| (next, entry.frame())));
            }
        }
        assert!(seen.into_iter().all(|seen| seen), "a table's frame is lost");
    }
}

#[cfg(test)]
mod tests {
    use faultless_addr::PAGE_BYTES;

    use super::*;
    use crate::entry::{Marker, Rights};
    use crate::level::EVERYWHERE;

    const FRAME: FrameNo = FrameNo(0);
    const FAR: VirtAddr = VirtAddr(0xffff_ff80_0000_0000);

    /// `count` table frames after one frame of the engine, and a root.
    fn tables(count: u32) -> (Tables, FrameNo) {
        let mut tables = Tables::new(Memory::new(1 + count), 1, count);
        let root = tables.new_table().unwrap();
        (tables, root)
    }

    #[test]
    fn tables_come_with_entries_and_go_with_them() {
        let (mut tables, root) = tables(8);
        let addresses = [0, PAGE_BYTES, 512 * PAGE_BYTES].map(VirtAddr);
        for (at, free) in addresses.into_iter().zip([4, 4, 3]) {
            let slot = tables.leaf_or_new(root, at).unwrap();
            tables.set(slot, Entry::page(FRAME, Rights::all()));
            assert_eq!(tables.free(), free, "{at:?}");
            tables.check_invariants(&[root]);
        }
        assert_eq!(
            tables.leaves(root, EVERYWHERE).iter().map(|(at, _)| *at).collect::<Vec<_>>(),
            addresses
        );
        for (at, free) in addresses.into_iter().zip([3, 4, 7]) {
            tables.set(tables.leaf(root, at).unwrap(), Entry::EMPTY);
            tables.prune(root, at);
            assert_eq!(tables.free(), free, "{at:?}");
            tables.check_invariants(&[root]);
        }
        assert_eq!(tables.leaf(root, addresses[0]), None);
    }

    #[test]
    fn what_ran_short_is_given_back() {
        let (mut tables, root) = tables(3);
        assert_eq!(tables.leaf_or_new(root, FAR), Err(MapError::OutOfTables { at: FAR }));
        assert_eq!(tables.free(), 0);
        tables.prune(root, FAR);
        assert_eq!(tables.free(), 2);
        tables.check_invariants(&[root]);
    }

    #[test]
    fn entries_are_numbers_in_frames() {
        let memory = Memory::new(5);
        let mut tables = Tables::new(memory.clone(), 1, 4);
        let root = tables.new_table().unwrap();
        let slot = tables.leaf_or_new(root, FAR).unwrap();
        tables.set(slot, Entry::marked(Marker::Guard));
        let mut table = root;
        for index in [511, 0, 0] {
            table = Entry::from_bits(memory.number(table, index)).frame();
        }
        assert_eq!(memory.number(table, 0), 2 << 9);
    }
}
