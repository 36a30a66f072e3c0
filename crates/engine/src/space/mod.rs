//! Address spaces: which addresses mean something, and what.
//!
//! ```text
//!   bounds.start                                                     bounds.end
//!   │                                                                         │
//!   ▼     gap      ┌──────┐  gap  ┌──────┬────────┐          gap              ▼
//!   ├──────────────┤ Vma  ├───────┤ Vma  │  Vma   ├───────────────────────────┤
//!                  └──────┘       └──────┴────────┘
//! ```
//!
//! An [`AddressSpace`] is a map from addresses to areas ([`Vma`]), ordered by start, and
//! its complement, the gaps. Areas never overlap and never are empty; neighbours
//! that could be one area are one area, because each verb merges what it changes.
//!
//! A verb has a file, and is one of Linux's calls, to the error number:
//!
//! | file | verb | call |
//! |---|---|---|
//! | `map`, `place` | [`map`](AddressSpace::map) | mmap |
//! | `unmap` | [`unmap`](AddressSpace::unmap) | munmap |
//! | `protect` | [`protect`](AddressSpace::protect) | mprotect |
//! | `remap`, `carry` | [`remap`](AddressSpace::remap) | mremap |
//! | `advise` | [`advise`](AddressSpace::advise) | madvise |
//! | `lock` | [`lock`](AddressSpace::lock), [`unlock`](AddressSpace::unlock), [`lock_all`](AddressSpace::lock_all), [`unlock_all`](AddressSpace::unlock_all) | mlock2, munlock, mlockall, munlockall |
//! | `sync` | [`sync`](AddressSpace::sync), [`mincore`](AddressSpace::mincore) | msync, mincore |
//! | `seal` | [`seal`](AddressSpace::seal) | mseal |
//! | `file_pages` | [`remap_file_pages`](AddressSpace::remap_file_pages) | the same |
//! | `layout`, `brk` | [`set_up`](AddressSpace::set_up), [`brk`](AddressSpace::brk) | prctl, brk |
//! | `access`, `grow` | [`access`](AddressSpace::access), [`grow_down`](AddressSpace::grow_down) | a fault; one below a stack |
//! | `fork` | [`fork`](AddressSpace::fork) | fork |
//! | `populate` | [`to_populate`](AddressSpace::to_populate) | what of these is brought in |
//! | `text` | [`write_maps`](AddressSpace::write_maps) | /proc/PID/maps |
//!
//! They change areas only. What was mapped where an area went, or is elsewhere now, is
//! for the caller to do, from the pieces that a verb hands back. Underneath, `edit`
//! changes the map of areas, `gaps` finds places, `limits` counts, `guards` marks pages,
//! and `anon` knows which own pages may be in one area.
//!
//! Where this differs from Linux: neighbours that could be one area are one, always.
//! Linux leaves some apart until a later call merges them: those at the ends of a range
//! whose removal a seal stopped, those that `DONT_UNMAP` unlocked, and a child's. And its
//! mmap may pass the limit of areas by one, where here nothing does.
//!
//! There is no lock, no translation and no page here.

mod access;
mod advise;
mod anon;
mod brk;
mod carry;
mod edit;
pub mod errno;
mod file_pages;
mod fork;
mod gaps;
mod grow;
mod guards;
mod layout;
mod limits;
mod lock;
mod map;
mod place;
mod populate;
mod protect;
mod remap;
mod seal;
mod sync;
#[cfg(test)]
mod tests;
mod text;
mod unmap;
mod vma;

use alloc::collections::BTreeMap;

use faultless_addr::{Prot, VirtAddr, VirtRange};

pub use access::AccessError;
pub use advise::{Advice, AdviseError};
pub use anon::{AnonId, AnonSet, AnonSide};
pub use brk::BrkError;
pub use file_pages::FilePagesError;
use gaps::{Above, Gap, Gaps};
pub use grow::GrowError;
pub use guards::Guards;
pub use layout::{Layout, LayoutError};
use limits::Counts;
pub use limits::{Limits, LockRight};
pub use lock::{LockAll, LockError, LockKind};
pub use map::{MapError, MapRequest};
pub use place::Place;
pub use protect::ProtectError;
pub use remap::{DeviceVerb, Left, Moved, RemapEffects, RemapError, RemapFlags, RemapRequest};
pub use seal::SealError;
pub use sync::{MincoreError, SyncError, SyncFlags};
pub use text::{MapsLine, ObjectName, Usage};
pub use unmap::UnmapError;
pub use vma::{Backing, Merge, Sharing, Vma, VmaFlags};

/// What an address space is like from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceConfig {
    /// The addresses that there are; both ends lie between pages.
    pub bounds: VirtRange,
    /// Pages that [`Place::Anywhere`] leaves free between two areas. A program that runs
    /// off the end of one then faults, and does not find itself in the other.
    pub guard_pages: u64,
    /// The most areas that there may be.
    pub areas_max: usize,
}

