//! Anything at all, against an oracle that keeps each page for itself, and against a
//! map of coalescing ranges that somebody else wrote.

use std::{vec, vec::Vec};

use faultless_addr::{PAGE_BYTES, Prot, VirtAddr};
use proptest::prelude::*;
use rangemap::RangeMap;

use super::*;

/// What a page is, without regard to areas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Page {
    prot: Prot,
    backing: Backing,
    merge: Merge,
}

/// The slow truth: each page for itself, and the borders between areas not known.
type Oracle = Vec<Option<Page>>;

#[derive(Clone, Debug)]
enum Step {
    Map { kind: Kind, count: u64, place: Place },
    Unmap { start: u64, count: u64 },
    Protect { start: u64, count: u64, prot: Prot },
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// The pages of object 0 that continue their neighbours.
    Continues,
    /// Some pages of object 1.
    Elsewhere(u64),
    Anonymous,
    Alone,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        Just(Kind::Continues),
        (0..3u64).prop_map(Kind::Elsewhere),
        Just(Kind::Anonymous),
        Just(Kind::Alone),
    ];
    let place = prop_oneof![
        2 => Just(Place::Anywhere),
        1 => (0..PAGES).prop_map(|page| Place::Hint(VirtAddr(addr(page).0 + 7))),
        2 => (0..PAGES).prop_map(|page| Place::Fixed(addr(page))),
        1 => (0..PAGES).prop_map(|page| Place::FixedNoReplace(addr(page))),
    ];
    let prot = prop_oneof![Just(Prot::READ), Just(READ_WRITE), Just(Prot::empty())];
    prop_oneof![
        4 => (kind, 1..9u64, place).prop_map(|(kind, count, place)| Step::Map { kind, count, place }),
        2 => (0..PAGES, 1..12u64).prop_map(|(start, count)| Step::Unmap { start, count }),
        2 => (0..PAGES, 0..12u64, prot)
            .prop_map(|(start, count, prot)| Step::Protect { start, count, prot }),
    ]
}

/// Where the old picture says that a map goes: top-down, page by page.
fn expected_place(
    space: &AddressSpace,
    oracle: &Oracle,
    request: &MapRequest,
    at: Place,
) -> Option<u64> {
    let count = (request.len / PAGE_BYTES) as usize;
    let free = |start: usize| {
        oracle.get(start..start + count).is_some_and(|pages| pages.iter().all(Option::is_none))
    };
    let page_of = |at: VirtAddr| ((at.0 - BASE) / PAGE_BYTES) as usize;
    match at {
        Place::Fixed(at) => (page_of(at) + count <= PAGES as usize).then_some(page_of(at) as u64),
        Place::FixedNoReplace(at) => free(page_of(at)).then_some(page_of(at) as u64),
        Place::Hint(at) if free(page_of(at)) => Some(page_of(at) as u64),
        Place::Low(_) => unreachable!("all addresses are below 1 GiB"),
        Place::Hint(_) | Place::Anywhere => expected_anywhere(space, oracle, request),
    }
}

fn expected_anywhere(space: &AddressSpace, oracle: &Oracle, request: &MapRequest) -> Option<u64> {
    let guard = space.config().guard_pages;
    let mut end = PAGES;
    while end > 0 {
        if oracle[end as usize - 1].is_some() {
            end -= 1;
            continue;
        }
        let below = (0..end).rev().find(|&page| oracle[page as usize].is_some());
        let start = below.map_or(0, |page| page + 1);
        let guard_below = if start > 0 { guard } else { 0 };
        let guard_above = if end < PAGES { guard } else { 0 };
        if start + guard_below + (request.len / PAGE_BYTES) + guard_above <= end {
            let touching = end - (request.len / PAGE_BYTES);
            return Some(match merges_with_above(space, request, end) {
                true => touching,
                false => touching - guard_above,
            });
        }
        end = start;
    }
    None
}

/// Is the area at `end` one that the request would become part of?
fn merges_with_above(space: &AddressSpace, request: &MapRequest, end: u64) -> bool {
    space.find(addr(end)).is_some_and(|above| {
        let continued = match (request.backing, above.backing) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::Object { object, first }, Backing::Object { object: other, first: page }) => {
                object == other && first.plus(request.len / PAGE_BYTES) == page
            }
            _ => false,
        };
        let alike = request.prot == above.prot && request.sharing == above.sharing;
        continued && alike && request.merge == Merge::Yes && above.merge == Merge::Yes
    })
}

fn request_of(kind: Kind, count: u64, at: Place) -> MapRequest {
    match (kind, at) {
        (Kind::Continues, Place::Fixed(at) | Place::FixedNoReplace(at)) => {
            shared('A', (at.0 - BASE) / PAGE_BYTES, count)
        }
        (Kind::Continues, _) => shared('A', 20 - count, count),
        (Kind::Elsewhere(page), _) => shared('B', page, count),
        (Kind::Anonymous, _) => anonymous(count, READ_WRITE),
        (Kind::Alone, _) => MapRequest { merge: Merge::No, ..anonymous(count, READ_WRITE) },
    }
}

fn page_of(area: &Vma, page: u64) -> Page {
    let backing = match area.backing {
        Backing::Anonymous => Backing::Anonymous,
        Backing::Object { object, .. } => {
            Backing::Object { object, first: area.page_at(addr(page)).expect("it has an object") }
        }
    };
    Page { prot: area.prot, backing, merge: area.merge }
}

