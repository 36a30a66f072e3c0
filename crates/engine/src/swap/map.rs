//! The map of a swap area: holders of each slot, and the choice of free ones.
//!
//! ```text
//!             alloc_run              get                begin_punch
//!    Free ◄──────────────► Held(1) ◄──────► Held(2) …      Free ──────────► Punching
//!                put                 put                     ▲  end_punch      │
//!                                                            └─────────────────┘
//! ```
//!
//! A free slot is **stale** while the file still keeps the bytes of its last
//! holder. Giving that room back takes a system call, during which nobody may be
//! given the slot: its new bytes would vanish. Linux does the same for discards
//! (`discard_clusters`).

use alloc::vec::Vec;

use super::bits::{Bits, WORD};
use super::{SwapRun, SwapSlot};

/// Slots of a cluster: 64 pages, 256 KiB.
const CLUSTER: u32 = WORD;

/// When no cluster is wholly free: so many free runs are looked at for a long one.
const RUNS_LOOKED_AT: u32 = 32;

/// In place of a count: the driver is giving the slot's room back.
const PUNCHING: u16 = u16::MAX;

/// The most holders that a slot can have.
const HOLDERS_MAX: u16 = PUNCHING - 1;

/// What became of a slot that lost a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was the last one: the slot is free.
    Freed,
    /// Others hold it still.
    Held,
}

/// A slot has as many holders as can be counted: read its page and give the new
/// one a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("swap slot {} is held {HOLDERS_MAX} times: give the new holder a copy", .0.0)]
pub struct TooManyHolders(pub SwapSlot);

/// The slots of a swap area.
///
/// ```
/// use faultless_engine::swap::{Put, SwapMap};
///
/// let mut map = SwapMap::new(1024);
/// let run = map.alloc_run(16).unwrap();
/// assert_eq!((run.len, map.in_use()), (16, 16));
/// map.get(run.start).unwrap();
/// assert_eq!(map.put(run.start), Put::Held);
/// assert_eq!(map.put(run.start), Put::Freed);
/// ```
pub struct SwapMap {
    /// How many hold each slot; 0 is free.
    holders: Vec<u16>,
    /// The slots that can be given out.
    free: Bits,
    /// The free slots whose last bytes are still in the file.
    stale: Bits,
    /// The clusters all of whose slots are free.
    empty: Bits,
    /// Where the last run ended.
    cursor: u32,
    in_use: u32,
    stale_count: u32,
    punching: u32,
}

impl SwapMap {
    /// `slots` free slots, fewer than `u32::MAX`.
    pub fn new(slots: u32) -> SwapMap {
        let mut map = SwapMap {
            holders: Vec::new(),
            free: Bits::new(0),
            stale: Bits::new(0),
            empty: Bits::new(0),
            cursor: 0,
            in_use: 0,
            stale_count: 0,
            punching: 0,
        };
        map.grow(slots);
        map
    }

    /// Makes it `slots` slots in all; those that are there keep their numbers.
    pub fn grow(&mut self, slots: u32) {
        let before = self.slots();
        assert!((before..u32::MAX).contains(&slots), "an area grows to less than u32::MAX slots");
        self.holders.reserve_exact((slots - before) as usize);
        self.holders.resize(slots as usize, 0);
        self.free.grow(slots);
        self.stale.grow(slots);
        self.empty.grow(slots.div_ceil(CLUSTER));
        for slot in before..slots {
            self.set_free(slot);
        }
    }

    /// How many slots there are.
    pub fn slots(&self) -> u32 {
        self.holders.len() as u32
    }

    /// How many slots somebody holds.
    pub fn in_use(&self) -> u32 {
        self.in_use
    }

    /// How many slots can be given out now.
    pub fn free(&self) -> u32 {
        self.slots() - self.in_use - self.punching
    }

    /// How many free slots still take room in the file: when there are many, it is
    /// time for [`SwapMap::begin_punch`].
    pub fn stale(&self) -> u32 {
        self.stale_count
    }

    /// Can no slot be given out?
    pub fn is_full(&self) -> bool {
        self.free() == 0
    }

    /// How many hold `slot`.
    pub fn holders(&self, slot: SwapSlot) -> u16 {
        match self.holders[slot.index()] {
            PUNCHING => 0,
            holders => holders,
        }
    }

    /// One slot, with one holder.
    pub fn alloc(&mut self) -> Option<SwapSlot> {
        self.alloc_run(1).map(|run| run.start)
    }

    /// Up to `wanted` consecutive slots, with one holder each: fewer where the area
    /// is too broken up, `None` where it is full.
    ///
    /// ```text
    ///   1. where the last run ended, if there is room for all
    ///   2. the next cluster that is wholly free
    ///   3. the longest of the next free runs
    /// ```
    ///
    /// Whoever needs more than was given asks again for the rest.
    pub fn alloc_run(&mut self, wanted: u32) -> Option<SwapRun> {
        assert!(wanted > 0, "a run of nothing");
        let run = self.run_at_cursor(wanted);
        let run = run.or_else(|| self.run_in_empty_cluster(wanted));
        let run = run.or_else(|| self.longest_run(wanted))?;
        for slot in run.iter() {
            self.take(slot.0, 1);
        }
        self.in_use += run.len;
        self.cursor = run.end();
        Some(run)
    }

    fn run_at_cursor(&self, wanted: u32) -> Option<SwapRun> {
        let len = self.free.run_from(self.cursor, wanted);
        (len == wanted).then_some(SwapRun { start: SwapSlot(self.cursor), len })
    }

    fn run_in_empty_cluster(&self, wanted: u32) -> Option<SwapRun> {
        let next = self.cursor.div_ceil(CLUSTER);
        let cluster = self.empty.next_from(next).or_else(|| self.empty.next_from(0))?;
        let start = cluster * CLUSTER;
        Some(SwapRun { start: SwapSlot(start), len: self.free.run_from(start, wanted) })
    }

