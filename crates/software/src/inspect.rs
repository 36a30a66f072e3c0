//! What a checker, or somebody curious, may look at.

use faultless_addr::{FrameNo, SpaceId, VirtAddr};

use crate::cpu::CpuNo;
use crate::entry::{Entry, Flags, Marker, Rights};
use crate::frames::Place;
use crate::level::EVERYWHERE;
use crate::machine::SoftwareMachine;
use crate::state::State;
use crate::stats::Stats;
use crate::tlb::Cached;

/// A present page, as its entry has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The page's first address.
    pub at: VirtAddr,
    /// The frame that is there.
    pub frame: FrameNo,
    /// What it allows.
    pub rights: Rights,
    /// A walk has come by.
    pub accessed: bool,
    /// A store has come by.
    pub dirty: bool,
}

impl Translation {
    fn new(at: VirtAddr, entry: Entry) -> Option<Translation> {
        entry.is_present().then(|| Translation {
            at,
            frame: entry.frame(),
            rights: entry.rights(),
            accessed: entry.has(Flags::ACCESSED),
            dirty: entry.has(Flags::DIRTY),
        })
    }
}

/// What a CPU remembers and the tables don't say any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Whose TLB it is in.
    pub cpu: CpuNo,
    /// The space that it is of.
    pub space: SpaceId,
    /// The page's first address.
    pub at: VirtAddr,
    /// The frame that the CPU would access.
    pub frame: FrameNo,
}

/// Nothing here changes anything, or is seen by a TLB.
impl SoftwareMachine {
    /// What is at the page that holds `at`, if one is there.
    pub fn translation(&self, space: SpaceId, at: VirtAddr) -> Option<Translation> {
        let at = at.page_start();
        Translation::new(at, self.state().entry(space, at))
    }

    /// All pages of a space at this moment, in the order of their addresses.
    pub fn translations(&self, space: SpaceId) -> impl Iterator<Item = Translation> {
        let state = self.state();
        let leaves = state.tables.leaves(state.root(space), EVERYWHERE);
        leaves.into_iter().filter_map(|(at, entry)| Translation::new(at, entry))
    }

    /// The marker on the absent page that holds `at`, if there is one.
    pub fn marker(&self, space: SpaceId, at: VirtAddr) -> Option<Marker> {
        self.state().entry(space, at.page_start()).marker()
    }

    /// Where a frame is.
    pub fn place(&self, frame: FrameNo) -> Place {
        self.state().frames.place(frame)
    }

    /// How many frames are left for tables.
    pub fn free_table_frames(&self) -> usize {
        self.state().tables.free()
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.state().stats
    }

    /// What TLBs hold that they should have been made to forget: a flush is missing.
    pub fn stale(&self) -> Vec<Stale> {
        let state = self.state();
        let stale = state.tlbs().flat_map(|(cpu, tlb)| {
            let cached = tlb.iter().filter(|cached| !is_true(&state, cached));
            cached.map(move |Cached { space, at, frame, .. }| Stale {
                cpu,
                space: *space,
                at: *at,
                frame: *frame,
            })
        });
        stale.collect()
    }

    /// Asserts what holds at any time: tables are trees, and lose no frame; a frame is at
    /// as many addresses as its place says.
    ///
    /// # Panics
    ///
    /// Where it doesn't.
    pub fn check_invariants(&self) {
        let state = self.state();
        let roots: Vec<FrameNo> = state.spaces().map(|space| state.root(space)).collect();
        state.tables.check_invariants(&roots);
        let mut addresses = vec![0; state.frames.iter().count()];
        for root in roots {
            for (_, entry) in state.tables.leaves(root, EVERYWHERE) {
                if entry.is_present() {
                    addresses[entry.frame().index()] += 1;
                }
            }
        }
        for (frame, place) in state.frames.iter() {
            let expected = if let Place::Mapped(count) = place { count } else { 0 };
            assert_eq!(addresses[frame.index()], expected, "addresses of {frame:?}");
        }
    }
}

/// Do the tables say all that a TLB says?
fn is_true(state: &State, cached: &Cached) -> bool {
    let entry = state.entry(cached.space, cached.at);
    let mut known = Flags::PRESENT | Flags::ACCESSED;
    known.set(Flags::DIRTY, cached.dirty);
    entry.has(known) && entry.frame() == cached.frame && entry.rights().contains(cached.rights)
}
