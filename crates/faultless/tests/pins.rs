//! Pins that borrow their map hold as those do that own what they need.

use std::fs::File;
use std::os::unix::fs::FileExt;

use faultless::{MapOptions, Pattern, Vm};

const PAGE: u64 = 4096;
const PAGES: u64 = 512;

/// A file whose pages begin with their number.
fn file() -> File {
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.set_len(PAGES * PAGE).unwrap();
    for page in 0..PAGES {
        file.write_all_at(&page.to_le_bytes(), page * PAGE).unwrap();
    }
    file
}

#[test]
fn a_borrowed_pin_holds_its_page_and_lets_it_go() {
    let (vm, file) = (Vm::with_memory(PAGE * PAGES / 8).unwrap(), file());
    let map = MapOptions::new().read_ahead(Pattern::Random).map_raw_mut(&vm, &file).unwrap();
    // The first is by the engine, those after the second by a pass.
    for times in 0..4 {
        let held = map.pin_ref(3 * PAGE, 8).unwrap();
        assert_eq!(held[..], 3u64.to_le_bytes());
        // Others write the file, and all else goes through what is left of the budget.
        file.write_all_at(&[0xff; 8], 3 * PAGE).unwrap();
        for page in (0..PAGES).filter(|page| *page != 3) {
            assert_eq!(map.pin_ref(page * PAGE, 8).unwrap()[..], page.to_le_bytes());
        }
        assert_eq!(held[..], 3u64.to_le_bytes(), "held for the {times}th time");
        assert!(map.pin_mut(3 * PAGE, 1).unwrap_err().is_pinned());
        file.write_all_at(&3u64.to_le_bytes(), 3 * PAGE).unwrap();
        drop(held);
    }
    map.pin_mut(3 * PAGE, 1).unwrap();
    assert_eq!(vm.stats().pages_pinned, 0, "every pin has ended");
}

#[test]
fn a_borrowed_pin_beyond_the_end_is_an_error() {
    let (vm, file) = (Vm::with_memory(PAGE * PAGES / 8).unwrap(), file());
    let map = MapOptions::new().map_raw(&vm, &file).unwrap();
    for (offset, len) in [(PAGES * PAGE, 1), (PAGES * PAGE - 4, 8), (u64::MAX, 2)] {
        assert!(map.pin_ref(offset, len).unwrap_err().is_beyond_end());
    }
}
