//! Every verb against the oracle of single pages: what is where, and what number an
//! error has.

use std::vec::Vec;

use faultless_addr::PAGE_SHIFT;
use proptest::prelude::*;

use super::pages::{Ask, Oracle, Page};
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Map { start: u64, count: u64, kind: Kind, flags: VmaFlags },
    Unmap { start: u64, count: u64 },
    Protect { start: u64, count: u64, prot: Prot },
    Remap { old: u64, old_count: u64, new_count: u64, flags: u32, new: u64 },
    Lock { start: u64, count: u64, kind: LockKind },
    Unlock { start: u64, count: u64 },
    LockAll { which: u32 },
    UnlockAll,
    Advise { start: u64, count: u64, advice: Advice },
    Seal { start: u64, count: u64 },
    Limit(Limits),
    Fork,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Anonymous,
    Private,
    Shared,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(Kind::Anonymous), Just(Kind::Private), Just(Kind::Shared)];
    let prot = prop_oneof![2 => Just(READ_WRITE), 1 => Just(Prot::READ), 1 => Just(Prot::empty())];
    let locked = prop_oneof![4 => Just(VmaFlags::empty()), 1 => Just(VmaFlags::LOCKED)];
    let lock = prop_oneof![Just(LockKind::Full), Just(LockKind::OnFault)];
    let range = || (0..PAGES - 4, 1..9u64);
    let limit = || prop_oneof![Just(u64::MAX), (0..PAGES).prop_map(|count| count * PAGE_BYTES)];
    let advice = prop_oneof![
        Just(Advice::DontFork),
        Just(Advice::DoFork),
        Just(Advice::DontNeed),
        Just(Advice::Free),
        Just(Advice::GuardInstall),
        Just(Advice::GuardInstall),
        Just(Advice::GuardRemove),
    ];
    let areas = prop_oneof![
        4 => (range(), kind, locked).prop_map(|((start, count), kind, flags)| {
            Step::Map { start, count, kind, flags }
        }),
        1 => range().prop_map(|(start, count)| Step::Unmap { start, count }),
        1 => (range(), prot)
            .prop_map(|((start, count), prot)| Step::Protect { start, count, prot }),
        4 => (0..PAGES, 0..9u64, 0..9u64, 0..8u32, 0..PAGES).prop_map(
            |(old, old_count, new_count, flags, new)| {
                // Half of the moves keep their size.
                let new_count = if new % 2 == 0 { old_count } else { new_count };
                Step::Remap { old, old_count, new_count, flags, new }
            }
        ),
    ];
    let locks = prop_oneof![
        2 => (range(), lock).prop_map(|((start, count), kind)| Step::Lock { start, count, kind }),
        1 => range().prop_map(|(start, count)| Step::Unlock { start, count }),
        1 => (0..8u32).prop_map(|which| Step::LockAll { which }),
        1 => Just(Step::UnlockAll),
    ];
    let limits = (limit(), limit(), limit()).prop_map(|(space, data, locked)| Limits {
        space_bytes_max: space,
        data_bytes_max: data,
        locked_bytes_max: locked,
        ..Limits::NONE
    });
    prop_oneof![
        20 => areas,
        6 => locks,
        4 => (range(), advice)
            .prop_map(|((start, count), advice)| Step::Advise { start, count, advice }),
        1 => (0..PAGES, 1..3u64).prop_map(|(start, count)| Step::Seal { start, count }),
        1 => limits.prop_map(Step::Limit),
        1 => Just(Step::Fork),
    ]
}

fn request_of(start: u64, count: u64, kind: Kind, flags: VmaFlags) -> (MapRequest, Page) {
    let first = PageIndex(start % 4 + 1);
    let (sharing, shows) = match kind {
        Kind::Anonymous => (Sharing::Private, None),
        Kind::Private => (Sharing::Private, Some(first.0)),
        Kind::Shared => (Sharing::Shared, Some(first.0)),
    };
    let backing = match kind {
        Kind::Anonymous => Backing::Anonymous,
        _ => Backing::Object { object: ObjectId(0), first },
    };
    let place = Place::Fixed(addr(start));
    let request = MapRequest { place, sharing, backing, flags, ..anonymous(count, READ_WRITE) };
    (request, Page { prot: READ_WRITE, sharing, shows, flags })
}

