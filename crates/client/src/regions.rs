//! [`Regions`]: which addresses of this process are served, and how.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use faultless_sys::Errno;

use crate::array::Array;

/// What is to be known of a region beyond where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traits(u16);

impl Traits {
    /// The program has asked for `MAP_PRIVATE`.
    pub const PRIVATE: Traits = Traits(0);
    /// The program has asked for `MAP_SHARED`.
    pub const SHARED: Traits = Traits(1);
    /// `MAP_SHARED` of a descriptor that can't write: stores can never be allowed.
    pub const SHARED_READ_ONLY: Traits = Traits(1 | 2);
    /// The program wants it kept out of children (`MADV_DONTFORK`).
    pub const NOT_INHERITED: Traits = Traits(4);
    /// Its broker is gone: what isn't in memory is SIGBUS, and what is goes nowhere.
    pub const LOST: Traits = Traits(8);

    /// Memory of the program's own: private, and zeros where nothing has been stored.
    pub const OWN: Traits = Traits(16);
    /// Children have zeros there (`MADV_WIPEONFORK`).
    pub const WIPED: Traits = Traits(32);
    /// Memory of the program's own that begins as a file's pages.
    pub const BACKED: Traits = Traits(16 | 512);
    /// What the program may do with memory of its own.
    const RIGHTS: [(Traits, i32); 3] = [
        (Traits(64), libc::PROT_READ),
        (Traits(128), libc::PROT_WRITE),
        (Traits(256), libc::PROT_EXEC),
    ];

    /// With these rights, and no others.
    pub fn with_rights(self, prot: i32) -> Traits {
        Traits::RIGHTS.iter().fold(self, |traits, (right, bit)| match prot & bit {
            0 => traits.without(*right),
            _ => traits.with(*right),
        })
    }

    /// As `PROT_*`.
    pub fn rights(self) -> i32 {
        let rights = Traits::RIGHTS.iter().filter(|(right, _)| self.has(*right));
        rights.map(|(_, bit)| bit).sum()
    }

    pub fn with(self, other: Traits) -> Traits {
        Traits(self.0 | other.0)
    }

    pub fn without(self, other: Traits) -> Traits {
        Traits(self.0 & !other.0)
    }

    pub fn has(self, other: Traits) -> bool {
        self.0 & other.0 == other.0
    }

    /// Do children have it, too?
    pub fn is_inherited(self) -> bool {
        !self.has(Traits::NOT_INHERITED) && !self.has(Traits::LOST)
    }
}

/// Neighbouring addresses with the same traits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub start: usize,
    pub end: usize,
    pub traits: Traits,
}

impl Region {
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    pub fn len(&self) -> usize {
        self.end - self.start
    }
}

/// The hull of all regions, for who looks without the lock: most addresses are outside.
/// Only whoever has changed the regions stores here.
static LOWEST: AtomicUsize = AtomicUsize::new(usize::MAX);
static HIGHEST: AtomicUsize = AtomicUsize::new(0);

/// May some of `range` be served? Takes no lock.
pub(crate) fn may_be_served(range: &Range<usize>) -> bool {
    range.start < HIGHEST.load(Ordering::Acquire) && range.end > LOWEST.load(Ordering::Acquire)
}

/// The served addresses, in order.
pub(crate) struct Regions(Array<Region>);

/// What one change may add at most: it cuts a region at its start and one at its end.
const ROOM: usize = 3;

impl Regions {
    pub const fn new() -> Regions {
        Regions(Array::new())
    }

    /// Makes room for the next change, which then can't fail. ENOMEM.
    pub fn reserve(&mut self) -> Result<(), Errno> {
        self.0.reserve(ROOM)
    }

    /// From now on `range` is served, whatever it was.
    pub fn insert(&mut self, range: Range<usize>, traits: Traits) {
        let at = self.cut_out(&range);
        self.0.insert(at, Region { start: range.start, end: range.end, traits });
        self.join(at);
        self.publish();
    }

    /// From now on none of `range` is served.
    pub fn remove(&mut self, range: &Range<usize>) {
        self.cut_out(range);
        self.publish();
    }

    /// Changes the traits of what is served of `range`.
    pub fn change(&mut self, range: &Range<usize>, change: impl Fn(Traits) -> Traits) {
        let (first, last) = self.split(range);
        for region in &mut self.0[first..last] {
            region.traits = change(region.traits);
        }
        for at in (first..=last).rev() {
            self.join(at);
        }
    }

