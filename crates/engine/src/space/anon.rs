//! The anonymous side of areas: the pages of its own that a private area has.
//!
//! A private area shows its backing until a store gives it a page of its own. The own
//! pages of areas that once were one area form a *set*, and have numbers in it, which
//! they keep when `mremap` moves them. Both decide whether two areas may be one:
//!
//! ```text
//!   area at 0x5000..0x8000, touched: set 1, pages 5 6 7
//!        │ mremap of the upper two pages to 0xc000
//!        ▼
//!   0x5000: set 1, page 5      0xc000: set 1, pages 6 7      0xe000: set 2, page 14
//!                                                    ▲       ▲
//!                                 no merge: 8 would follow   └ another set, anyway
//! ```
//!
//! An area without own pages has no set yet and merges with either side. On Linux the
//! set is an `anon_vma` and the number is `vm_pgoff`. A driver that never calls
//! [`touched`](AddressSpace::touched) has areas without sets, which merge more often.

use faultless_addr::{PAGE_SHIFT, PageIndex, VirtAddr};

use super::{AddressSpace, Backing, Merge, Prot, Sharing, Vma};

/// A set of own pages, within one address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnonId(pub u32);

/// Which own pages an area has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnonSet {
    /// None yet.
    Untouched,
    /// Some pages of this set.
    Touched(AnonId),
    /// Some pages that a fork has brought: they don't go together with untouched ones.
    Inherited(AnonId),
}

/// The own pages of an area: which set, and the number of the one at the area's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AnonSide {
    /// The set.
    pub set: AnonSet,
    /// The number of the page at the area's start. It says nothing in an area with an
    /// object: there, own pages have the numbers of the object's pages.
    pub first: PageIndex,
}

impl AnonSide {
    /// No own pages; those to come have the numbers of their addresses.
    pub(super) fn untouched(start: VirtAddr) -> AnonSide {
        AnonSide { set: AnonSet::Untouched, first: PageIndex(start.0 >> PAGE_SHIFT) }
    }

    pub(super) fn plus(self, pages: u64) -> AnonSide {
        AnonSide { first: self.first.plus(pages), ..self }
    }

    pub(super) fn moved_to(self, start: VirtAddr) -> AnonSide {
        match self.set {
            AnonSet::Untouched => AnonSide::untouched(start),
            AnonSet::Touched(_) | AnonSet::Inherited(_) => self,
        }
    }

    /// The set of two areas as one, where this side is continued up to where `high`
    /// begins. `None` if they can't be one.
    pub(super) fn merged(self, high: AnonSide, backing: Backing) -> Option<AnonSet> {
        if backing == Backing::Anonymous && self.first != high.first {
            return None;
        }
        match (self.set, high.set) {
            (low, high) if low == high => Some(low),
            (set @ AnonSet::Touched(_), AnonSet::Untouched) => Some(set),
            (AnonSet::Untouched, set @ AnonSet::Touched(_)) => Some(set),
            _ => None,
        }
    }
}

impl AddressSpace {
    /// The area that holds `addr`, a private one, has got an own page. It joins the set
    /// of a neighbour that differs in its rights only, so that both can be one when the
    /// rights are equal again; else it begins a set.
    pub fn touched(&mut self, addr: VirtAddr) {
        let Some(&area) = self.find(addr) else { return };
        if area.anon.set != AnonSet::Untouched || area.sharing == Sharing::Shared {
            return;
        }
        let set = self.set_of_neighbour(&area).unwrap_or_else(|| {
            self.next_anon += 1;
            AnonSet::Touched(AnonId(self.next_anon))
        });
        let anon = AnonSide { set, ..area.anon };
        self.areas.insert(area.range.start, Vma { anon, ..area });
    }

    fn set_of_neighbour(&self, area: &Vma) -> Option<AnonSet> {
        let high = self.areas.get(&area.range.end);
        let low = self.areas.range(..area.range.start).next_back().map(|(_, low)| low);
        let alike = |one: &Vma| Vma { prot: Prot::empty(), merge: Merge::Yes, ..*one };
        let area = alike(area);
        let above = high.filter(|high| area.can_merge(&alike(high)));
        let below = low.filter(|low| alike(low).can_merge(&area));
        let set = above.or(below)?.anon.set;
        (set != AnonSet::Untouched).then_some(set)
    }
}
