//! Pictures of splits and merges; then anything at all against an oracle page by page.
//!
//! In a picture each column is a page. A letter is a kind of area, and names its object
//! too: pages of `A` are pages of object 0, at the column's number, so that `A` beside
//! `A` continues it. A small letter may be read only. A `|` between columns is a
//! border between areas that could not be seen otherwise.

use std::{string::String, vec, vec::Vec};

use faultless_addr::{ObjectId, PAGE_BYTES, PageIndex, Prot, VirtAddr, VirtRange};
use proptest::prelude::*;
use rangemap::RangeMap;

use super::*;

const BASE: u64 = 0x10_0000;
const PAGES: u64 = 32;
const READ_WRITE: Prot = Prot::READ.union(Prot::WRITE);

fn addr(page: u64) -> VirtAddr {
    VirtAddr(BASE).plus_pages(page)
}

fn pages(start: u64, end: u64) -> VirtRange {
    VirtRange::new(addr(start), addr(end))
}

fn config(guard_pages: u64, areas_max: usize) -> SpaceConfig {
    SpaceConfig { bounds: pages(0, PAGES), guard_pages, areas_max }
}

fn space() -> AddressSpace {
    AddressSpace::with_config(config(0, 100))
}

/// Private zeros.
fn anonymous(count: u64, prot: Prot) -> MapRequest {
    MapRequest {
        place: Place::Anywhere,
        len: count * PAGE_BYTES,
        prot,
        sharing: Sharing::Private,
        backing: Backing::Anonymous,
        flags: VmaFlags::empty(),
        merge: Merge::Yes,
    }
}

/// Maps at a place of its own choice.
fn map_at(
    space: &mut AddressSpace,
    request: &MapRequest,
    place: Place,
    gone: &mut Vec<Vma>,
) -> Result<VirtRange, MapError> {
    space.map(MapRequest { place, ..*request }, gone)
}

/// Shared pages of an object, whose page 0 would be seen at the bounds' start.
fn shared(kind: char, page: u64, count: u64) -> MapRequest {
    let object = ObjectId(u32::from(kind.to_ascii_uppercase()) - u32::from('A'));
    MapRequest {
        prot: if kind.is_ascii_lowercase() { Prot::READ } else { READ_WRITE },
        sharing: Sharing::Shared,
        backing: Backing::Object { object, first: PageIndex(page) },
        ..anonymous(count, READ_WRITE)
    }
}

fn place(space: &mut AddressSpace, kind: char, start: u64, end: u64) {
    let request = shared(kind, start, end - start);
    let range = map_at(space, &request, Place::Fixed(addr(start)), &mut Vec::new());
    assert_eq!(range, Ok(pages(start, end)));
    space.check_invariants();
}

/// The space that a picture without borders shows.
fn drawn(picture: &str) -> AddressSpace {
    let mut space = space();
    for (page, kind) in (0..).zip(picture.chars()) {
        if kind.is_ascii_alphabetic() {
            place(&mut space, kind, page, page + 1);
        }
    }
    space
}

/// Draws what is in a space, up to the last area.
fn draw(space: &AddressSpace) -> String {
    let mut picture = String::new();
    let mut end = addr(0);
    for area in space.iter() {
        let hole = VirtRange::new(end, area.range.start).pages();
        picture.extend(std::iter::repeat_n(' ', hole as usize));
        let letter = match area.object() {
            Some(ObjectId(number)) => char::from(b'A' + number as u8),
            None => 'Z',
        };
        let letter = match area.prot.contains(Prot::WRITE) {
            true => letter,
            false => letter.to_ascii_lowercase(),
        };
        if hole == 0 && picture.ends_with(letter) {
            picture.push('|');
        }
        picture.extend(std::iter::repeat_n(letter, area.range.pages() as usize));
        end = area.range.end;
    }
    picture
}

/// Maps the pages that are marked `*` in the picture, and shows what is there then.
fn fill(picture: &str, kind: char) -> (String, usize) {
    let start = picture.find('*').expect("a mark") as u64;
    let end = picture.rfind('*').expect("a mark") as u64 + 1;
    let mut space = drawn(picture);
    place(&mut space, kind, start, end);
    (draw(&space), space.len())
}