    /// The broker of all that is served is gone.
    pub fn lose_all(&mut self) {
        if !self.0.is_empty() && self.reserve().is_ok() {
            self.change(&(0..usize::MAX), |traits| traits.with(Traits::LOST));
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
        self.publish();
    }

    /// All regions, in order.
    pub fn all(&self) -> &[Region] {
        &self.0
    }

    /// The parts of `range` that are served, in order.
    pub fn within(&self, range: Range<usize>) -> impl Iterator<Item = Region> {
        let first = self.0.partition_point(|region| region.end <= range.start);
        let all = if range.is_empty() { &[] } else { &self.0[first..] };
        let touching = all.iter().take_while(move |region| region.start < range.end);
        touching.map(move |region| Region {
            start: region.start.max(range.start),
            end: region.end.min(range.end),
            traits: region.traits,
        })
    }

    /// The first part of `range` that is served.
    pub fn first_within(&self, range: Range<usize>) -> Option<Region> {
        self.within(range).next()
    }

    /// The first part of `range` that is the program's own.
    pub fn own_within(&self, range: Range<usize>) -> Option<Region> {
        self.within(range).find(|region| region.traits.has(Traits::OWN))
    }

    /// Takes `range` out; answers where it would be.
    fn cut_out(&mut self, range: &Range<usize>) -> usize {
        let (first, last) = self.split(range);
        self.0.remove(first..last);
        first
    }

    /// Has regions begin and end at the ends of `range`; answers which lie in it.
    fn split(&mut self, range: &Range<usize>) -> (usize, usize) {
        (self.split_at(range.start), self.split_at(range.end))
    }

    /// Answers the first region that begins at `address` or behind it.
    fn split_at(&mut self, address: usize) -> usize {
        let at = self.0.partition_point(|region| region.end <= address);
        match self.0.get(at).copied() {
            Some(region) if region.start < address => {
                self.0[at].start = address;
                self.0.insert(at, Region { end: address, ..region });
                at + 1
            }
            _ => at,
        }
    }

    /// Makes one region of that at `at` and its neighbours, where they are alike.
    fn join(&mut self, at: usize) {
        for second in [at + 1, at] {
            let Some(first) = second.checked_sub(1) else { continue };
            let (Some(a), Some(b)) = (self.0.get(first), self.0.get(second)) else { continue };
            if a.end == b.start && a.traits == b.traits {
                self.0[first].end = b.end;
                self.0.remove(second..second + 1);
            }
        }
    }

    fn publish(&self) {
        LOWEST.store(self.0.first().map_or(usize::MAX, |region| region.start), Ordering::Release);
        HIGHEST.store(self.0.last().map_or(0, |region| region.end), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte a page, as slow and plain as can be.
    #[test]
    fn regions_are_what_their_pages_are() {
        const PAGES: usize = 40;
        let mut regions = Regions::new();
        let mut model = [None::<Traits>; PAGES];
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..4000 {
            let start = random.usize(..PAGES);
            let range = start..random.usize(start + 1..=PAGES);
            regions.reserve().unwrap();
            match random.u8(..4) {
                0 => {
                    regions.remove(&range);
                    model[range].fill(None);
                }
                1 => {
                    regions.change(&range, |traits| traits.with(Traits::NOT_INHERITED));
                    for traits in model[range].iter_mut().flatten() {
                        *traits = traits.with(Traits::NOT_INHERITED);
                    }
                }
                _ => {
                    let traits = [Traits::PRIVATE, Traits::SHARED, Traits::SHARED_READ_ONLY];
                    let traits = traits[random.usize(..3)];
                    regions.insert(range.clone(), traits);
                    model[range].fill(Some(traits));
                }
            }
            let mut found = [None; PAGES];
            for region in regions.all() {
                found[region.range()].fill(Some(region.traits));
            }
            assert_eq!(found, model);
            let alike = |pair: &[Region]| {
                pair[0].end > pair[1].start
                    || pair[0].end == pair[1].start && pair[0].traits == pair[1].traits
            };
            assert!(!regions.all().windows(2).any(alike), "{:?}", regions.all());
        }
    }

    #[test]
    fn rights_are_what_they_were_set_to() {
        for prot in 0..8 {
            let traits = Traits::OWN.with_rights(7).with(Traits::WIPED).with_rights(prot);
            assert_eq!(traits.rights(), prot);
            assert!(traits.has(Traits::OWN) && traits.has(Traits::WIPED), "{traits:?}");
        }
    }

    #[test]
    fn within_cuts_to_what_was_asked_for() {
        let mut regions = Regions::new();
        regions.reserve().unwrap();
        regions.insert(10..20, Traits::SHARED);
        regions.reserve().unwrap();
        regions.insert(30..40, Traits::PRIVATE);
        let found: Vec<_> = regions.within(15..35).map(|region| region.range()).collect();
        assert_eq!(found, [15..20, 30..35]);
        assert_eq!(regions.within(20..30).count(), 0);
        assert_eq!(regions.within(15..15).count(), 0, "nothing is in nothing");
    }
}
