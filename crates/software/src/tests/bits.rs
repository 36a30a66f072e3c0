//! Accessed and dirty bits.

use super::*;

#[test]
fn the_first_access_sets_a_and_the_first_store_d() {
    let machine = mapped(1);
    let bits = || (machine.accessed(SPACE, AT), machine.dirty(SPACE, AT));
    assert_eq!(bits(), (false, false));
    byte(&machine, AT).unwrap();
    assert_eq!(bits(), (true, false));
    store(&machine, AT, 1).unwrap();
    assert_eq!(bits(), (true, true));
    let Translation { accessed, dirty, .. } = machine.translation(SPACE, AT).unwrap();
    assert!(accessed && dirty);
}

#[test]
fn the_first_store_through_a_clean_entry_walks_again() {
    let machine = mapped(1);
    byte(&machine, AT).unwrap();
    store(&machine, AT, 1).unwrap();
    let after_store = machine.stats();
    assert_eq!((after_store.tlb_misses, after_store.walks), (1, 2));
    store(&machine, AT, 2).unwrap();
    byte(&machine, AT).unwrap();
    let stats = machine.stats();
    assert_eq!((stats.walks, stats.tlb_hits), (2, 2), "known as dirty now");
}

#[test]
fn a_hit_does_not_set_a_and_clearing_it_flushes() {
    let machine = mapped(1);
    byte(&machine, AT).unwrap();
    // Behind the machine's back, as a kernel that forgets the flush would do it.
    let clear_without_flush = || {
        let mut state = machine.state();
        let (slot, entry) = state.present(SPACE, AT).unwrap();
        state.tables.set(slot, entry.without(entry::Flags::ACCESSED));
    };
    clear_without_flush();
    byte(&machine, AT).unwrap();
    assert!(!machine.accessed(SPACE, AT), "the TLB served it, and no walk came by");
    machine.flush(SPACE, pages(0..1));
    byte(&machine, AT).unwrap();
    assert!(machine.accessed(SPACE, AT));

    assert!(machine.clear_accessed(SPACE, AT));
    assert!(!machine.clear_accessed(SPACE, AT));
    byte(&machine, AT).unwrap();
    assert!(machine.accessed(SPACE, AT), "cleared with a flush: the next access walks");
}

#[test]
fn a_store_after_clear_dirty_is_seen_on_every_cpu() {
    let machine = mapped(1);
    for cpu in [CpuNo(0), CpuNo(1)] {
        machine.store(cpu, SPACE, AT, &[1]).unwrap();
    }
    for cpu in [CpuNo(0), CpuNo(1)] {
        assert!(machine.clear_dirty(SPACE, AT));
        assert!(!machine.dirty(SPACE, AT));
        machine.store(cpu, SPACE, AT, &[2]).unwrap();
        assert!(machine.dirty(SPACE, AT), "{cpu:?}");
    }
}

#[test]
fn a_refused_access_leaves_no_trace() {
    let machine = mapped(1);
    machine.protect(SPACE, AT, Rights::USER);
    store(&machine, AT, 1).unwrap_err();
    assert!(!machine.accessed(SPACE, AT) && !machine.dirty(SPACE, AT));
}

#[test]
fn rights_change_and_bits_stay() {
    let machine = mapped(1);
    store(&machine, AT, 1).unwrap();
    machine.set_write(SPACE, pages(0..1), WriteAccess::Tracked).unwrap();
    assert_eq!(store(&machine, AT, 2), Err(Cause::Denied));
    assert!(machine.accessed(SPACE, AT) && machine.dirty(SPACE, AT));
    machine.set_write(SPACE, pages(0..1), WriteAccess::Allowed).unwrap();
    store(&machine, AT, 2).unwrap();
}

#[test]
fn an_absent_page_has_neither() {
    let machine = mapped(0);
    assert!(!machine.accessed(SPACE, AT) && !machine.clear_accessed(SPACE, AT));
    assert!(!machine.dirty(SPACE, AT) && !machine.clear_dirty(SPACE, AT));
    assert_eq!(machine.translation(SPACE, AT), None);
}
