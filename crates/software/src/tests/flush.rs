//! What is flushed, and what happens when it isn't.

use faultless_machine::{Stores, Then};

use super::*;

#[test]
fn taking_away_is_seen_on_every_cpu() {
    let machine = mapped(2);
    for cpu in [CpuNo(0), CpuNo(1)] {
        machine.store(cpu, SPACE, AT, &[1]).unwrap();
    }
    machine.set_write(SPACE, pages(0..1), WriteAccess::Forbidden).unwrap();
    for cpu in [CpuNo(0), CpuNo(1)] {
        assert_eq!(machine.store(cpu, SPACE, AT, &[1]).unwrap_err().cause, Cause::Denied);
    }
    machine.unmap(SPACE, &[(AT, FrameNo(0))], Then::Keep(Stores::Stopped)).unwrap();
    for cpu in [CpuNo(0), CpuNo(1)] {
        assert_eq!(machine.load(cpu, SPACE, AT, &mut [0]).unwrap_err().cause, Cause::Absent);
    }
    assert_eq!(machine.stale(), []);
}

#[test]
fn a_page_may_be_named_by_any_of_its_addresses() {
    let machine = mapped(1);
    store(&machine, AT, 1).unwrap();
    let within = VirtAddr(AT.0 + 100);
    assert!(machine.clear_accessed(SPACE, within) && machine.clear_dirty(SPACE, within));
    assert_eq!(machine.stale(), []);
    store(&machine, AT, 1).unwrap();
    machine.protect(SPACE, within, Rights::USER);
    assert_eq!(store(&machine, AT, 1), Err(Cause::Denied));
}

#[test]
fn giving_needs_no_flush_and_is_seen() {
    let machine = mapped(1);
    machine.protect(SPACE, AT, Rights::USER);
    byte(&machine, AT).unwrap();
    let flushes = machine.stats().flushes;
    machine.protect(SPACE, AT, Rights::all());
    store(&machine, AT, 1).unwrap();
    machine.fetch(CPU, SPACE, AT, &mut [0]).unwrap();
    assert_eq!(machine.stats().flushes, flushes);
}

#[test]
fn only_cpus_that_knew_are_interrupted() {
    let machine = mapped(3);
    for n in 0..3 {
        byte(&machine, page(n)).unwrap();
    }
    machine.load(CpuNo(1), SPACE, page(2), &mut [0]).unwrap();
    let counted = |range| {
        let before = machine.stats();
        machine.flush(SPACE, range);
        let after = machine.stats();
        (after.flushes - before.flushes, after.shootdowns - before.shootdowns)
    };
    assert_eq!(counted(pages(0..1)), (1, 1), "one page");
    assert_eq!(counted(pages(0..3)), (1, 2), "a range");
    assert_eq!(counted(pages(0..3)), (1, 0), "nobody knew");
    byte(&machine, AT).unwrap();
    let before = machine.stats();
    machine.flush_space(OTHER);
    assert_eq!(machine.stats().shootdowns, before.shootdowns, "another space's stay");
    machine.flush_space(SPACE);
    assert_eq!(machine.stats().shootdowns, before.shootdowns + 1);
}

#[test]
fn the_canary_reads_what_belongs_to_others() {
    let config = Config { canary: Some(Canary::MissingFlush), ..config() };
    let machine = SoftwareMachine::new(config);
    let frame = FrameNo(5);
    machine.back(&[frame]).unwrap();
    machine.map(SPACE, AT, &[frame], WriteAccess::Allowed).unwrap();
    store(&machine, AT, 1).unwrap();
    machine.unmap(SPACE, &[(AT, frame)], Then::Drop).unwrap();
    assert_eq!(byte(&machine, AT), Ok(DROPPED), "instead of a fault");
    let stale = Stale { cpu: CPU, space: SPACE, at: AT, frame };
    assert_eq!(machine.stale(), [stale]);

    machine.back(&[frame]).unwrap();
    machine.map(OTHER, page(7), &[frame], WriteAccess::Allowed).unwrap();
    store(&machine, AT, 66).unwrap();
    let mut seen = [0];
    machine.load(CpuNo(1), OTHER, page(7), &mut seen).unwrap();
    assert_eq!(seen, [66], "a store into another program's frame");
    machine.flush_space(SPACE);
    assert_eq!(byte(&machine, AT), Err(Cause::Absent));
}

#[test]
fn a_number_used_again_knows_nothing_of_the_old_space() {
    let machine = SoftwareMachine::new(config());
    machine.back(&[FrameNo(0)]).unwrap();
    machine.map(OTHER, AT, &[FrameNo(0)], WriteAccess::Allowed).unwrap();
    machine.load(CPU, OTHER, AT, &mut [0]).unwrap();
    machine.unmap(OTHER, &[(AT, FrameNo(0))], Then::Keep(Stores::Stopped)).unwrap();
    machine.guard(OTHER, pages(1..2)).unwrap();
    machine.destroy_space(OTHER);
    assert_eq!(machine.add_space(), Ok(OTHER));
    for n in 0..2 {
        let fault = machine.load(CPU, OTHER, page(n), &mut [0]).unwrap_err();
        assert_eq!(fault.cause, Cause::Absent);
    }
    assert_eq!(machine.add_space(), Ok(SpaceId(2)));
    machine.check_invariants();
}
