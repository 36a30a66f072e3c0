//! The names of pages that left lately, in a table of fixed size.
//!
//! ```text
//!   hash(key) ──► bucket ──► [fingerprint × 8 │ epoch × 8], 16 bits each
//!                             newest … oldest
//! ```
//!
//! A ghost lives for as many insertions as the table is meant to hold names. Nothing
//! removes it then: its epoch is too old to match, and those that come after it push it out of
//! its bucket. With two slots for each name few are pushed out early; with one, some
//! are, and the table is half as big. A stranger passes for a ghost about once in eight
//! thousand look-ups, which costs a cache nothing but a wrong guess.
//!
//! A page that comes is looked up and one that leaves is inserted, so both are a few
//! instructions without a loop: the fingerprints of a bucket are one word, in which all are
//! compared at once, and to insert is to shift.
//!
//! Source: the ghost queue of S3-FIFO (Yang et al., SOSP 2023, section 4.2), which
//! stores fingerprints in a bucketed table in this way.

use alloc::{vec, vec::Vec};
use core::mem::size_of;

use super::PageKey;

/// Slots in a bucket: 32 bytes, half a cache line.
const WAYS: usize = 8;

/// How many slots there are for each name that a table is meant to remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slots {
    /// Four bytes a name; five in six live as long as they are meant to.
    One = 1,
    /// Eight bytes a name; 19 in 20 do.
    Two = 2,
}

/// Pages next to each other whose buckets are, too.
const NEIGHBOURS: u64 = 8;

/// Epochs that a ghost lives, where there are that many names. Coarse enough for 16 bits
/// to last 256 lifetimes, fine enough for a lifetime to be right within half a percent.
const EPOCHS_PER_LIFE: u32 = 256;

/// 16 bits of each slot in a word, the newest lowest.
type Lanes = u128;

const LANE_BITS: u32 = Lanes::BITS / WAYS as u32;
/// 1 in each lane.
const ONES: Lanes = Lanes::MAX / u16::MAX as Lanes;
/// The highest bit of each lane.
const HIGHS: Lanes = ONES << (LANE_BITS - 1);

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// 0 in empty slots.
    fingerprints: Lanes,
    epochs: Lanes,
}

impl Bucket {
    /// The slot with this fingerprint; with 0, the first that is empty.
    fn find(&self, fingerprint: u16) -> Option<u32> {
        let differing = self.fingerprints ^ (ONES * Lanes::from(fingerprint));
        // The lowest bit that is left is that of the lowest lane that was 0: those below it
        // lend nothing (Mycroft's test for a zero byte, with wider ones).
        let zero = differing.wrapping_sub(ONES) & !differing & HIGHS;
        (zero != 0).then(|| zero.trailing_zeros() / LANE_BITS)
    }

    fn epoch(&self, slot: u32) -> u16 {
        (self.epochs >> (slot * LANE_BITS)) as u16
    }

    /// Puts a ghost before all others, which move on by one, up to where it was, else to the first
    /// slot that is empty; where none is, the oldest is lost.
    fn insert(&mut self, fingerprint: u16, epoch: u16) {
        let slot = self.find(fingerprint).or_else(|| self.find(0)).unwrap_or(WAYS as u32 - 1);
        let moving = Lanes::MAX >> ((WAYS as u32 - 1 - slot) * LANE_BITS);
        let pushed =
            |lanes: Lanes, new: u16| lanes & !moving | lanes << LANE_BITS & moving | new as Lanes;
        self.fingerprints = pushed(self.fingerprints, fingerprint);
        self.epochs = pushed(self.epochs, epoch);
    }

    fn clear(&mut self, slot: u32) {
        self.fingerprints &= !(Lanes::from(u16::MAX) << (slot * LANE_BITS));
    }
}

/// Remembers the last pages that left.
pub struct Ghosts {
    buckets: Vec<Bucket>,
    inserts: u64,
    inserts_per_epoch: u64,
    epochs_per_life: u16,
}

impl Ghosts {
    /// A table that remembers about `names` pages.
    pub fn new(names: u32, slots: Slots) -> Ghosts {
        let buckets = (names as usize * slots as usize).div_ceil(WAYS).max(1);
        let inserts_per_epoch = (names / EPOCHS_PER_LIFE).max(1);
        Ghosts {
            buckets: vec![Bucket::default(); buckets],
            inserts: 0,
            inserts_per_epoch: inserts_per_epoch as u64,
            epochs_per_life: names.div_ceil(inserts_per_epoch) as u16,
        }
    }

    /// Remembers that the page `key` left.
    pub fn insert(&mut self, key: PageKey) {
        let epoch = self.epoch();
        let (bucket, fingerprint) = self.place(key);
        self.buckets[bucket].insert(fingerprint, epoch);
        self.inserts += 1;
    }

    /// Did the page `key` leave lately? It is forgotten, because it is back.
    pub fn take(&mut self, key: PageKey) -> bool {
        let (epoch, life) = (self.epoch(), self.epochs_per_life);
        let (bucket, fingerprint) = self.place(key);
        let bucket = &mut self.buckets[bucket];
        let Some(slot) = bucket.find(fingerprint) else { return false };
        bucket.clear(slot);
        epoch.wrapping_sub(bucket.epoch(slot)) <= life
    }

