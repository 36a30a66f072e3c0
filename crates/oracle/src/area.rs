//! `Area`: a run of addresses with the same rights and the same backing.

use std::fmt;

use bitflags::bitflags;

use crate::call::FileId;
use crate::flags::Prot;

/// What an area shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Zeros of one's own until written. A private map of `/dev/zero`, too.
    Anonymous,
    /// An anonymous object that others may map.
    Shared,
    /// A regular file.
    File(FileId),
    /// A memfd.
    Memory,
}

/// Do stores go to all, or to a copy?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// To all.
    Shared,
    /// To a copy.
    Private,
}

bitflags! {
    /// What else can be seen of an area.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct AreaFlags: u32 {
        /// mlock(2).
        const LOCKED = 1;
        /// MADV_DONTFORK.
        const DONTFORK = 2;
        /// MADV_WIPEONFORK.
        const WIPEONFORK = 4;
        /// MAP_GROWSDOWN.
        const GROWSDOWN = 8;
        /// mseal(2).
        const SEALED = 16;
        /// MADV_DONTDUMP.
        const DONTDUMP = 32;
        /// MAP_NORESERVE.
        const NORESERVE = 64;
        /// MADV_SEQUENTIAL.
        const SEQUENTIAL = 128;
        /// MADV_RANDOM.
        const RANDOM = 256;
        /// MADV_MERGEABLE.
        const MERGEABLE = 512;
        /// MADV_HUGEPAGE.
        const HUGEPAGE = 1024;
        /// MAP_DROPPABLE.
        const DROPPABLE = 4096;
        /// MADV_NOHUGEPAGE.
        const NOHUGEPAGE = 2048;
    }
}

/// A run of addresses with the same rights and the same backing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Its first byte.
    pub start: u64,
    /// The byte behind its last.
    pub end: u64,
    /// READ, WRITE, EXEC.
    pub prot: Prot,
    /// Shared or private.
    pub sharing: Sharing,
    /// What it shows.
    pub backing: Backing,
    /// Where in the backing it begins, in bytes; 0 where it is anonymous.
    pub offset: u64,
    /// What else can be seen of it.
    pub flags: AreaFlags,
}

impl Area {
    fn continues(&self, next: &Area) -> bool {
        let offset = match self.backing {
            Backing::Anonymous => next.offset,
            _ => self.offset + (self.end - self.start),
        };
        let moved = Area { start: next.start, end: next.end, offset, ..*self };
        self.end == next.start && moved == *next
    }
}

impl fmt::Debug for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Area { start, end, prot, sharing, backing, offset, flags } = self;
        write!(f, "{start:#x}..{end:#x} {prot:?} {sharing:?} {backing:?}+{offset:#x} {flags:?}")
    }
}

/// Joins neighbours that differ in nothing.
///
/// Whether two such neighbours are one area or two is Linux's own affair: it
/// depends on which of their pages were written when.
pub fn join(areas: impl IntoIterator<Item = Area>) -> Vec<Area> {
    let mut joined: Vec<Area> = Vec::new();
    for area in areas {
        match joined.last_mut() {
            Some(last) if last.continues(&area) => last.end = area.end,
            _ => joined.push(area),
        }
    }
    joined
}