    fn longest_run(&self, wanted: u32) -> Option<SwapRun> {
        let mut longest: Option<SwapRun> = None;
        let mut at = self.cursor;
        for _ in 0..RUNS_LOOKED_AT {
            let start = self.free.next_from(at).or_else(|| self.free.next_from(0))?;
            let len = self.free.run_from(start, wanted);
            if longest.is_none_or(|longest| longest.len < len) {
                longest = Some(SwapRun { start: SwapSlot(start), len });
            }
            if len == wanted {
                break;
            }
            at = start + len;
        }
        longest
    }

    /// Adds a holder to `slot`, which is held.
    pub fn get(&mut self, slot: SwapSlot) -> Result<(), TooManyHolders> {
        match self.holders[slot.index()] {
            0 | PUNCHING => panic!("{slot:?} is free: nobody can share it"),
            HOLDERS_MAX => Err(TooManyHolders(slot)),
            holders => {
                self.holders[slot.index()] = holders + 1;
                Ok(())
            }
        }
    }

    /// Takes a holder from `slot`, which is held.
    pub fn put(&mut self, slot: SwapSlot) -> Put {
        match self.holders[slot.index()] {
            0 | PUNCHING => panic!("{slot:?} is free already"),
            1 => {
                self.in_use -= 1;
                self.set_free(slot.0);
                self.stale.insert(slot.0);
                self.stale_count += 1;
                Put::Freed
            }
            holders => {
                self.holders[slot.index()] = holders - 1;
                Put::Held
            }
        }
    }

    /// What to read when `slot` is wanted: the held slots around it without a gap,
    /// within the window of `window` slots that begins at a multiple of `window`.
    ///
    /// ```text
    ///   window of 8      │·1111·11│11······│
    ///   wanted                ▲
    ///   read               └──┘
    /// ```
    ///
    /// Linux reads every held slot of the window; what lies beyond a gap left at
    /// another time, and would need a second request.
    pub fn cluster_of(&self, slot: SwapSlot, window: u32) -> SwapRun {
        assert!(self.holders(slot) > 0, "{slot:?} is free: there is nothing to read");
        assert!(window > 0, "a window of nothing");
        let first = slot.0 - slot.0 % window;
        let last = first.saturating_add(window).min(self.slots());
        let is_held = |at: &u32| self.holders(SwapSlot(*at)) > 0;
        let before = (first..slot.0).rev().take_while(is_held).count() as u32;
        let after = (slot.0..last).take_while(is_held).count() as u32;
        SwapRun { start: SwapSlot(slot.0 - before), len: before + after }
    }

    /// Up to `max` consecutive free slots that still take room in the file. They
    /// can't be given out until [`SwapMap::end_punch`].
    pub fn begin_punch(&mut self, max: u32) -> Option<SwapRun> {
        let start = self.stale.next_from(0)?;
        let run = SwapRun { start: SwapSlot(start), len: self.stale.run_from(start, max) };
        for slot in run.iter() {
            self.take(slot.0, PUNCHING);
        }
        self.punching += run.len;
        Some(run)
    }

    /// The driver has given back the room of `run`, or failed to: that is no loss
    /// but of room.
    pub fn end_punch(&mut self, run: SwapRun) {
        for slot in run.iter() {
            let holders = self.holders[slot.index()];
            assert_eq!(holders, PUNCHING, "{slot:?}: the end of a punch that was not begun");
            self.set_free(slot.0);
        }
        self.punching -= run.len;
    }

    /// Any → Free.
    fn set_free(&mut self, slot: u32) {
        self.holders[slot as usize] = 0;
        self.free.insert(slot);
        if self.free.is_full_word(slot / CLUSTER) {
            self.empty.insert(slot / CLUSTER);
        }
    }

    /// Free → Held(1) or Punching.
    fn take(&mut self, slot: u32, holders: u16) {
        debug_assert_eq!(self.holders[slot as usize], 0);
        self.holders[slot as usize] = holders;
        self.free.remove(slot);
        self.stale_count -= u32::from(self.stale.contains(slot));
        self.stale.remove(slot);
        self.empty.remove(slot / CLUSTER);
    }

    /// Bytes that the map takes: 2.4 a slot.
    pub fn bookkeeping_bytes(&self) -> usize {
        let bits = [&self.free, &self.stale, &self.empty].map(Bits::bookkeeping_bytes);
        self.holders.capacity() * size_of::<u16>() + bits.iter().sum::<usize>()
    }

    /// Counts, bits and sums agree.
    pub fn check_invariants(&self) {
        let mut stale = 0;
        for (at, holders) in self.holders.iter().enumerate() {
            let slot = at as u32;
            stale += u32::from(self.stale.contains(slot));
            assert_eq!(self.free.contains(slot), *holders == 0, "slot {slot}");
            assert!(!self.stale.contains(slot) || *holders == 0, "slot {slot} is stale and held");
        }
        assert_eq!(stale, self.stale_count);
        for cluster in 0..self.slots().div_ceil(CLUSTER) {
            let is_empty = self.free.is_full_word(cluster);
            assert_eq!(self.empty.contains(cluster), is_empty, "cluster {cluster}");
        }
        let count = |which: fn(u16) -> bool| self.holders.iter().filter(|h| which(**h)).count();
        assert_eq!(count(|holders| holders == PUNCHING), self.punching as usize);
        assert_eq!(count(|holders| holders != 0 && holders != PUNCHING), self.in_use as usize);
        [&self.free, &self.stale, &self.empty].into_iter().for_each(Bits::check_invariants);
    }
}