/// Does one step in the space and in the oracle, and compares the answers.
fn do_both(space: &mut AddressSpace, oracle: &mut Oracle, step: &Step) {
    let mut gone = Vec::new();
    let before = oracle.clone();
    let mut expected_gone = 0..0;
    match *step {
        Step::Map { kind, count, place } => {
            let request = request_of(kind, count, place);
            let expected = expected_place(space, oracle, &request, place);
            let placed = map_at(space, &request, place, &mut gone).ok();
            assert_eq!(placed.map(|range| range.start), expected.map(addr), "{step:?}");
            let Some(start) = expected else { return };
            expected_gone = start..start + count;
            for page in expected_gone.clone() {
                let backing = match request.backing {
                    Backing::Object { object, first } => {
                        Backing::Object { object, first: first.plus(page - start) }
                    }
                    Backing::Anonymous => Backing::Anonymous,
                };
                oracle[page as usize] =
                    Some(Page { prot: request.prot, backing, merge: request.merge });
            }
        }
        Step::Unmap { start, count } => {
            let end = (start + count).min(PAGES);
            space.unmap(pages(start, end), &mut gone).unwrap();
            expected_gone = start..end;
            oracle[start as usize..end as usize].fill(None);
        }
        Step::Protect { start, count, prot } => {
            let end = (start + count).min(PAGES);
            let hole = (start..end).find(|&page| oracle[page as usize].is_none());
            let expected = hole.map_or(Ok(()), |page| Err(ProtectError::Hole { at: addr(page) }));
            assert_eq!(space.protect(pages(start, end), prot), expected);
            for page in start..hole.unwrap_or(end) {
                oracle[page as usize].as_mut().expect("it is mapped").prot = prot;
            }
        }
    }
    check_gone(&gone, &before, expected_gone);
}

/// The pieces handed back are the pages that were there, in order.
fn check_gone(gone: &[Vma], before: &Oracle, range: std::ops::Range<u64>) {
    assert!(gone.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start));
    let mut found: Oracle = vec![None; PAGES as usize];
    for area in gone {
        let first = (area.range.start.0 - BASE) / PAGE_BYTES;
        for page in first..first + area.range.pages() {
            found[page as usize] = Some(page_of(area, page));
        }
    }
    for page in 0..PAGES {
        let expected = before[page as usize].filter(|_| range.contains(&page));
        assert_eq!(found[page as usize], expected, "page {page}");
    }
}

fn compare(space: &AddressSpace, oracle: &Oracle) {
    space.check_invariants();
    for (page, expected) in (0..).zip(oracle) {
        let found = space.find(addr(page)).map(|area| page_of(area, page));
        assert_eq!(found, *expected, "page {page}");
    }
}

proptest! {
    #[test]
    fn anything_agrees_with_each_page_for_itself(
        guard_pages in 0..3u64,
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut space = AddressSpace::with_config(config(guard_pages, 100));
        let mut oracle = vec![None; PAGES as usize];
        for step in &steps {
            do_both(&mut space, &mut oracle, step);
            compare(&space, &oracle);
        }
    }

    /// A limit never lets a count pass, and never stops what would not pass it.
    #[test]
    fn the_limit_holds_exactly(steps in prop::collection::vec(step(), 0..60)) {
        let mut limited = AddressSpace::with_config(config(0, 5));
        for step in &steps {
            let mut free = limited.clone();
            free.config.areas_max = 100;
            let (mut gone, mut gone_free) = (Vec::new(), Vec::new());
            let stopped = match *step {
                Step::Map { kind, count, place } => {
                    let request = request_of(kind, count, place);
                    map_at(&mut free, &request, place, &mut gone_free).ok();
                    map_at(&mut limited, &request, place, &mut gone) == Err(MapError::TooManyAreas)
                }
                Step::Unmap { start, count } => {
                    let range = pages(start, (start + count).min(PAGES));
                    free.unmap(range, &mut gone_free).ok();
                    limited.unmap(range, &mut gone) == Err(UnmapError::TooManyAreas)
                }
                // It may pass the limit on the way to fewer areas.
                Step::Protect { start, count, prot } => {
                    let range = pages(start, (start + count).min(PAGES));
                    limited.protect(range, prot).ok();
                    limited.check_invariants();
                    continue;
                }
            };
            limited.check_invariants();
            prop_assert_eq!(stopped, free.len() > 5, "{:?}", step);
        }
    }

    /// Anonymous areas that merge are what a map of coalescing ranges is.
    #[test]
    fn merged_areas_are_a_range_map(
        steps in prop::collection::vec((0..PAGES - 8, 1..9u64, 0..3u8), 0..60),
    ) {
        let (mut space, mut oracle) = (space(), RangeMap::new());
        for (start, count, what) in steps {
            let range = pages(start, start + count);
            let bytes = range.start.0..range.end.0;
            let prot = if what == 1 { Prot::READ } else { READ_WRITE };
            if what == 0 {
                oracle.remove(bytes);
                space.unmap(range, &mut Vec::new()).unwrap();
            } else {
                oracle.insert(bytes, prot);
                let request = anonymous(count, prot);
                map_at(&mut space, &request, Place::Fixed(range.start), &mut Vec::new()).unwrap();
            }
            space.check_invariants();
            let areas = space.iter().map(|area| (area.range.start.0..area.range.end.0, area.prot));
            prop_assert!(areas.eq(oracle.iter().map(|(range, &prot)| (range.clone(), prot))));
        }
    }
}