impl SpaceConfig {
    /// The most areas that Linux allows unless told otherwise (`vm.max_map_count`).
    pub const AREAS_MAX: usize = 65_530;
}

/// The areas of one address space, and where there are none.
#[derive(Clone)]
pub struct AddressSpace {
    config: SpaceConfig,
    /// Keyed by the start of their range.
    areas: BTreeMap<VirtAddr, Vma>,
    /// The complement of `areas` within the bounds.
    gaps: Gaps,
    /// Pages that no access may touch, areas or not.
    guards: Guards,
    counts: Counts,
    limits: Limits,
    /// Locked pages that are counted and are locked no more.
    locked_lost: u64,
    /// Locks of areas to come (`MCL_FUTURE`).
    future_locks: VmaFlags,
    /// Where a program's parts are, once it has been set up.
    layout: Option<Layout>,
    /// The number of the last set of own pages.
    next_anon: u32,
}

impl AddressSpace {
    /// A space without areas, with Linux's usual limit on their number.
    pub fn new(bounds: VirtRange, guard_pages: u64) -> AddressSpace {
        let areas_max = SpaceConfig::AREAS_MAX;
        AddressSpace::with_config(SpaceConfig { bounds, guard_pages, areas_max })
    }

    /// A space without areas.
    pub fn with_config(config: SpaceConfig) -> AddressSpace {
        assert!(config.bounds.is_page_aligned(), "the bounds lie between pages");
        let gaps = Gaps::new(config.bounds, config.guard_pages);
        AddressSpace {
            config,
            areas: BTreeMap::new(),
            gaps,
            guards: Guards::default(),
            counts: Counts::default(),
            limits: Limits::NONE,
            locked_lost: 0,
            future_locks: VmaFlags::empty(),
            layout: None,
            next_anon: 0,
        }
    }

    /// What the space was made with.
    pub fn config(&self) -> &SpaceConfig {
        &self.config
    }

    /// The number of areas.
    pub fn len(&self) -> usize {
        self.areas.len()
    }

    /// Are there no areas?
    pub fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }

    /// The area that holds `addr`.
    pub fn find(&self, addr: VirtAddr) -> Option<&Vma> {
        let (_, area) = self.areas.range(..=addr).next_back()?;
        area.range.contains(addr).then_some(area)
    }

    /// The first area that ends above `addr`.
    fn first_above(&self, addr: VirtAddr) -> Option<&Vma> {
        let next = || self.areas.range(addr..).next().map(|(_, area)| area);
        self.find(addr).or_else(next)
    }

    /// Every area, by address.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Vma> {
        self.areas.values()
    }

    /// The areas that have an address in `range`, each whole, by address.
    pub fn overlapping(&self, range: VirtRange) -> impl DoubleEndedIterator<Item = &Vma> {
        let first = self.find(range.start).map_or(range.start, |area| area.range.start);
        // An empty range overlaps nothing, though it may lie inside an area.
        let first = if range.is_empty() { range.end } else { first };
        self.areas.range(first..range.end).map(|(_, area)| area)
    }

    /// The ranges without an area, by address.
    pub fn gaps(&self) -> impl Iterator<Item = VirtRange> + '_ {
        self.gaps.iter().map(|gap| gap.range)
    }

    /// The pages that no access may touch (`MADV_GUARD_INSTALL`).
    pub fn guards(&self) -> &Guards {
        &self.guards
    }

    /// Panics unless the areas are in order and apart, whatever can be merged is, the
    /// gaps are what the areas leave, guards are in areas, and the counts are right.
    pub fn check_invariants(&self) {
        let (mut end, mut counts) = (self.config.bounds.start, Counts::default());
        let mut before: Option<&Vma> = None;
        let mut gaps = self.gaps.iter();
        for (&start, area) in &self.areas {
            assert_eq!(start, area.range.start, "an area has another key");
            assert!(!area.range.is_empty() && area.range.is_page_aligned(), "{area:?}");
            assert!(start >= end, "{area:?} overlaps its neighbour or leaves the bounds");
            assert!(!before.is_some_and(|low| low.can_merge(area)), "{before:?} and {area:?}");
            if end < start {
                let gap = Gap { range: VirtRange::new(end, start), above: edit::seen_below(area) };
                assert_eq!(gaps.next(), Some(gap), "another gap");
            }
            counts.add(area);
            (end, before) = (area.range.end, Some(area));
        }
        let bounds = self.config.bounds;
        assert!(end <= bounds.end, "an area leaves the bounds");
        let last = Gap { range: VirtRange::new(end, bounds.end), above: Above::Nothing };
        assert_eq!(gaps.next(), (end < bounds.end).then_some(last), "another last gap");
        assert_eq!(gaps.next(), None, "a gap too many");
        assert_eq!(counts, self.counts, "other counts");
        assert!(self.len() <= self.config.areas_max, "too many areas");
        let free = |range| self.gaps().any(|gap| gap.overlaps(range));
        assert!(!self.guards.iter().any(free), "a guard without an area");
        self.gaps.check_invariants();
    }
}
