//! The verbs of the trait, and what they refuse.

use std::io::ErrorKind;

use faultless_addr::PAGE_SIZE;
use faultless_machine::{Stores, Then};

use super::*;

/// Two frames aside and no translation.
fn aside() -> SoftwareMachine {
    let machine = SoftwareMachine::new(config());
    machine.back(&[FrameNo(0), FrameNo(1)]).unwrap();
    machine
}

fn first_byte(machine: &SoftwareMachine, frame: FrameNo) -> u8 {
    let mut byte = [0];
    machine.read_frame(frame, 0, &mut byte);
    byte[0]
}

#[test]
fn a_frame_kept_keeps_its_bytes_and_a_dropped_one_loses_them() {
    let machine = mapped(2);
    store(&machine, page(0), 7).unwrap();
    store(&machine, page(1), 8).unwrap();
    machine.unmap(SPACE, &[(page(0), FrameNo(0))], Then::Keep(Stores::Pass)).unwrap();
    machine.unmap(SPACE, &[(page(1), FrameNo(1))], Then::Drop).unwrap();
    assert_eq!(machine.place(FrameNo(0)), Place::Aside);
    assert_eq!(first_byte(&machine, FrameNo(0)), 7);
    assert_eq!(machine.place(FrameNo(1)), Place::Empty);
    machine.release(&[FrameNo(0), FrameNo(1)]);
    assert_eq!(machine.place(FrameNo(0)), Place::Empty);
    machine.back(&[FrameNo(0)]).unwrap();
    assert_eq!(first_byte(&machine, FrameNo(0)), UNREAD);
    machine.check_invariants();
}

#[test]
fn a_frame_at_two_addresses_is_dropped_with_the_last() {
    let machine = mapped(1);
    machine.map_with(OTHER, AT, FrameNo(0), Rights::all()).unwrap();
    store(&machine, AT, 7).unwrap();
    machine.unmap(SPACE, &[(AT, FrameNo(0))], Then::Drop).unwrap();
    assert_eq!(
        (machine.place(FrameNo(0)), first_byte(&machine, FrameNo(0))),
        (Place::Mapped(1), 7)
    );
    machine.unmap(OTHER, &[(AT, FrameNo(0))], Then::Drop).unwrap();
    assert_eq!(machine.place(FrameNo(0)), Place::Empty);
}

#[test]
fn where_something_is_nothing_is_mapped() {
    let machine = aside();
    let map = |at| machine.map(SPACE, at, &[FrameNo(0), FrameNo(1)], WriteAccess::Allowed);
    machine.poison(SPACE, pages(1..2)).unwrap();
    assert_eq!(map(page(0)).unwrap_err().kind(), ErrorKind::AlreadyExists, "a marker");
    assert_eq!(machine.place(FrameNo(0)), Place::Aside, "none is mapped");
    machine.heal(SPACE, pages(1..2)).unwrap();
    map(page(0)).unwrap();
    let error = machine.map_with(SPACE, page(1), FrameNo(0), Rights::all());
    assert_eq!(error, Err(MapError::Exists { at: page(1) }), "a page");
    machine.check_invariants();
}

#[test]
fn markers_fault_as_what_they_are_and_leave_pages_alone() {
    let machine = mapped(1);
    let free = machine.free_table_frames();
    machine.poison(SPACE, pages(0..2)).unwrap();
    machine.guard(SPACE, pages(1..3)).unwrap();
    assert_eq!(byte(&machine, page(0)), Ok(UNREAD));
    assert_eq!(byte(&machine, page(1)), Err(Cause::Marked(Marker::Poison)));
    assert_eq!(byte(&machine, page(2)), Err(Cause::Marked(Marker::Guard)));
    assert_eq!(machine.marker(SPACE, page(2)), Some(Marker::Guard));
    machine.heal(SPACE, pages(0..3)).unwrap();
    assert_eq!(byte(&machine, page(0)), Ok(UNREAD));
    assert_eq!(byte(&machine, page(1)), Err(Cause::Absent));
    assert_eq!(byte(&machine, page(2)), Err(Cause::Marked(Marker::Guard)));
    machine.unguard(SPACE, pages(0..3));
    assert_eq!(byte(&machine, page(2)), Err(Cause::Absent));
    assert_eq!(machine.free_table_frames(), free);
}