/// Does one step in the space; the answer is an address, if it is asked for one.
fn step_of(space: &mut AddressSpace, step: &Step) -> Result<u64, i32> {
    let bytes = |count: u64| count * PAGE_BYTES;
    let done = match *step {
        Step::Map { start, count, kind, flags } => {
            let (request, _) = request_of(start, count, kind, flags);
            space.map(request, &mut Vec::new()).map(|_| ()).map_err(MapError::errno)
        }
        Step::Unmap { start, count } => {
            let unmapped = space.unmap(pages(start, start + count), &mut Vec::new());
            unmapped.map_err(UnmapError::errno)
        }
        Step::Protect { start, count, prot } => {
            space.protect(pages(start, start + count), prot).map_err(ProtectError::errno)
        }
        Step::Remap { old, old_count, new_count, flags, new } => {
            let request = RemapRequest {
                old: addr(old),
                old_len: bytes(old_count),
                new_len: bytes(new_count),
                flags: RemapFlags::from_bits_retain(flags),
                new: addr(new),
            };
            let at = space.remap(request, &mut RemapEffects::default());
            return at.map(|at| (at.0 - BASE) >> PAGE_SHIFT).map_err(RemapError::errno);
        }
        Step::Lock { start, count, kind } => {
            space.lock(addr(start), bytes(count), kind).map(|_| ()).map_err(LockError::errno)
        }
        Step::Unlock { start, count } => {
            space.unlock(addr(start), bytes(count)).map_err(LockError::errno)
        }
        Step::LockAll { which } => {
            let done = space.lock_all(LockAll::from_bits_retain(which));
            done.map(|_| ()).map_err(LockError::errno)
        }
        Step::UnlockAll => {
            space.unlock_all();
            Ok(())
        }
        Step::Advise { start, count, advice } => {
            let advised = space.advise(addr(start), bytes(count), advice, &mut Vec::new());
            advised.map_err(AdviseError::errno)
        }
        Step::Seal { start, count } => {
            space.seal(addr(start), bytes(count), 0).map_err(SealError::errno)
        }
        Step::Limit(limits) => {
            space.set_limits(limits);
            Ok(())
        }
        Step::Fork => {
            *space = space.fork();
            Ok(())
        }
    };
    done.map(|()| 0)
}

/// Does the same step in the oracle.
fn expected(oracle: &mut Oracle, step: &Step) -> Result<u64, i32> {
    let done = match *step {
        Step::Map { start, count, kind, flags } => {
            let (_, page) = request_of(start, count, kind, flags);
            oracle.map(start, count, page)
        }
        Step::Unmap { start, count } => oracle.unmap(start, start + count),
        Step::Protect { start, count, prot } => oracle.protect(start, start + count, prot),
        Step::Remap { old, old_count, new_count, flags, new } => {
            let flags = RemapFlags::from_bits_retain(flags);
            return oracle.remap(Ask { old, old_count, new_count, flags, new });
        }
        Step::Lock { start, count, kind } => {
            let on_fault = kind == LockKind::OnFault;
            let locks = if on_fault { VmaFlags::LOCKS } else { VmaFlags::LOCKED };
            oracle.lock(start, start + count, locks)
        }
        Step::Unlock { start, count } => {
            oracle.each(start, start + count, |page| page.flags -= VmaFlags::LOCKS)
        }
        Step::LockAll { which } => oracle.lock_all(LockAll::from_bits_retain(which)),
        Step::UnlockAll => {
            oracle.future = VmaFlags::empty();
            let unlock = |place: &mut (Page, bool)| place.0.flags -= VmaFlags::LOCKS;
            oracle.pages.iter_mut().flatten().for_each(unlock);
            Ok(())
        }
        Step::Advise { start, count, advice } => oracle.advise(start, start + count, advice),
        Step::Seal { start, count } => oracle.seal(start, start + count),
        Step::Limit(limits) => {
            oracle.limits = limits;
            Ok(())
        }
        Step::Fork => {
            oracle.fork();
            Ok(())
        }
    };
    done.map(|()| 0)
}

fn compare(space: &AddressSpace, oracle: &Oracle) {
    space.check_invariants();
    assert_eq!(space.locked_pages(), oracle.locked());
    for (number, expected) in (0..).zip(&oracle.pages) {
        let found = space.find(addr(number)).map(|area| {
            let shows = area.page_at(addr(number)).map(|page| page.0);
            let Vma { prot, sharing, .. } = *area;
            // No page can say what its area has had.
            let flags = area.flags - VmaFlags::HAD_GUARD;
            (Page { prot, sharing, shows, flags }, space.guards().contains(addr(number)))
        });
        assert_eq!(found, *expected, "page {number}");
        if expected.is_some() {
            let end = space.find(addr(number)).unwrap().range.end;
            assert_eq!(end, addr(oracle.area_end(number)), "the area of page {number}");
        }
    }
}

proptest! {
    /// Own pages come at any time, and areas stay in order.
    #[test]
    fn own_pages_keep_areas_in_order(
        steps in prop::collection::vec((step(), 0..PAGES), 0..60),
    ) {
        let mut space = space();
        for (step, page) in &steps {
            step_of(&mut space, step).ok();
            space.touched(addr(*page));
            space.check_invariants();
        }
    }

    #[test]
    fn every_verb_agrees_with_each_page_for_itself(
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let (mut space, mut oracle) = (space(), Oracle::new());
        for step in &steps {
            let expected = expected(&mut oracle, step);
            prop_assert_eq!(step_of(&mut space, step), expected, "{:?}", step);
            compare(&space, &oracle);
        }
    }
}
