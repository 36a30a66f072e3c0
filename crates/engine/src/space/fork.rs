//! `fork`: the areas of a child.
//!
//! ```text
//!   parent    ┌─ A ─┐┌─ B DONT_FORK ─┐┌─ C WIPE_ON_FORK ─┐┌─ D LOCKED ─┐┌─ E SEALED ─┐
//!   child     ┌─ A ─┐                 ┌─ C WIPE_ON_FORK ─┐┌─ D ────────┐┌─ E SEALED ─┐
//!   pages      copied                  none                copied        copied
//! ```
//!
//! Guards come along, but for those in areas that are wiped; limits, layout and break do;
//! locks don't, nor do those of areas to come. Own pages are shared with the parent until
//! one of both stores: areas that have some don't merge with areas that have none.
//!
//! On Linux two areas of the child that differed by a lock stay two until something else
//! merges them; here they are one at once.
//!
//! Source: fork(2), madvise(2), mlock(2).

use faultless_addr::VirtRange;

use super::gaps::Gaps;
use super::limits::Counts;
use super::{AddressSpace, AnonId, AnonSet, AnonSide, Vma, VmaFlags};

impl Vma {
    /// Does a child begin with the pages that the parent has here?
    pub fn is_copied_at_fork(&self) -> bool {
        !self.flags.intersects(VmaFlags::DONT_FORK | VmaFlags::WIPE_ON_FORK)
    }
}

impl AddressSpace {
    /// The space of a child. What pages it begins with, [`Vma::is_copied_at_fork`] says,
    /// asked of its areas.
    pub fn fork(&self) -> AddressSpace {
        let mut child = AddressSpace {
            areas: Default::default(),
            gaps: Gaps::new(self.config.bounds, self.config.guard_pages),
            counts: Counts::default(),
            locked_lost: 0,
            future_locks: VmaFlags::empty(),
            ..self.clone()
        };
        for area in self.iter() {
            if area.flags.contains(VmaFlags::DONT_FORK) {
                child.guards.remove(area.range);
                continue;
            }
            if area.flags.contains(VmaFlags::WIPE_ON_FORK) {
                child.guards.remove(area.range);
            }
            let anon = AnonSide { set: child.inherited(area), ..area.anon };
            let flags = area.flags - VmaFlags::LOCKS;
            child.add(Vma { anon, flags, ..*area });
        }
        child
    }

    /// Each area with own pages begins a set in the child.
    fn inherited(&mut self, area: &Vma) -> AnonSet {
        match area.anon.set {
            AnonSet::Untouched => AnonSet::Untouched,
            _ if !area.is_copied_at_fork() => AnonSet::Untouched,
            AnonSet::Touched(_) | AnonSet::Inherited(_) => {
                self.next_anon += 1;
                AnonSet::Inherited(AnonId(self.next_anon))
            }
        }
    }

    /// The ranges of the parent that a child doesn't have (`MADV_DONTFORK`), by address.
    pub fn not_inherited(&self) -> impl Iterator<Item = VirtRange> + '_ {
        let left_out = |area: &&Vma| area.flags.contains(VmaFlags::DONT_FORK);
        self.iter().filter(left_out).map(|area| area.range)
    }
}
