//! Translations come, change and go.

use faultless_addr::{FrameNo, PAGE_BYTES, SpaceId, VirtAddr, VirtRange};
use faultless_machine::Then;

use crate::entry::{Entry, Flags, Marker, Rights};
use crate::error::MapError;
use crate::frames::Place;
use crate::level::is_canonical_range;
use crate::state::State;

/// What every byte of a frame is that has been given memory and not been filled yet.
pub const UNREAD: u8 = 0xa5;

/// What every byte of a frame is that was given back.
pub const DROPPED: u8 = 0x5a;

impl State {
    /// Empty → aside, with bytes that nobody should see.
    pub fn back(&mut self, frame: FrameNo) {
        self.frames.back(frame);
        self.memory.fill(frame, UNREAD);
    }

    /// Maps `frames` at the consecutive pages from `at`: all of them, or none.
    pub fn map(
        &mut self,
        space: SpaceId,
        at: VirtAddr,
        frames: &[FrameNo],
        rights: Rights,
    ) -> Result<(), MapError> {
        let len = frames.len() as u64 * PAGE_BYTES;
        let range = VirtRange::from_len(at, len).ok_or(MapError::NotCanonical { at })?;
        self.reserve(space, range)?;
        if let Some(at) = pages(range).find(|at| self.entry(space, *at) != Entry::EMPTY) {
            self.prune(space, range);
            return Err(MapError::Exists { at });
        }
        for (at, frame) in pages(range).zip(frames) {
            self.frames.map(*frame);
            self.set(space, at, Entry::page(*frame, rights));
        }
        Ok(())
    }

    /// Takes one page out of its address.
    pub fn unmap(&mut self, space: SpaceId, at: VirtAddr, frame: FrameNo, then: Then) {
        let found = self.present(space, at).map(|(_, entry)| entry.frame());
        assert_eq!(found, Some(frame), "what is at {at:?} of {space:?} is not {frame:?}");
        self.clear(space, at);
        if self.frames.unmap(frame, then) == Place::Empty {
            self.memory.fill(frame, DROPPED);
        }
    }

    /// Aside → empty.
    pub fn release(&mut self, frame: FrameNo) {
        if self.frames.release(frame) {
            self.memory.fill(frame, DROPPED);
        }
    }

    /// Changes the rights of the present page at `at`.
    pub fn protect(&mut self, space: SpaceId, at: VirtAddr, rights: Rights) {
        let Some((slot, entry)) = self.present(space, at) else {
            panic!("no page at {at:?} of {space:?} to protect");
        };
        self.replace(space, at, slot, entry.with_rights(rights));
    }

    /// Allows or forbids stores to the present pages of `range`.
    pub fn set_write(&mut self, space: SpaceId, range: VirtRange, write: Rights) {
        for (at, entry) in self.tables.leaves(self.root(space), range) {
            if entry.is_present() {
                let mut rights = entry.rights();
                rights.set(Rights::WRITE, write.contains(Rights::WRITE));
                self.protect(space, at, rights);
            }
        }
    }

    /// Clears `flags` of the present page at `at`; answers if they were set.
    pub fn test_and_clear(&mut self, space: SpaceId, at: VirtAddr, flags: Flags) -> bool {
        let Some((slot, entry)) = self.present(space, at) else { return false };
        self.replace(space, at, slot, entry.without(flags));
        entry.has(flags)
    }

    /// Puts `marker` on the pages of `range` that have neither a page nor a marker: on
    /// all of them, or on none.
    pub fn mark(
        &mut self,
        space: SpaceId,
        range: VirtRange,
        marker: Marker,
    ) -> Result<(), MapError> {
        self.reserve(space, range)?;
        for at in pages(range) {
            if self.entry(space, at) == Entry::EMPTY {
                self.set(space, at, Entry::marked(marker));
            }
        }
        Ok(())
    }

    /// Takes `marker` from the pages of `range` that have it.
    pub fn unmark(&mut self, space: SpaceId, range: VirtRange, marker: Marker) {
        for (at, entry) in self.tables.leaves(self.root(space), range) {
            if entry.marker() == Some(marker) {
                self.clear(space, at);
            }
        }
    }

    /// Makes the tables that `range` needs, so that what follows can't run short.
    fn reserve(&mut self, space: SpaceId, range: VirtRange) -> Result<(), MapError> {
        if !is_canonical_range(range) {
            return Err(MapError::NotCanonical { at: range.start });
        }
        let root = self.root(space);
        let made = pages(range).try_for_each(|at| self.tables.leaf_or_new(root, at).map(drop));
        if made.is_err() {
            self.prune(space, range);
        }
        made
    }

    /// Gives those tables of `range` back that have no entries.
    fn prune(&mut self, space: SpaceId, range: VirtRange) {
        let root = self.root(space);
        pages(range).for_each(|at| self.tables.prune(root, at));
    }

    /// Fills an empty entry whose table is there.
    fn set(&mut self, space: SpaceId, at: VirtAddr, entry: Entry) {
        let slot = self.slot(space, at);
        self.replace(space, at, slot.expect("its table was reserved"), entry);
    }
}

/// The pages of a range of whole pages.
fn pages(range: VirtRange) -> impl Iterator<Item = VirtAddr> {
    assert!(range.is_page_aligned(), "{range:?} is not of whole pages");
    (0..range.pages()).map(move |page| range.start.plus_pages(page))
}
