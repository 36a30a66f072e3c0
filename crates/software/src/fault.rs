//! What an access answers when it can't go on.

use faultless_addr::{Access, VirtAddr};

use crate::entry::Marker;

/// An access that the tables don't let happen; the processor's `#PF`.
///
/// Serve it and try again: nothing has happened at `addr`, or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{access:?} at {addr:?}: {cause}")]
pub struct PageFault {
    /// The first byte that couldn't be reached, as in the register `CR2`.
    pub addr: VirtAddr,
    /// What was tried.
    pub access: Access,
    /// Why it can't be.
    pub cause: Cause,
}

/// Why an access is a [`PageFault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Cause {
    /// No page is there.
    #[error("no page is there")]
    Absent,
    /// No page is there, and what that means was said beforehand.
    #[error("no page is there, but a marker: {0:?}")]
    Marked(Marker),
    /// A page is there, and its rights forbid the access.
    #[error("the page's rights forbid it")]
    Denied,
    /// No page can ever be there. A processor raises `#GP` rather than `#PF` for it.
    #[error("the address is not canonical")]
    NotCanonical,
}

impl PageFault {
    /// Is a page there? Bit 0 of the processor's error code.
    pub fn is_present(&self) -> bool {
        self.cause == Cause::Denied
    }

    /// What the absent page's entry says of it.
    pub fn marker(&self) -> Option<Marker> {
        match self.cause {
            Cause::Marked(marker) => Some(marker),
            _ => None,
        }
    }
}

/// A copy that stopped at a page fault.
///
/// Serve the fault and copy the rest, or answer as a system call does: the bytes that
/// were copied, or EFAULT if there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("after {done} bytes: {fault}")]
pub struct Stopped {
    /// How many bytes were copied, from the first on.
    pub done: usize,
    /// What stopped it.
    pub fault: PageFault,
}
