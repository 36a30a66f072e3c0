//! `access`: what a fault asks first, before anything about pages.
//!
//! ```text
//!   an area holds the address ── no ──► the next one grows down? ── no ──► NotMapped
//!     │ yes                               │ yes, and may
//!     ▼                                   ▼
//!   a guard is there ── yes ──► NotMapped │
//!     │ no ◄──────────────────────────────┘
//!     ▼
//!   the rights allow it ── no ──► NotAllowed
//!     │ yes
//!     ▼
//!   the area
//! ```
//!
//! Source: sigaction(2) `SEGV_MAPERR` and `SEGV_ACCERR`, madvise(2) for guards.

use faultless_addr::{Access, VirtAddr};

use super::{AddressSpace, Vma, errno};

/// Why an access is a signal: SEGV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Nothing is there, or a guard (`SEGV_MAPERR`).
    #[error("nothing is mapped there")]
    NotMapped,
    /// The area's rights forbid it (`SEGV_ACCERR`).
    #[error("the rights forbid it")]
    NotAllowed,
}

impl AccessError {
    /// `si_code` of the signal.
    pub fn segv_code(self) -> i32 {
        match self {
            AccessError::NotMapped => 1,
            AccessError::NotAllowed => 2,
        }
    }

    /// What a system call that touches the address answers.
    pub fn errno(self) -> i32 {
        errno::EFAULT
    }
}

impl AddressSpace {
    /// The area in which an access happens, if it may. A stack grows for it.
    pub fn access(&mut self, addr: VirtAddr, access: Access) -> Result<Vma, AccessError> {
        if self.find(addr).is_none() {
            self.grow_down(addr).map_err(|_| AccessError::NotMapped)?;
        }
        let area = *self.find(addr).ok_or(AccessError::NotMapped)?;
        if !area.prot.allows(access) {
            return Err(AccessError::NotAllowed);
        }
        match self.guards.contains(addr) {
            true => Err(AccessError::NotMapped),
            false => Ok(area),
        }
    }
}