#[test]
fn merges_with_either_side_both_or_none() {
    for (before, kind, after, areas) in [
        ("   **   ", 'A', "   AA", 1),
        ("BB **   ", 'A', "BB AA", 2),
        ("AAA**   ", 'A', "AAAAA", 1),
        ("AAA**  B", 'A', "AAAAA  B", 2),
        ("   **AAA", 'A', "   AAAAA", 1),
        ("B  **AAA", 'A', "B  AAAAA", 2),
        ("AAA**AAA", 'A', "AAAAAAAA", 1),
        ("AA*B  DD", 'A', "AAAB  DD", 3),
        ("AAA**BBB", 'B', "AAABBBBB", 2),
        ("AAA**BBB", 'C', "AAACCBBB", 3),
        ("AAA**AAA", 'a', "AAAaaAAA", 3),
        ("aaa**AAA", 'a', "aaaaaAAA", 2),
    ] {
        assert_eq!(fill(before, kind), (after.into(), areas), "{before:?} with {kind}");
    }
}

#[test]
fn other_pages_of_the_object_do_not_merge() {
    let mut space = drawn("AAA");
    map_at(&mut space, &shared('A', 4, 2), Place::Fixed(addr(3)), &mut Vec::new()).unwrap();
    space.check_invariants();
    assert_eq!(draw(&space), "AAA|AA");
}

#[test]
fn what_must_stay_apart_does() {
    let alone = MapRequest { merge: Merge::No, ..shared('A', 3, 2) };
    let mut space = drawn("AAA  AAA");
    map_at(&mut space, &alone, Place::Fixed(addr(3)), &mut Vec::new()).unwrap();
    space.check_invariants();
    assert_eq!(draw(&space), "AAA|AA|AAA");
}

#[test]
fn every_property_keeps_areas_apart() {
    let like = anonymous(1, READ_WRITE);
    let flags = VmaFlags::LOCKED.union(VmaFlags::DONT_FORK);
    for other in [
        MapRequest { flags, ..like },
        MapRequest { flags: VmaFlags::NEVER_EXEC, ..like },
        MapRequest { sharing: Sharing::Shared, ..like },
        MapRequest { prot: Prot::READ, ..like },
    ] {
        let mut space = space();
        map_at(&mut space, &like, Place::Fixed(addr(1)), &mut Vec::new()).unwrap();
        map_at(&mut space, &other, Place::Fixed(addr(2)), &mut Vec::new()).unwrap();
        map_at(&mut space, &like, Place::Fixed(addr(3)), &mut Vec::new()).unwrap();
        space.check_invariants();
        assert_eq!(space.len(), 3, "{other:?}");
        map_at(&mut space, &like, Place::Fixed(addr(2)), &mut Vec::new()).unwrap();
        assert_eq!(space.len(), 1, "{other:?}");
    }
}

#[test]
fn unmap_splits_and_gives_the_pieces_back() {
    for (before, start, end, after, removed) in [
        ("AAAAAA", 2, 4, "AA  AA", vec![(2, 4)]),
        ("AAAAAA", 0, 2, "  AAAA", vec![(0, 2)]),
        ("AAAAAA", 4, 8, "AAAA", vec![(4, 6)]),
        ("AAABBB", 0, 6, "", vec![(0, 3), (3, 6)]),
        ("AAA BBB CCC", 2, 9, "AA       CC", vec![(2, 3), (4, 7), (8, 9)]),
        ("AA  AA", 2, 4, "AA  AA", vec![]),
    ] {
        let mut space = drawn(before);
        let mut pieces = Vec::new();
        space.unmap(pages(start, end), &mut pieces).unwrap();
        space.check_invariants();
        assert_eq!(draw(&space), after, "{before:?} without {start}..{end}");
        let ranges: Vec<_> = removed.into_iter().map(|(start, end)| pages(start, end)).collect();
        assert!(pieces.iter().map(|piece| piece.range).eq(ranges), "{pieces:?}");
        for piece in pieces.iter().chain(space.iter()) {
            assert_eq!(
                piece.addr_of(piece.page_at(piece.range.start).unwrap()).unwrap(),
                piece.range.start
            );
            assert_eq!(addr(piece.page_at(piece.range.start).unwrap().0), piece.range.start);
        }
    }
}

