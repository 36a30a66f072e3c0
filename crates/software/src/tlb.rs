//! The translation lookaside buffer: what a CPU remembers of its walks.
//!
//! ```text
//!   page number … 0110 1001        16 sets of 4 ways
//!                      └──┴─► set   ┌─────────┬─────────┬─────────┬─────────┐
//!                                   │ tag, to │ tag, to │    –    │    –    │
//!                                   └─────────┴─────────┴─────────┴─────────┘
//! ```
//!
//! An entry is tagged with its space, as with a process-context identifier (PCID), so
//! that changing spaces flushes nothing. It is true until it is flushed, whatever has
//! become of the tables since: that is why whoever changes them must flush.
//!
//! What is absent: the second level, the caches of upper tables' entries, and a TLB of
//! its own for instruction fetches. Source: Intel SDM vol. 3A, section 4.10.2.

use faultless_addr::{Access, FrameNo, PAGE_SHIFT, SpaceId, VirtAddr};

use crate::entry::Rights;

/// Entries at most.
#[cfg(test)]
pub const ENTRIES: usize = SETS * WAYS;
const SETS: usize = 16;
const WAYS: usize = 4;

/// A translation as a TLB holds it. It has been accessed, or it wouldn't be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cached {
    /// The space that it is of.
    pub space: SpaceId,
    /// The first address of the page.
    pub at: VirtAddr,
    /// Where the page is.
    pub frame: FrameNo,
    /// What it allows.
    pub rights: Rights,
    /// Is the entry in the table known to be dirty?
    pub dirty: bool,
}

impl Cached {
    /// Can the access go on without a look at the tables? The first store can't: it
    /// must set `D` there.
    pub fn serves(&self, access: Access) -> bool {
        self.rights.allow(access) && (self.dirty || access != Access::Write)
    }
}

/// Four entries for the pages whose numbers end alike.
#[derive(Clone, Debug, Default)]
struct Set {
    ways: [Option<Cached>; WAYS],
    /// The way that is replaced next when all are full: each in turn.
    victim: usize,
}

/// One CPU's TLB.
#[derive(Clone, Debug, Default)]
pub struct Tlb([Set; SETS]);

impl Tlb {
    /// What is remembered of the page that holds `addr`.
    pub fn look_up(&self, space: SpaceId, addr: VirtAddr) -> Option<&Cached> {
        let at = addr.page_start();
        let ways = self.0[set_of(at)].ways.iter().flatten();
        ways.into_iter().find(|cached| cached.space == space && cached.at == at)
    }

    /// Remembers `new` in place of what was known of its page, in an empty way, or in
    /// place of another.
    pub fn insert(&mut self, new: Cached) {
        self.forget(new.space, new.at);
        let set = &mut self.0[set_of(new.at)];
        match set.ways.iter_mut().find(|way| way.is_none()) {
            Some(way) => *way = Some(new),
            None => {
                set.ways[set.victim] = Some(new);
                set.victim = (set.victim + 1) % WAYS;
            }
        }
    }

    /// Forgets what is known of the page that holds `addr`.
    pub fn forget(&mut self, space: SpaceId, addr: VirtAddr) {
        let at = addr.page_start();
        for way in &mut self.0[set_of(at)].ways {
            way.take_if(|cached| cached.space == space && cached.at == at);
        }
    }

    /// Forgets what is known of the pages that `is_meant` says; answers how many it was.
    pub fn flush(&mut self, is_meant: impl Fn(&Cached) -> bool) -> usize {
        let ways = self.0.iter_mut().flat_map(|set| &mut set.ways);
        ways.filter_map(|way| way.take_if(|cached| is_meant(cached))).count()
    }

    /// Everything that is remembered.
    pub fn iter(&self) -> impl Iterator<Item = &Cached> {
        self.0.iter().flat_map(|set| set.ways.iter().flatten())
    }
}

fn set_of(at: VirtAddr) -> usize {
    (at.0 >> PAGE_SHIFT) as usize % SETS
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: SpaceId = SpaceId(0);

    fn cached(page: u64) -> Cached {
        let at = VirtAddr(page << PAGE_SHIFT);
        let frame = FrameNo(page as u32);
        Cached { space: SPACE, at, frame, rights: Rights::all(), dirty: false }
    }

    fn frame(tlb: &Tlb, page: u64) -> Option<FrameNo> {
        tlb.look_up(SPACE, VirtAddr((page << PAGE_SHIFT) + 5)).map(|cached| cached.frame)
    }

    #[test]
    fn a_full_set_forgets_its_oldest() {
        let mut tlb = Tlb::default();
        for page in (0..5).map(|n| n * SETS as u64).chain([1]) {
            tlb.insert(cached(page));
        }
        let remembered: Vec<u64> = [0, 16, 32, 48, 64, 1]
            .into_iter()
            .filter(|page| frame(&tlb, *page).is_some())
            .collect();
        assert_eq!(remembered, [16, 32, 48, 64, 1]);
        tlb.insert(cached(80));
        assert_eq!(frame(&tlb, 16), None);
    }

    #[test]
    fn a_page_is_remembered_once() {
        let mut tlb = Tlb::default();
        tlb.insert(cached(7));
        tlb.insert(Cached { frame: FrameNo(1), ..cached(7) });
        assert_eq!(frame(&tlb, 7), Some(FrameNo(1)));
        assert_eq!(tlb.iter().count(), 1);
    }

    #[test]
    fn spaces_do_not_mix() {
        let mut tlb = Tlb::default();
        let other = SpaceId(1);
        tlb.insert(cached(7));
        tlb.insert(Cached { space: other, frame: FrameNo(1), ..cached(7) });
        assert_eq!(frame(&tlb, 7), Some(FrameNo(7)));
        tlb.forget(other, cached(7).at);
        assert_eq!(tlb.look_up(other, cached(7).at), None);
        assert_eq!(frame(&tlb, 7), Some(FrameNo(7)));
    }

    #[test]
    fn flushing_forgets_what_is_meant_and_no_more() {
        let mut tlb = Tlb::default();
        (0..ENTRIES as u64).for_each(|page| tlb.insert(cached(page)));
        assert_eq!(tlb.flush(|cached| (10..30).contains(&cached.frame.0)), 20);
        assert_eq!((frame(&tlb, 9), frame(&tlb, 10)), (Some(FrameNo(9)), None));
        assert_eq!((frame(&tlb, 29), frame(&tlb, 30)), (None, Some(FrameNo(30))));
        assert_eq!(tlb.iter().count(), ENTRIES - 20);
    }

    #[test]
    fn the_first_store_is_not_served() {
        let clean = cached(1);
        assert!(clean.serves(Access::Read) && clean.serves(Access::Execute));
        assert!(!clean.serves(Access::Write));
        assert!(Cached { dirty: true, ..clean }.serves(Access::Write));
        let read_only = Cached { dirty: true, rights: Rights::USER, ..clean };
        assert!(!read_only.serves(Access::Write) && !read_only.serves(Access::Execute));
    }
}
