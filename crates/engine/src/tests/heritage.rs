//! What an engine keeps for a forked child, and what the child's copy makes of itself.

use std::collections::BTreeSet;
use std::vec::Vec;

use faultless_addr::*;

use super::driver::carry_out_writing;
use crate::fault::Waiter;
use crate::space::{Backing, MapRequest, Merge, Place, Sharing, VmaFlags};
use crate::*;

const SPACE: SpaceId = SpaceId(0);
const SLOTS: u64 = 8;

/// Sixteen frames, eight slots of swap, a shared map of a file and anonymous memory.
struct Fixture {
    engine: Engine,
    file: ObjectId,
    shared: VirtAddr,
    anonymous: VirtAddr,
    plan: Plan,
    /// Every slot that was written, in order.
    written: Vec<u64>,
    /// Pages of the file that were written.
    file_written: usize,
}

fn fixture() -> Fixture {
    let bounds = VirtRange::new(VirtAddr(1 << 30), VirtAddr(1 << 40));
    let config = Config { addresses: Addresses::One, ..Config::new(16, std::vec![bounds]) };
    let mut engine = Engine::new(config);
    let swap = engine.create(ObjectOptions::file(SLOTS * PAGE_BYTES, Rights::ReadWrite));
    engine.set_swap(swap);
    let file = engine.create(ObjectOptions::file(4 * PAGE_BYTES, Rights::ReadWrite));
    let prot = Prot::READ | Prot::WRITE;
    let shared = engine.map_object(SPACE, file, PageIndex(0), 4, prot).unwrap().start;
    let request = MapRequest {
        place: Place::Anywhere,
        len: SLOTS * PAGE_BYTES,
        prot,
        sharing: Sharing::Private,
        backing: Backing::Anonymous,
        flags: VmaFlags::empty(),
        merge: Merge::No,
    };
    let anonymous = engine.map(SPACE, request).unwrap().start;
    let (plan, written, file_written) = (Plan::new(), Vec::new(), 0);
    Fixture { engine, file, shared, anonymous, plan, written, file_written }
}

impl Fixture {
    fn touch(&mut self, at: VirtAddr, access: Access) -> Outcome {
        for _ in 0..8 {
            match self.engine.fault(SPACE, at, access, Waiter::Caller, &mut self.plan) {
                Outcome::Waiting(_) => self.carry_out(),
                Outcome::NoFrame(scope) => {
                    self.engine.reclaim(scope, 1, &mut self.plan);
                    self.carry_out();
                }
                outcome => {
                    self.carry_out();
                    return outcome;
                }
            }
        }
        panic!("{at:?} is never served")
    }

    fn store(&mut self, page: u64) {
        assert_eq!(self.touch(self.anonymous.plus_pages(page), Access::Write), Outcome::Resolved);
    }

    fn evict_all(&mut self) {
        for _ in 0..8 {
            self.engine.reclaim(Scope::All, 16, &mut self.plan);
            self.carry_out();
        }
        assert_eq!(self.engine.stats().frames_used, 0);
    }

    fn carry_out(&mut self) {
        let (file, file_written, written) = (self.file, &mut self.file_written, &mut self.written);
        carry_out_writing(&mut self.engine, &mut self.plan, |_, key, _| {
            match key.object == file {
                true => *file_written += 1,
                false => written.push(key.page.0),
            }
            Ok(())
        });
    }

    /// As a driver does it.
    fn lend(&mut self) -> Lease {
        let needs = self.engine.lending_needs().unwrap();
        self.engine.enlarge_swap(needs.slots);
        self.engine.lend_slots().unwrap().unwrap()
    }
}

#[test]
fn what_is_lent_is_not_written_until_the_lease_ends() {
    let mut it = fixture();
    (0..SLOTS).for_each(|page| it.store(page));
    it.evict_all();
    let lent: BTreeSet<u64> = core::mem::take(&mut it.written).into_iter().collect();
    assert_eq!(lent.len() as u64, SLOTS, "the area is full");
    let lease = it.lend();
    // Every page is stored to again, twice: there is room for all of them elsewhere.
    for _ in 0..2 {
        (0..SLOTS).for_each(|page| it.store(page));
        it.evict_all();
    }
    let now: BTreeSet<u64> = it.written.drain(..).collect();
    assert!(now.is_disjoint(&lent), "{now:?} of {lent:?}");
    assert_eq!(it.engine.swap_slots().0 as u64, 2 * SLOTS);
    it.engine.end_lease(lease);
    it.engine.check_invariants();
    assert_eq!(it.engine.swap_slots().0 as u64, SLOTS);
    // The same slots serve again, and a page that has one to itself is written in place.
    let before: Vec<_> = it.engine.held_slots().collect();
    (0..SLOTS).for_each(|page| it.store(page));
    it.evict_all();
    assert_eq!(it.engine.held_slots().collect::<Vec<_>>(), before);
}

#[test]
fn leases_of_several_children_end_in_any_order() {
    let mut it = fixture();
    let mut leases = Vec::new();
    for _ in 0..3 {
        (0..SLOTS).for_each(|page| it.store(page));
        it.evict_all();
        leases.push(it.lend());
    }
    assert_eq!((it.engine.swap_slots().0 as u64, it.engine.leases()), (3 * SLOTS, 3));
    for (n, left) in [(1, 2), (0, 1), (0, 1)] {
        it.engine.end_lease(leases.remove(n));
        it.engine.check_invariants();
        // The last one's slots are the pages' own as well.
        assert_eq!(it.engine.swap_slots().0 as u64, left * SLOTS);
    }
}

#[test]
fn a_childs_copy_keeps_what_is_private_and_withdraws_what_is_shared() {
    let mut it = fixture();
    (0..SLOTS).for_each(|page| it.store(page));
    it.evict_all();
    (0..3).for_each(|page| it.store(page));
    assert_eq!(it.touch(it.anonymous.plus_pages(5), Access::Read), Outcome::Resolved);
    assert_eq!(it.touch(it.shared, Access::Write), Outcome::Resolved);
    let pages = PageRange::from_len(PageIndex(1), 1);
    let mut pin = Pin::new(it.file, pages, PinFor::Read);
    while it.engine.pin_step(&mut pin, &mut it.plan) != PinStep::Held {
        it.carry_out();
    }
    it.carry_out();
    let slots: Vec<_> = it.engine.held_slots().collect();
    let lease = it.lend();
    it.written.clear();

    it.engine.inherit(&mut it.plan);
    it.carry_out();
    assert_eq!((it.engine.resident(it.file), it.engine.dirty(it.file)), (0, 0));
    assert_eq!(it.file_written, 0, "the parent writes it");
    assert_eq!(it.engine.stats().pages_pinned, 0);
    assert_eq!(it.engine.held_slots().collect::<Vec<_>>(), slots, "own, and not lent");
    it.engine.end_lease(lease);
    assert_eq!(it.engine.leases(), 0);
    assert!(it.engine.is_withdrawn(it.file));
    for access in [Access::Read, Access::Write] {
        assert_eq!(it.touch(it.shared, access), Outcome::Signal(Signal::Bus));
    }
    // The one page that was read since it came back is protected, and no other.
    let stopped = it.engine.stopped_ranges();
    let at = it.anonymous.plus_pages(5);
    assert!(stopped.iter().any(|(space, range)| *space == SPACE && range.contains(at)));
    for page in 0..3 {
        let at = it.anonymous.plus_pages(page);
        assert!(!stopped.iter().any(|(_, range)| range.contains(at)), "page {page}: {stopped:?}");
    }
    (0..SLOTS).for_each(|page| it.store(page));
    it.evict_all();
}
