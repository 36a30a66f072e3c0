//! Which frame to take back next: replacement policies.
//!
//! A policy keeps the frames in lists and answers one question, [`Policy::next`]. It
//! touches no page and no translation: it asks a [`View`] what happened to a frame,
//! and says what should be done with it.
//!
//! # One reference, on two kinds of machine
//!
//! A policy never learns how a machine notices that a page is used. There are two
//! ways, and to a policy they are the same:
//!
//! ```text
//!                         a machine with accessed bits    one without (userfaultfd)
//!   is_referenced(f)      the bit is set                  the page is mapped
//!   Unreference(f)        clear the bit                   unmap the page, keep the bytes
//!   a load or store       sets the bit, unseen            faults; the frame is still there:
//!                                                         map it again, tell `touch`
//! ```
//!
//! The second is what VMS and Mach did on machines without such a bit, and what
//! Babaoglu and Joy did for 3BSD on the VAX ("Converting a swap-based system to do
//! paging in an architecture lacking page-referenced bits", SOSP 1981).
//!
//! Both have this in common: **a page arrives referenced**, by the access that brought
//! it in (or, read ahead, because it was mapped at once). So the first reference that
//! a policy sees says nothing. Whoever judges by references takes it away before:
//!
//! ```text
//!            insert             Unreference             referenced again?
//!   (absent) ──────► fresh ───────────────────► probed ──┬─ no ──► Evict
//!                    (referenced: means nothing)   ▲     └─ yes ─► kept, as the policy
//!                                                  └────────────── likes, then probed again
//! ```
//!
//! A fresh page that is *not* referenced (read ahead, on a machine with bits, and
//! nobody came) needs no probe and can go at once. [`TwoList`] lets newcomers go without one
//! in any case, and judges those that come back.

mod clock;
mod ghost;
mod s3_fifo;
mod sieve;
#[cfg(test)]
mod tests;
mod two_list;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::{fmt, str::FromStr};

use faultless_addr::{FrameNo, ObjectId, PageIndex};

pub use clock::Clock;
pub use s3_fifo::S3Fifo;
pub use sieve::Sieve;
pub use two_list::TwoList;

/// Names a page for policies that remember pages which have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageKey {
    /// The object that the page is in.
    pub object: ObjectId,
    /// Which of its pages.
    pub page: PageIndex,
}

/// Why a page came into a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arrival {
    /// Somebody asked for it.
    Demand,
    /// Somebody is expected to.
    ReadAhead,
}

/// Why a page left its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Departure {
    /// The policy chose it. It may be asked for again.
    Evicted,
    /// It was truncated or unmapped, or could not be read: nothing to learn from.
    Dropped,
}

/// What to do next to get a frame back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Take the page out of this frame. One that is dirty is written first.
    Evict(FrameNo),
    /// Clear the frame's reference, so that the next use is seen.
    Unreference(FrameNo),
}

/// What a policy may ask about a frame while it chooses.
pub trait View {
    /// Was the frame used since its reference was cleared last?
    fn is_referenced(&self, frame: FrameNo) -> bool;

    /// Could the frame be evicted or unreferenced now? Not while it is pinned, being
    /// read or being written.
    fn is_movable(&self, frame: FrameNo) -> bool;
}

/// A replacement policy over the frames of one budget.
///
/// Nothing here allocates after the policy is built.
pub trait Policy: Send {
    /// The name that [`PolicyKind`] parses.
    fn name(&self) -> &'static str;

    /// `frame`, which the policy doesn't have, begins to hold the page `key`.
    fn insert(&mut self, frame: FrameNo, key: PageKey, how: Arrival);

    /// A fault or a pin found the page in `frame`: a reference seen without a bit.
    fn touch(&mut self, frame: FrameNo);

    /// `frame`, which the policy has, no longer holds the page `key`.
    fn remove(&mut self, frame: FrameNo, key: PageKey, why: Departure);

    /// The next thing to do to get a frame back; `None` where nothing can move.
    ///
    /// The caller does it, or at least lets `view` show it as done, before it asks
    /// again: an [`Unreference`](Verdict::Unreference)d frame is not referenced, a frame
    /// whose eviction is under way is not movable. A frame to evict stays with the
    /// policy until [`remove`](Policy::remove), and is not named again at once. Who
    /// writes a dirty page first can evict it by himself when the write has ended and
    /// the page was not referenced meanwhile; else the policy names it again later.
    ///
    /// Frames that came in order go in order, so that a machine can move runs.
    fn next(&mut self, view: &dyn View) -> Option<Verdict>;

    /// The frame that [`next`](Policy::next) would look at first, where that is simple to say:
    /// who takes pages that came together back together asks before it stops.
    fn peek(&self) -> Option<FrameNo> {
        None
    }

