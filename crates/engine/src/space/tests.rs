//! Pictures of splits and merges, and of places.
//!
//! In a picture each column is a page. A letter is a kind of area, and names its object
//! too: pages of `A` are pages of object 0, at the column's number, so that `A` beside
//! `A` continues it. A small letter may be read only. A `|` between columns is a
//! border between areas that could not be seen otherwise.

use std::{string::String, vec, vec::Vec};

use faultless_addr::{ObjectId, PAGE_BYTES, PageIndex, Prot, VirtAddr, VirtRange};

use super::*;

mod advise;
mod brk;
mod file_pages;
mod fork;
mod grow;
mod limits;
mod lock;
mod low;
mod oracle;
mod pages;
mod remap;
mod seal;
mod sync;
mod text;
mod verbs;

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

/// Private zeros at these pages.
fn private(space: &mut AddressSpace, start: u64, end: u64) {
    let request = anonymous(end - start, READ_WRITE);
    map_at(space, &request, Place::Fixed(addr(start)), &mut Vec::new()).unwrap();
    space.check_invariants();
}

/// The flags of the page at a number.
fn flags(space: &AddressSpace, page: u64) -> VmaFlags {
    space.find(addr(page)).expect("it is mapped").flags
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
fn a_split_that_merges_elsewhere_is_no_new_area() {
    for (before, start, end, after) in [("AAaa", 2, 3, "AAAa"), ("aaAA", 1, 2, "aAAA")] {
        let mut space = AddressSpace::with_config(config(0, 2));
        for (page, kind) in (0..).zip(before.chars()) {
            place(&mut space, kind, page, page + 1);
        }
        space.protect(pages(start, end), READ_WRITE).unwrap();
        space.check_invariants();
        assert_eq!(draw(&space), after);
    }
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
    assert_eq!(map(1, Place::Fixed(VirtAddr(0))), Err(MapError::BelowBounds));
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
