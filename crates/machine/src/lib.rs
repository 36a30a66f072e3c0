//! What the engine's driver needs of a machine.
//!
//! A machine holds two things: the bytes of frames, and translations from
//! addresses to frames. It decides nothing: which page goes where, when it
//! leaves and who may write to it is the engine's business.
//!
//! A frame is in one of three places, and only the driver moves it:
//!
//! ```text
//!            back                    map
//!   empty ─────────► aside (buffer) ─────► mapped at an address
//!     ▲                │    ▲                │   │
//!     │     release    │    │  unmap, Keep   │   │
//!     ├────────────────┘    └────────────────┘   │
//!     └──────────────────────────────────────────┘
//!                    unmap, Drop
//! ```
//!
//! The driver promises (and the engine's busy flag is how it keeps it) that at
//! any time at most one call moves, fills or protects a given frame.

#![forbid(unsafe_code)]

pub mod conform;

use std::io;
use std::os::fd::BorrowedFd;

use faultless_addr::{Access, FrameNo, SpaceId, VirtAddr, VirtRange, WriteAccess};

/// What becomes of the bytes of a page that is unmapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The frame keeps them, aside: a later touch maps it again without I/O.
    Keep(Stores),
    /// They are forgotten and the frame is empty.
    Drop,
}

/// Can the bytes of a mapped page change?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stores {
    /// No: it is mapped so that stores fault.
    Stopped,
    /// Yes, at any moment.
    Pass,
}

/// The bytes of a frame that is aside, or of mapped pages.
///
/// It is an address and a length, no more: who may touch the bytes, and when,
/// is a matter between the engine and whoever drives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Where the first byte is in this process.
    pub start: *mut u8,
    /// How many bytes.
    pub len: usize,
}

/// A thread that touched a page and is held until the page is mapped, woken or
/// made an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Where.
    pub space: SpaceId,
    /// What it touched.
    pub addr: VirtAddr,
    /// How.
    pub access: Access,
    /// Which thread.
    pub thread: i32,
}

/// Why an access is a segmentation fault (`sigaction(2)`, `si_code`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segv {
    /// `SEGV_MAPERR`: no area is there.
    MapErr,
    /// `SEGV_ACCERR`: the area doesn't allow it.
    AccErr,
}

/// A holder of frames and translations. See the [crate's description](crate).
pub trait Machine: Send + Sync + 'static {
    /// Gives each of the empty `frames` real memory, aside, its contents unspecified.
    ///
    /// Frames given together are placed next to each other where possible, so
    /// that a run of pages can be read by one request and mapped by one call.
    fn back(&self, frames: &[FrameNo]) -> io::Result<()>;

    /// Where the bytes of a frame that is aside are.
    fn buffer(&self, frame: FrameNo) -> Buffer;

    /// Where the bytes of a frame that is mapped at `at` are, as this process can reach them.
    fn mapped(&self, space: SpaceId, at: VirtAddr, frame: FrameNo) -> Buffer;

    /// Maps `frames`, all aside, at the consecutive pages from `at`, and wakes
    /// whoever waits for them.
    fn map(
        &self,
        space: SpaceId,
        at: VirtAddr,
        frames: &[FrameNo],
        write: WriteAccess,
    ) -> io::Result<()>;

    /// Takes mapped frames, sorted by address, out of their addresses.
    ///
    /// Answers how many it took, from the first on. Fewer than all: somebody's direct
    /// I/O has pinned the next one, which stays as it is.
    fn unmap(&self, space: SpaceId, pages: &[(VirtAddr, FrameNo)], then: Then)
    -> io::Result<usize>;

    /// Does a page that leaves one address leave all of them? Then stores are stopped at all
    /// before it is taken, its bytes kept, from the first.
    fn leaves_at_once(&self) -> bool {
        false
    }

    /// Those of `frames` that are aside become empty; the others are empty already.
    fn release(&self, frames: &[FrameNo]);

    /// Changes what stores do to the mapped pages of `range`, and wakes whoever
    /// waits to write where it is now allowed.
    fn set_write(&self, space: SpaceId, range: VirtRange, write: WriteAccess) -> io::Result<()>;

    /// Makes touching the absent pages of `range` an error (SIGBUS on Linux) and
    /// wakes whoever waits for them, until [`heal`](Machine::heal).
    fn poison(&self, space: SpaceId, range: VirtRange) -> io::Result<()>;

    /// Ends what [`poison`](Machine::poison) began.
    fn heal(&self, space: SpaceId, range: VirtRange) -> io::Result<()>;

    /// Lets whoever waits for a page of `range` try again.
    fn wake(&self, space: SpaceId, range: VirtRange);

    /// What becomes readable when a thread is held, where the machine holds threads.
    fn held_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Adds up to `limit` threads that are newly held to `out`; never waits. Fewer:
    /// there are no more for now.
    fn held(&self, limit: usize, out: &mut Vec<Held>) -> io::Result<()>;

    /// Ends a held access with a segmentation fault.
    fn segv(&self, held: &Held, why: Segv) -> io::Result<()>;

    /// Bytes that the machine's own tables take.
    fn bookkeeping_bytes(&self) -> usize;
}