    /// Its lists by name, each with its frames, front first: for people who look.
    fn lists(&self) -> Vec<(&'static str, Vec<FrameNo>)>;

    /// The memory that the policy uses.
    fn bookkeeping_bytes(&self) -> usize;

    /// Panics unless the policy's own state is sound.
    fn check_invariants(&self);
}

/// The policies there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    /// [`TwoList`].
    #[default]
    TwoList,
    /// [`Clock`].
    Clock,
    /// [`Sieve`].
    Sieve,
    /// [`S3Fifo`].
    S3Fifo,
}

impl PolicyKind {
    /// Every policy.
    pub const ALL: [PolicyKind; 4] =
        [PolicyKind::TwoList, PolicyKind::Clock, PolicyKind::Sieve, PolicyKind::S3Fifo];

    /// The name, as the command line takes it.
    pub const fn name(self) -> &'static str {
        match self {
            PolicyKind::TwoList => "two-list",
            PolicyKind::Clock => "clock",
            PolicyKind::Sieve => "sieve",
            PolicyKind::S3Fifo => "s3-fifo",
        }
    }

    /// A policy of this kind for the frames `0..frames`.
    pub fn build(self, frames: u32) -> Box<dyn Policy> {
        match self {
            PolicyKind::TwoList => Box::new(TwoList::new(frames)),
            PolicyKind::Clock => Box::new(Clock::new(frames)),
            PolicyKind::Sieve => Box::new(Sieve::new(frames)),
            PolicyKind::S3Fifo => Box::new(S3Fifo::new(frames)),
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is no policy of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such policy; there are two-list, clock, sieve and s3-fifo")]
pub struct UnknownPolicy;

impl FromStr for PolicyKind {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<PolicyKind, UnknownPolicy> {
        PolicyKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or(UnknownPolicy)
    }
}

/// What policies note about a frame in its link's tag.
mod note {
    use faultless_addr::FrameNo;

    use crate::list::Lists;

    /// The reference that the page arrived with has not been taken away yet.
    pub const FRESH: u8 = 1;
    /// `touch` reported a reference since it was cleared last.
    pub const TOUCHED: u8 = 2;
    /// SIEVE: the probing hand has passed the frame and the judging hand has not.
    pub const AHEAD: u8 = 4;

    /// Has the frame all of these notes?
    pub fn has(lists: &Lists, frame: FrameNo, notes: u8) -> bool {
        lists.tag(frame) & notes == notes
    }

    /// Adds notes to the frame.
    pub fn add(lists: &mut Lists, frame: FrameNo, notes: u8) {
        lists.set_tag(frame, lists.tag(frame) | notes);
    }

    /// Takes notes from the frame.
    pub fn clear(lists: &mut Lists, frame: FrameNo, notes: u8) {
        lists.set_tag(frame, lists.tag(frame) & !notes);
    }
}

/// Was the frame used since it was unreferenced, by the machine's or the engine's word?
fn is_referenced(lists: &crate::list::Lists, view: &dyn View, frame: FrameNo) -> bool {
    note::has(lists, frame, note::TOUCHED) || view.is_referenced(frame)
}

/// Forgets every reference to the frame, and has the machine do so too.
fn unreference(lists: &mut crate::list::Lists, frame: FrameNo) -> Verdict {
    note::clear(lists, frame, note::FRESH | note::TOUCHED);
    Verdict::Unreference(frame)
}

/// How many frames in a row that can't move make a policy with several lists look at
/// another one. Without it, a list full of pinned frames would be walked whole for
/// every frame that its neighbour could have given at once.
const STUCK_RUN: u32 = 16;

/// Has the search been stuck for so long that it should look in the other list?
/// It changes sides every [`STUCK_RUN`] frames, so neither side waits for the other.
fn look_elsewhere(stuck: u32) -> bool {
    !(stuck / STUCK_RUN).is_multiple_of(2)
}

/// What looking at one frame led to.
enum Step {
    Done(Verdict),
    Moved,
    Stuck,
}

/// Looks at one frame after the other, of `len` frames in all, until one will do. `look`
/// is told how many couldn't move so far, and answers `None` where there is none to look at.
fn search(len: u32, mut look: impl FnMut(u32) -> Option<Step>) -> Option<Verdict> {
    let mut stuck = 0;
    for _ in 0..looks_max(len) {
        match look(stuck)? {
            Step::Done(verdict) => return Some(verdict),
            Step::Moved => {}
            Step::Stuck => stuck += 1,
        }
    }
    None
}

/// How many frames one call of [`Policy::next`] may look at. Twice around finds whatever
/// can move, and a third time does if that went to the end of another list.
fn looks_max(len: u32) -> u32 {
    3 * (len + STUCK_RUN)
}