    /// The memory that the table uses.
    pub fn bookkeeping_bytes(&self) -> usize {
        size_of::<Ghosts>() + self.buckets.capacity() * size_of::<Bucket>()
    }

    /// Panics if a bucket holds one fingerprint twice.
    pub fn check_invariants(&self) {
        for bucket in &self.buckets {
            for slot in 0..WAYS as u32 {
                let fingerprint = (bucket.fingerprints >> (slot * LANE_BITS)) as u16;
                let is_first = bucket.find(fingerprint) == Some(slot);
                assert!(fingerprint == 0 || is_first, "a ghost is in its bucket twice");
            }
        }
    }

    fn epoch(&self) -> u16 {
        (self.inserts / self.inserts_per_epoch) as u16
    }

    /// The bucket that `key` belongs to, and its fingerprint, which is not 0. Neighbours belong
    /// to neighbours, so that those who come and leave in order are in few cache lines.
    fn place(&self, key: PageKey) -> (usize, u16) {
        let (group, page) = (key.page.0 / NEIGHBOURS, key.page.0 % NEIGHBOURS);
        let hash = mix(group ^ mix(u64::from(key.object.0)));
        let buckets = self.buckets.len() as u64;
        let bucket = (((hash >> 32) * buckets) >> 32) + page;
        let bucket = if bucket < buckets { bucket } else { bucket % buckets };
        // Where there are few buckets, neighbours meet in one.
        (bucket as usize, (hash as u16 ^ page as u16).max(1))
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use faultless_addr::{ObjectId, PageIndex};

    use super::*;

    fn key(page: u64) -> PageKey {
        PageKey { object: ObjectId(3), page: PageIndex(page) }
    }

    #[test]
    fn remembers_the_last_names_and_no_others() {
        let tables =
            [8, 100, 1_000, 10_000].map(|names| [(names, Slots::One), (names, Slots::Two)]);
        for (names, slots) in tables.into_iter().flatten() {
            let mut ghosts = Ghosts::new(names, slots);
            let total = u64::from(names) * 3;
            (0..total).for_each(|page| ghosts.insert(key(page)));
            ghosts.check_invariants();
            let lately = total - u64::from(names);
            let kept = (lately..total).filter(|&page| ghosts.take(key(page))).count();
            let least = if slots == Slots::One { 0.83 } else { 0.95 };
            assert!(kept as f64 >= least * f64::from(names), "{kept} of {names} kept");
            let margin = u64::from(names / 100 + 2);
            let stale = (0..lately - margin).filter(|&page| ghosts.take(key(page))).count();
            assert!(stale as u64 <= 1 + total / 500, "{stale} of {names} are too old");
        }
    }

    #[test]
    fn a_bucket_keeps_the_newest_in_order_and_fills_holes_first() {
        let mut bucket = Bucket::default();
        let insert = |bucket: &mut Bucket, it: u16| bucket.insert(it, it + 100);
        let held = |bucket: &Bucket| {
            let lanes = |lanes: Lanes| (0..8).map(move |n| (lanes >> (16 * n)) as u16);
            lanes(bucket.fingerprints).zip(lanes(bucket.epochs)).collect::<Vec<_>>()
        };
        let pairs = |these: [u16; 8]| these.map(|fingerprint| (fingerprint, fingerprint + 100));
        // Lanes that differ in the lowest bit only, and the largest: what a borrow would spoil.
        let nine = [1, 0x100, 0xffff - 200, 2, 3, 0x8000, 0x7fff, 4, 5];
        nine.into_iter().for_each(|it| insert(&mut bucket, it));
        assert_eq!(held(&bucket), pairs([5, 4, 0x7fff, 0x8000, 3, 2, 0xffff - 200, 0x100]));
        for (slot, (fingerprint, _)) in (0..).zip(held(&bucket)) {
            assert_eq!(bucket.find(fingerprint), Some(slot));
            assert_eq!(bucket.epoch(slot), fingerprint + 100);
        }
        assert_eq!((bucket.find(1), bucket.find(0)), (None, None));
        insert(&mut bucket, 3);
        assert_eq!(held(&bucket), pairs([3, 5, 4, 0x7fff, 0x8000, 2, 0xffff - 200, 0x100]));
        bucket.clear(4);
        assert_eq!((bucket.find(0x8000), bucket.find(0)), (None, Some(4)));
        insert(&mut bucket, 6);
        assert_eq!(held(&bucket), pairs([6, 3, 5, 4, 0x7fff, 2, 0xffff - 200, 0x100]));
    }

    #[test]
    fn a_name_is_taken_once() {
        let mut ghosts = Ghosts::new(16, Slots::Two);
        ghosts.insert(key(7));
        assert!(ghosts.take(key(7)));
        assert!(!ghosts.take(key(7)));
    }

    #[test]
    fn a_ghost_costs_four_bytes_a_slot() {
        for slots in [Slots::One, Slots::Two] {
            let bytes = Ghosts::new(10_000, slots).bookkeeping_bytes();
            assert!(bytes <= 4 * slots as usize * 10_000 + size_of::<Ghosts>());
        }
    }
}