#[test]
fn fixed_replaces_and_gives_the_pieces_back() {
    let mut space = drawn("AAABBB");
    let mut replaced = Vec::new();
    map_at(&mut space, &shared('C', 2, 2), Place::Fixed(addr(2)), &mut replaced).unwrap();
    space.check_invariants();
    assert_eq!(draw(&space), "AACCBB");
    assert!(replaced.iter().map(|piece| piece.range).eq([pages(2, 3), pages(3, 4)]));
}

#[test]
fn protect_splits_and_restoring_merges() {
    let mut space = drawn("AAAAAABB");
    space.protect(pages(2, 4), Prot::READ).unwrap();
    space.check_invariants();
    assert_eq!(draw(&space), "AAaaAABB");
    space.protect(pages(3, 7), Prot::READ).unwrap();
    space.check_invariants();
    assert_eq!(draw(&space), "AAaaaabB");
    space.protect(pages(0, 8), READ_WRITE).unwrap();
    space.check_invariants();
    assert_eq!((draw(&space), space.len()), ("AAAAAABB".into(), 2));
}

#[test]
fn protect_stops_at_a_hole_after_the_leading_part() {
    let mut space = drawn("AAABB CC");
    let stopped = space.protect(pages(2, 8), Prot::READ);
    assert_eq!(stopped, Err(ProtectError::Hole { at: addr(5) }));
    space.check_invariants();
    assert_eq!(draw(&space), "AAabb CC");
}

#[test]
fn protect_stops_at_an_area_that_may_not_have_the_rights() {
    let mut space = drawn("aa  cc");
    let read_only = MapRequest { flags: VmaFlags::NEVER_WRITE, ..shared('b', 2, 2) };
    map_at(&mut space, &read_only, Place::Fixed(addr(2)), &mut Vec::new()).unwrap();
    let stopped = space.protect(pages(1, 6), READ_WRITE);
    assert_eq!(stopped, Err(ProtectError::Forbidden { at: addr(2) }));
    space.check_invariants();
    assert_eq!(draw(&space), "aAbbcc");
}

#[test]
fn areas_are_limited_unless_the_verb_needs_none() {
    let mut space = AddressSpace::with_config(config(0, 2));
    place(&mut space, 'A', 0, 4);
    place(&mut space, 'B', 6, 9);
    let mut pieces = Vec::new();
    assert_eq!(space.unmap(pages(1, 2), &mut pieces), Err(UnmapError::TooManyAreas));
    let third = map_at(&mut space, &shared('C', 4, 1), Place::Fixed(addr(4)), &mut pieces);
    assert_eq!(third, Err(MapError::TooManyAreas));
    let split = space.protect(pages(1, 8), Prot::READ);
    assert_eq!(split, Err(ProtectError::TooManyAreas { at: addr(1) }));
    assert!(pieces.is_empty() && draw(&space) == "AAAA  BBB");
    place(&mut space, 'A', 4, 6);
    place(&mut space, 'C', 6, 9);
    space.protect(pages(0, 9), Prot::READ).unwrap();
    space.unmap(pages(0, 1), &mut pieces).unwrap();
    space.check_invariants();
    assert_eq!(draw(&space), " aaaaaccc");
}