#[test]
fn tables_that_run_short_are_an_error_and_change_nothing() {
    let machine = SoftwareMachine::new(Config { table_frames: 4, ..Config::new(4) });
    machine.back(&[FrameNo(0), FrameNo(1)]).unwrap();
    let at = VirtAddr(0x1f_f000); // The last page of one table; the next one is in another.
    let map = |frames: &[FrameNo]| machine.map(SPACE, at, frames, WriteAccess::Allowed);
    let error = map(&[FrameNo(0), FrameNo(1)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert!(error.to_string().contains("0x200000"), "{error}");
    let range = VirtRange::new(at, at.plus_pages(2));
    assert_eq!(machine.poison(SPACE, range).unwrap_err().kind(), ErrorKind::OutOfMemory);
    assert_eq!(machine.free_table_frames(), 3);
    machine.check_invariants();
    map(&[FrameNo(0)]).unwrap();
    assert_eq!(machine.free_table_frames(), 0);
    assert_eq!(machine.add_space(), Err(MapError::OutOfTables { at: VirtAddr(0) }));
}

#[test]
fn all_table_frames_come_back() {
    let machine = SoftwareMachine::new(Config { table_frames: 64, ..Config::new(12) });
    let free = machine.free_table_frames();
    let bytes = machine.bookkeeping_bytes();
    let pages: Vec<_> = (0..12).map(|n| (VirtAddr(0x1000 << (3 * n)), FrameNo(n))).collect();
    for (at, frame) in &pages {
        machine.back(&[*frame]).unwrap();
        machine.map(SPACE, *at, &[*frame], WriteAccess::Tracked).unwrap();
    }
    assert!(machine.free_table_frames() < free && machine.bookkeeping_bytes() > bytes);
    machine.check_invariants();
    assert_eq!(machine.unmap(SPACE, &pages, Then::Drop).unwrap(), 12);
    assert_eq!(machine.free_table_frames(), free);
    machine.check_invariants();
}

#[test]
fn buffers_are_where_bytes_are() {
    let machine = mapped(3);
    machine.back(&[FrameNo(3)]).unwrap();
    let aside = machine.buffer(FrameNo(3));
    assert_eq!(aside.len, PAGE_SIZE);
    let first = machine.mapped(SPACE, page(0), FrameNo(0));
    assert_eq!((first.len, first.start.addr() + 3 * PAGE_SIZE), (PAGE_SIZE, aside.start.addr()));
}

#[test]
fn bytes_of_frames_are_copied_and_zeroed() {
    let machine = mapped(2);
    store(&machine, AT, 7).unwrap();
    machine.copy_frame(FrameNo(0), FrameNo(1));
    assert_eq!(byte(&machine, page(1)), Ok(7));
    machine.zero_frame(FrameNo(0));
    assert_eq!(byte(&machine, AT), Ok(0));
    machine.write_frame(FrameNo(0), 4095, &[9]);
    assert_eq!(byte(&machine, VirtAddr(page(1).0 - 1)), Ok(9));
}

#[test]
fn nobody_is_ever_held() {
    let machine = aside();
    let mut held = Vec::new();
    machine.held(16, &mut held).unwrap();
    assert!(held.is_empty() && machine.held_fd().is_none());
    machine.wake(SPACE, pages(0..1));
}

#[test]
#[should_panic(expected = "Some(FrameNo(1))")]
fn a_frame_is_asked_for_where_it_is() {
    mapped(2).mapped(SPACE, AT, FrameNo(1));
}

#[test]
#[should_panic(expected = "FrameNo(0) has no buffer")]
fn a_mapped_frame_has_no_buffer() {
    mapped(1).buffer(FrameNo(0));
}

#[test]
#[should_panic(expected = "is not FrameNo(1)")]
fn another_frame_is_not_unmapped() {
    let _ = mapped(2).unmap(SPACE, &[(AT, FrameNo(1))], Then::Keep(Stores::Pass));
}

#[test]
#[should_panic(expected = "FrameNo(0) is not empty")]
fn a_frame_is_backed_once() {
    let _ = aside().back(&[FrameNo(0)]);
}

#[test]
#[should_panic(expected = "can't be released")]
fn a_mapped_frame_is_not_released() {
    mapped(1).release(&[FrameNo(0)]);
}

#[test]
#[should_panic(expected = "still has FrameNo(0)")]
fn a_space_with_pages_is_not_destroyed() {
    mapped(1).destroy_space(SPACE);
}

#[test]
#[should_panic(expected = "there is no SpaceId(2)")]
fn a_space_that_is_not_there_is_found() {
    mapped(1).translations(SpaceId(2)).count();
}

#[test]
#[should_panic(expected = "holds no bytes")]
fn nobody_sees_what_was_in_an_empty_frame() {
    mapped(1).read_frame(FrameNo(1), 0, &mut [0]);
}
