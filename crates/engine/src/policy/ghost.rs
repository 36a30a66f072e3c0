//! The names of pages that left lately, in a table of fixed size.
//!
//! ```text
//!   hash(key) ──► bucket ──► [fingerprint │ epoch] × 8
//!                             16 bits       16 bits
//! ```
//!
//! A ghost lives for as many insertions as the table is meant to hold names. Nothing
//! removes it then: its epoch is too old to match, and the next insertion that needs the
//! slot takes it. With two slots for each name few are pushed out early; with one, some
//! are, and the table is half as big. A stranger passes for a ghost about once in eight thousand look-ups, which costs a
//! cache nothing but a wrong guess.
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

/// Epochs that a ghost lives, where there are that many names. Coarse enough for 16 bits
/// to last 256 lifetimes, fine enough for a lifetime to be right within half a percent.
const EPOCHS_PER_LIFE: u32 = 256;

#[derive(Clone, Copy, Default)]
struct Slot {
    /// 0 in an empty slot.
    fingerprint: u16,
    epoch: u16,
}

type Bucket = [Slot; WAYS];

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
        let slots = &mut self.buckets[bucket];
        let age = |slot: &Slot| match slot.fingerprint {
            0 => u16::MAX,
            _ => epoch.wrapping_sub(slot.epoch),
        };
        let same = slots.iter().position(|slot| slot.fingerprint == fingerprint);
        let oldest = || (0..WAYS).max_by_key(|&way| age(&slots[way])).unwrap_or(0);
        let way = same.unwrap_or_else(oldest);
        slots[way] = Slot { fingerprint, epoch };
        self.inserts += 1;
    }

    /// Did the page `key` leave lately? It is forgotten, because it is back.
    pub fn take(&mut self, key: PageKey) -> bool {
        let (epoch, life) = (self.epoch(), self.epochs_per_life);
        let (bucket, fingerprint) = self.place(key);
        let slots = &mut self.buckets[bucket];
        let Some(slot) = slots.iter_mut().find(|slot| slot.fingerprint == fingerprint) else {
            return false;
        };
        let alive = epoch.wrapping_sub(slot.epoch) <= life;
        *slot = Slot::default();
        alive
    }

    /// The memory that the table uses.
    pub fn bookkeeping_bytes(&self) -> usize {
        size_of::<Ghosts>() + self.buckets.capacity() * size_of::<Bucket>()
    }

    /// Panics if a bucket holds one fingerprint twice.
    pub fn check_invariants(&self) {
        for bucket in &self.buckets {
            for (way, slot) in bucket.iter().enumerate() {
                let twin = bucket[..way].iter().any(|other| other.fingerprint == slot.fingerprint);
                assert!(slot.fingerprint == 0 || !twin, "a ghost is in its bucket twice");
            }
        }
    }

    fn epoch(&self) -> u16 {
        (self.inserts / self.inserts_per_epoch) as u16
    }

    /// The bucket that `key` belongs to, and its fingerprint, which is not 0.
    fn place(&self, key: PageKey) -> (usize, u16) {
        let hash = mix(key.page.0 ^ mix(u64::from(key.object.0)));
        let bucket = ((hash >> 32) * self.buckets.len() as u64) >> 32;
        (bucket as usize, (hash as u16).max(1))
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
