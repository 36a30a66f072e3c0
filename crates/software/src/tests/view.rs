//! Translations, counters and the dump.

use super::*;

#[test]
fn translations_are_told_in_order() {
    let machine = mapped(2);
    let upper = VirtAddr(0xffff_8000_0000_0000);
    machine.map_with(SPACE, upper, FrameNo(0), Rights::USER).unwrap();
    machine.guard(SPACE, pages(4..5)).unwrap();
    store(&machine, page(1), 1).unwrap();
    let all: Vec<Translation> = machine.translations(SPACE).collect();
    let fresh = |at, frame, rights| Translation {
        at,
        frame: FrameNo(frame),
        rights,
        accessed: false,
        dirty: false,
    };
    let expected = [
        fresh(AT, 0, Rights::all()),
        Translation { accessed: true, dirty: true, ..fresh(page(1), 1, Rights::all()) },
        fresh(upper, 0, Rights::USER),
    ];
    assert_eq!(all, expected);
    assert_eq!(machine.translation(SPACE, VirtAddr(page(1).0 + 5)), Some(expected[1]));
    assert_eq!(machine.translations(OTHER).count(), 0);
}

#[test]
fn counters_tell_what_the_tlb_did() {
    let machine = mapped(1);
    byte(&machine, AT).unwrap();
    byte(&machine, AT).unwrap();
    byte(&machine, page(1)).unwrap_err();
    let expected =
        Stats { tlb_hits: 1, tlb_misses: 2, walks: 2, faults: 1, flushes: 0, shootdowns: 0 };
    assert_eq!(machine.stats(), expected);
}

#[test]
fn a_dump_shows_the_tree() {
    let machine = mapped(5);
    machine.protect(SPACE, page(0), Rights::USER | Rights::EXECUTE);
    machine.fetch(CPU, SPACE, AT, &mut [0]).unwrap();
    store(&machine, page(3), 1).unwrap();
    machine.poison(SPACE, pages(6..7)).unwrap();
    let stack = VirtAddr(0x7fff_ffff_f000);
    machine.back(&[FrameNo(5)]).unwrap();
    machine.map_with(SPACE, stack, FrameNo(5), Rights::USER | Rights::WRITE).unwrap();
    machine.guard(SPACE, VirtRange::new(VirtAddr(stack.0 - 0x2000), stack)).unwrap();
    let expected = "\
space 0: 6 pages and 3 markers in 7 tables, root (CR3) in frame 16
PML4 in frame 16
├─ [0] 0x0 PWUA-X  PDPT in frame 18
│  └─ [0] 0x0 PWUA-X  PD in frame 19
│     └─ [2] 0x400000 PWUA-X  PT in frame 20
│        ├─ [0] 0x400000 P-UA-X  frame 0
│        ├─ [1-2] 0x401000-0x403000 PWU--X  frames 1-2
│        ├─ [3] 0x403000 PWUADX  frame 3
│        ├─ [4] 0x404000 PWU--X  frame 4
│        └─ [6] 0x406000  poison
└─ [255] 0x7f8000000000 PWU--X  PDPT in frame 21
   └─ [511] 0x7fffc0000000 PWU--X  PD in frame 22
      └─ [511] 0x7fffffe00000 PWU--X  PT in frame 23
         ├─ [509-510] 0x7fffffffd000-0x7ffffffff000  guard
         └─ [511] 0x7ffffffff000 PWU---  frame 5
";
    assert_eq!(machine.dump(SPACE), expected);
    let empty = "space 1: 0 pages in 1 table, root (CR3) in frame 17\nPML4 in frame 17\n";
    assert_eq!(machine.dump(OTHER), empty);
}