#[test]
fn arguments_are_checked_before_anything_changes() {
    let mut space = drawn("AA");
    let (mut none, one) = (Vec::new(), anonymous(1, READ_WRITE));
    let mut map = |pages: u64, place| {
        let len = pages.saturating_mul(PAGE_BYTES);
        map_at(&mut space, &MapRequest { len, ..one }, place, &mut none)
    };
    assert_eq!(map(0, Place::Anywhere), Err(MapError::Empty));
    assert_eq!(map(1, Place::Fixed(VirtAddr(BASE + 1))), Err(MapError::Unaligned));
    assert_eq!(map(1, Place::Fixed(addr(PAGES))), Err(MapError::OutOfBounds));
    assert_eq!(map(1, Place::Fixed(VirtAddr(0))), Err(MapError::OutOfBounds));
    assert_eq!(map(u64::MAX, Place::Fixed(addr(1))), Err(MapError::OutOfBounds));
    assert_eq!(map(u64::MAX, Place::Hint(addr(1))), Err(MapError::NoRoom));
    assert_eq!(map(2, Place::FixedNoReplace(addr(1))), Err(MapError::Occupied));
    let misaligned = VirtRange::new(addr(0), VirtAddr(BASE + 1));
    assert_eq!(space.unmap(pages(1, 1), &mut none), Err(UnmapError::Empty));
    assert_eq!(space.unmap(misaligned, &mut none), Err(UnmapError::Unaligned));
    assert_eq!(space.unmap(pages(0, PAGES + 1), &mut none), Err(UnmapError::OutOfBounds));
    assert_eq!(space.protect(misaligned, Prot::READ), Err(ProtectError::Unaligned));
    assert_eq!(space.protect(pages(1, 1), Prot::READ), Ok(()));
    assert!(none.is_empty() && draw(&space) == "AA");
}

#[test]
fn a_hint_is_rounded_down_and_given_up_if_taken() {
    let mut space = drawn("AA");
    let one = anonymous(1, READ_WRITE);
    let hint = |bytes| Place::Hint(VirtAddr(BASE + bytes));
    let mut map = |place| map_at(&mut space, &one, place, &mut Vec::new()).unwrap();
    assert_eq!(map(hint(3 * PAGE_BYTES + 5)), pages(3, 4));
    assert_eq!(map(hint(PAGE_BYTES)), pages(PAGES - 1, PAGES));
    assert_eq!(map(Place::Hint(VirtAddr(0))), pages(PAGES - 2, PAGES - 1));
}

#[test]
fn guards_lie_between_areas_that_do_not_merge() {
    let mut space = AddressSpace::with_config(config(2, 100));
    let mut map = |kind, page, count| {
        map_at(&mut space, &shared(kind, page, count), Place::Anywhere, &mut Vec::new())
    };
    assert_eq!(map('A', 28, 4), Ok(pages(28, 32)));
    assert_eq!(map('B', 0, 4), Ok(pages(22, 26)));
    assert_eq!(map('B', 90, 2), Ok(pages(18, 20)));
    assert_eq!(map('B', 88, 2), Ok(pages(16, 18)), "it continues the one above");
    assert_eq!(map('C', 0, 15), Err(MapError::NoRoom));
    assert_eq!(map('C', 0, 14), Ok(pages(0, 14)));
    space.check_invariants();
}

/// 10,000 areas one after the other, and 100,000 cycles at the lower end of them.
#[test]
fn many_areas_are_placed_without_a_walk() {
    let bounds = VirtRange::new(VirtAddr(BASE), VirtAddr(1 << 47));
    for guard_pages in [0, 1] {
        let mut space =
            AddressSpace::with_config(SpaceConfig { bounds, guard_pages, areas_max: 65_530 });
        let request = MapRequest { merge: Merge::No, ..anonymous(3, READ_WRITE) };
        let mut removed = Vec::new();
        let mut placed = Vec::new();
        for _ in 0..10_000 {
            placed.push(map_at(&mut space, &request, Place::Anywhere, &mut removed).unwrap());
        }
        for cycle in 0..100_000 {
            let old = placed[cycle * 7919 % placed.len()];
            space.unmap(old, &mut removed).unwrap();
            assert_eq!(map_at(&mut space, &request, Place::Anywhere, &mut removed), Ok(old));
            removed.clear();
        }
        space.check_invariants();
        assert_eq!(space.len(), 10_000);
    }
}

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
                object == other && first.plus((request.len / PAGE_BYTES)) == page
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
