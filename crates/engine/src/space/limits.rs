//! What a space may have at most, and what it has.
//!
//! ```text
//!   limit               counts                                       passed:
//!   space_bytes_max     every page of every area     RLIMIT_AS       ENOMEM
//!   data_bytes_max      private, writable, no stack  RLIMIT_DATA     ENOMEM
//!   locked_bytes_max    locked pages                 RLIMIT_MEMLOCK  ENOMEM EAGAIN EPERM
//!   stack_bytes_max     one area that grows down     RLIMIT_STACK    SIGSEGV
//!   areas_max           areas (in `SpaceConfig`)     max_map_count   ENOMEM EAGAIN
//! ```
//!
//! Limits are in bytes, as setrlimit(2) takes them, and hold in whole pages, rounded
//! down. What is there already may pass a limit that was lowered. The counts are kept
//! by each change, and `check_invariants` counts again.

use faultless_addr::PAGE_BYTES;

use super::{AddressSpace, Vma, VmaFlags};

/// May the program lock memory without limit (`CAP_IPC_LOCK`)?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockRight {
    /// The limit holds.
    Limited,
    /// It may lock all there is.
    Unlimited,
}

/// What a space may have at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in all areas (`RLIMIT_AS`).
    pub space_bytes_max: u64,
    /// Bytes in private writable areas (`RLIMIT_DATA`).
    pub data_bytes_max: u64,
    /// Locked bytes (`RLIMIT_MEMLOCK`).
    pub locked_bytes_max: u64,
    /// Bytes to which an area may grow down (`RLIMIT_STACK`).
    pub stack_bytes_max: u64,
    /// Is the program above the limit of locked memory?
    pub lock_right: LockRight,
}

impl Limits {
    /// No limits but that of stacks, which has Linux's usual 8 MiB.
    pub const NONE: Limits = Limits {
        space_bytes_max: u64::MAX,
        data_bytes_max: u64::MAX,
        locked_bytes_max: u64::MAX,
        stack_bytes_max: 8 << 20,
        lock_right: LockRight::Limited,
    };

    /// May anything be locked at all?
    pub(super) fn allow_locks(&self) -> bool {
        self.lock_right == LockRight::Unlimited || self.locked_bytes_max > 0
    }

    /// May so many pages be locked?
    pub(super) fn allow_locked(&self, pages: u64) -> bool {
        self.lock_right == LockRight::Unlimited || pages <= self.locked_bytes_max / PAGE_BYTES
    }
}

/// Pages of areas, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub pages: u64,
    pub data: u64,
    pub locked: u64,
}

impl Counts {
    /// An area is there.
    pub fn add(&mut self, area: &Vma) {
        let pages = area.range.pages();
        self.pages += pages;
        self.data += if area.is_data() { pages } else { 0 };
        self.locked += if area.is_locked() { pages } else { 0 };
    }

    /// An area is there no more.
    pub fn remove(&mut self, area: &Vma) {
        let pages = area.range.pages();
        self.pages -= pages;
        self.data -= if area.is_data() { pages } else { 0 };
        self.locked -= if area.is_locked() { pages } else { 0 };
    }
}

impl AddressSpace {
    /// What the space may have at most.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Other limits from now on. What passes them already stays.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The number of pages in all areas: what `RLIMIT_AS` limits.
    pub fn pages(&self) -> u64 {
        self.counts.pages
    }

    /// The number of pages in private writable areas: what `RLIMIT_DATA` limits.
    pub fn data_pages(&self) -> u64 {
        self.counts.data
    }

    /// The number of locked pages: what `RLIMIT_MEMLOCK` limits.
    pub fn locked_pages(&self) -> u64 {
        self.counts.locked + self.locked_lost
    }

    /// May there be `pages` more like those of `area`?
    pub(super) fn may_add(&self, area: &Vma, pages: u64) -> bool {
        let fits = |count: u64, bytes_max: u64| {
            count.checked_add(pages).is_some_and(|sum| sum <= bytes_max / PAGE_BYTES)
        };
        fits(self.counts.pages, self.limits.space_bytes_max)
            && (!area.is_data() || fits(self.counts.data, self.limits.data_bytes_max))
    }

    /// May there be `pages` more with these flags, as far as locks go?
    pub(super) fn may_lock(&self, flags: VmaFlags, pages: u64) -> bool {
        let locked = self.locked_pages().checked_add(pages);
        !flags.contains(VmaFlags::LOCKED)
            || locked.is_some_and(|pages| self.limits.allow_locked(pages))
    }
}
