//! `grow_down`: a fault below a stack makes the stack longer.
//!
//! ```text
//!   ├─ area ─┤      256 pages or more      ├╌╌ new ╌╌├──── stack ────┤
//!            ▲                             ▲ fault                   ▲
//!            └ accessible, and no stack    └─ no more than the limit ┘
//! ```
//!
//! A stack that reached another area without a fault in between would write into it
//! (CVE-2010-2240, CVE-2017-1000364): hence the guard. An area that may not be accessed
//! guards as well, and may be near.
//!
//! Source: mmap(2) `MAP_GROWSDOWN`, and `expand_downwards` of Linux 6.18.

use faultless_addr::{PAGE_SHIFT, VirtAddr, VirtRange};

use super::gaps::STACK_GUARD_PAGES;
use super::{AddressSpace, VmaFlags, errno};

/// Why nothing has grown: the fault is a signal (SEGV).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrowError {
    /// The next area above doesn't grow down, or there is none.
    #[error("no area above grows down")]
    NotGrowing,
    /// The address is below the lowest one there is.
    #[error("the address is below those that may be mapped")]
    BelowBounds,
    /// An area that can be accessed is too near.
    #[error("the stack would come too near to another area")]
    Guard,
    /// The stack would be longer than it may be (`RLIMIT_STACK`).
    #[error("the stack would be longer than it may be")]
    TooLarge,
    /// There would be more pages than there may be (`RLIMIT_AS`).
    #[error("there are as many pages as there may be")]
    TooManyPages,
    /// The stack is locked, and there would be more locked pages than there may be.
    #[error("there are as many locked pages as there may be")]
    TooManyLocked,
}

impl GrowError {
    /// What a system call that touches the address answers.
    pub fn errno(self) -> i32 {
        errno::EFAULT
    }
}

impl AddressSpace {
    /// Grows the stack above `addr`, where no area is, so that it holds `addr`. Says
    /// which pages are new: those of a locked stack are to be brought in.
    pub fn grow_down(&mut self, addr: VirtAddr) -> Result<VirtRange, GrowError> {
        assert!(self.find(addr).is_none(), "{addr:?} is in an area");
        let start = addr.page_start();
        let above = self.first_above(start).copied();
        let growing = above.filter(|area| area.flags.contains(VmaFlags::GROWS_DOWN));
        let area = growing.ok_or(GrowError::NotGrowing)?;
        if start < self.config.bounds.start {
            return Err(GrowError::BelowBounds);
        }
        let below = self.areas.range(..start).next_back().map(|(_, area)| area);
        let is_near = below.is_some_and(|below| {
            let guards = below.prot.is_empty() || below.flags.contains(VmaFlags::GROWS_DOWN);
            let between = VirtRange::new(below.range.end, start).pages();
            !guards && between < STACK_GUARD_PAGES
        });
        if is_near {
            return Err(GrowError::Guard);
        }
        let more = VirtRange::new(start, area.range.start);
        if !self.may_add(&area, more.pages()) {
            return Err(GrowError::TooManyPages);
        }
        if (area.range.pages() + more.pages()) << PAGE_SHIFT > self.limits.stack_bytes_max {
            return Err(GrowError::TooLarge);
        }
        if !self.may_lock(area.flags, more.pages()) {
            return Err(GrowError::TooManyLocked);
        }
        self.lengthen_down(area, start);
        Ok(more)
    }
}
