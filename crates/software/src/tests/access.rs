//! Loads, stores, fetches, locked instructions and copies.

use faultless_addr::Access;

use super::*;

#[test]
fn bytes_come_back_also_across_pages() {
    let machine = mapped(3);
    let bytes: Vec<u8> = (0..6000u32).map(|n| n as u8).collect();
    let addr = VirtAddr(AT.0 + 100);
    machine.store(CPU, SPACE, addr, &bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    machine.load(CpuNo(1), SPACE, addr, &mut back).unwrap();
    assert_eq!(back, bytes);
    machine.fetch(CPU, SPACE, addr, &mut back).unwrap();
    assert_eq!(back, bytes);
    let mut first = [0; 2];
    machine.read_frame(FrameNo(0), 99, &mut first);
    assert_eq!(first, [UNREAD, bytes[0]]);
}

#[test]
fn a_store_goes_as_far_as_the_fault() {
    let machine = mapped(1);
    let addr = VirtAddr(page(1).0 - 3);
    let fault = machine.store(CPU, SPACE, addr, b"abcdef").unwrap_err();
    assert_eq!(fault, PageFault { addr: page(1), access: Access::Write, cause: Cause::Absent });
    assert!(!fault.is_present() && fault.marker().is_none());
    let mut stored = [0; 3];
    machine.load(CPU, SPACE, addr, &mut stored).unwrap();
    assert_eq!(&stored, b"abc");
}

#[test]
fn a_system_call_learns_how_far_it_got() {
    let machine = mapped(1);
    let addr = VirtAddr(page(1).0 - 3);
    let stopped = machine.copy_out(CPU, SPACE, addr, b"abcdef").unwrap_err();
    assert_eq!((stopped.done, stopped.fault.addr), (3, page(1)));
    let mut bytes = [0; 6];
    let stopped = machine.copy_in(CPU, SPACE, addr, &mut bytes).unwrap_err();
    assert_eq!((stopped.done, &bytes), (3, b"abc\0\0\0"));
    assert_eq!(machine.copy_in(CPU, SPACE, page(5), &mut bytes).unwrap_err().done, 0);
}

#[test]
fn rights_are_kept() {
    let machine = mapped(1);
    machine.protect(SPACE, AT, Rights::USER);
    assert_eq!(byte(&machine, AT), Ok(UNREAD));
    assert_eq!(store(&machine, AT, 1), Err(Cause::Denied));
    let fault = machine.fetch(CPU, SPACE, AT, &mut [0]).unwrap_err();
    assert_eq!((fault.cause, fault.access), (Cause::Denied, Access::Execute));
    assert!(fault.is_present());
    machine.protect(SPACE, AT, Rights::all() - Rights::USER);
    assert_eq!(byte(&machine, AT), Err(Cause::Denied), "the kernel's");
}

#[test]
fn what_is_not_canonical_faults() {
    let machine = mapped(0);
    for addr in [0x8000_0000_0000, 0xffff_7fff_ffff_ffff, 1 << 63] {
        assert_eq!(byte(&machine, VirtAddr(addr)), Err(Cause::NotCanonical), "{addr:#x}");
        let at = VirtAddr(addr).page_start();
        let error = machine.map_with(SPACE, at, FrameNo(0), Rights::all());
        assert_eq!(error, Err(MapError::NotCanonical { at }));
    }
    let upper = VirtAddr(0xffff_8000_0000_0000);
    assert_eq!(byte(&machine, upper), Err(Cause::Absent));
    let last_of_lower = VirtAddr(upper.0 >> 17);
    assert_eq!(byte(&machine, VirtAddr(last_of_lower.0 - 1)), Err(Cause::Absent));
    assert_eq!(byte(&machine, VirtAddr(u64::MAX)), Err(Cause::Absent), "the world's last page");
    machine.back(&[FrameNo(0)]).unwrap();
    machine.map_with(SPACE, upper, FrameNo(0), Rights::all()).unwrap();
    assert_eq!(byte(&machine, upper), Ok(UNREAD));
}

#[test]
fn what_is_not_canonical_is_not_taken_for_what_is() {
    let machine = mapped(1);
    let like = VirtAddr(AT.0 | 1 << 60);
    assert_eq!(byte(&machine, AT), Ok(UNREAD));
    assert_eq!(byte(&machine, like), Err(Cause::NotCanonical));
    assert_eq!((machine.translation(SPACE, like), machine.accessed(SPACE, like)), (None, false));
}

#[test]
fn a_locked_instruction_exchanges_if_equal() {
    let machine = mapped(2);
    // Within a page, unaligned, and across two pages.
    for addr in [AT.0, AT.0 + 13, page(1).0 - 3].map(VirtAddr) {
        machine.store(CPU, SPACE, addr, &7u64.to_le_bytes()).unwrap();
        let exchange = |expected, new| {
            machine.compare_exchange_u64(CpuNo(1), SPACE, addr, expected, new).unwrap()
        };
        assert_eq!(exchange(8, 9), 7, "not equal: nothing is stored");
        assert_eq!(exchange(7, 1 << 60 | 9), 7);
        assert_eq!(exchange(0, 0), 1 << 60 | 9);
    }
}

#[test]
fn a_locked_instruction_needs_the_right_to_store_to_all_of_it() {
    let machine = mapped(2);
    machine.protect(SPACE, page(1), Rights::USER);
    let exchange = |addr| machine.compare_exchange_u64(CPU, SPACE, addr, 1, 2);
    assert_eq!(exchange(page(1)).unwrap_err().cause, Cause::Denied, "even where it isn't equal");
    let across = VirtAddr(page(1).0 - 4);
    assert_eq!(exchange(across).unwrap_err().addr, page(1));
    exchange(AT).unwrap();
    assert!(machine.dirty(SPACE, AT), "even where nothing was stored");
}

#[test]
fn a_frame_at_two_addresses_is_one() {
    let machine = mapped(1);
    machine.map_with(OTHER, page(9), FrameNo(0), Rights::USER).unwrap();
    store(&machine, AT, 42).unwrap();
    let mut seen = [0];
    machine.load(CpuNo(1), OTHER, page(9), &mut seen).unwrap();
    assert_eq!(seen, [42]);
    assert_eq!(machine.place(FrameNo(0)), Place::Mapped(2));
    assert!(machine.dirty(SPACE, AT) && !machine.dirty(OTHER, page(9)), "each entry for itself");
}
