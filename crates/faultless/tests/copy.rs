//! Private mappings: stores that nobody else sees.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;

use faultless::{Delivery, MapCopy, MapOptions, Vm};

const PAGE: usize = 4096;

fn swap_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

fn vm() -> Vm {
    Vm::builder().memory(1 << 20).swap(swap_dir(), 64 << 20).build().unwrap()
}

fn byte(page: usize) -> u8 {
    (page * 7 + 3) as u8
}

/// A file of `pages` pages, each filled with its byte.
fn file(pages: usize) -> File {
    let mut file = tempfile::tempfile_in(swap_dir()).unwrap();
    for page in 0..pages {
        file.write_all(&[byte(page); PAGE]).unwrap();
    }
    file.sync_all().unwrap();
    file
}

fn map(options: &MapOptions, vm: &Vm, file: &File) -> MapCopy {
    // SAFETY: nobody changes the file's bytes while a slice of the map lives.
    unsafe { options.map_copy(vm, file).unwrap() }
}

fn contents(file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut file = file.try_clone().unwrap();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Every page is read, every third stored to, far more than the budget holds.
fn stores_stay_private(delivery: Delivery) {
    let (vm, file, pages) = (vm(), file(2048), 2048);
    let before = contents(&file);
    let mut copy = map(&MapOptions::new().delivery(delivery), &vm, &file);
    assert_eq!(copy.len(), pages * PAGE);
    for page in 0..pages {
        assert_eq!(copy[page * PAGE + 5], byte(page));
        if page % 3 == 0 {
            copy[page * PAGE + 9] = !byte(page);
        }
    }
    for page in 0..pages {
        let stored = if page % 3 == 0 { !byte(page) } else { byte(page) };
        assert_eq!((copy[page * PAGE + 5], copy[page * PAGE + 9]), (byte(page), stored));
    }
    assert!(vm.stats().faults_copy >= 683, "{:?}", vm.stats());
    assert!(vm.stats().pages_written > 0, "copies went to swap");
    copy.discard(..).unwrap();
    assert!((0..pages).all(|page| copy[page * PAGE + 9] == byte(page)), "the file's again");
    drop(copy);
    assert!(contents(&file) == before, "the file has changed");
    assert_eq!(vm.stats().frames_used, 0);
}

#[test]
fn stores_stay_private_by_thread() {
    stores_stay_private(Delivery::Thread);
}

#[test]
fn stores_stay_private_inline() {
    stores_stay_private(Delivery::Inline);
}

#[test]
fn two_copies_and_a_shared_map_of_one_file() {
    let (vm, file) = (vm(), file(64));
    let shared = MapOptions::new().map_raw(&vm, &file).unwrap();
    let (mut one, mut two) =
        (map(&MapOptions::new(), &vm, &file), map(&MapOptions::new(), &vm, &file));
    for page in 0..64 {
        let mut seen = [0];
        shared.read_at((page * PAGE) as u64, &mut seen).unwrap();
        assert_eq!([one[page * PAGE], two[page * PAGE], seen[0]], [byte(page); 3]);
        one[page * PAGE] = 1;
        two[page * PAGE] = 2;
        shared.read_at((page * PAGE) as u64, &mut seen).unwrap();
        assert_eq!((one[page * PAGE], two[page * PAGE], seen[0]), (1, 2, byte(page)));
    }
}

#[test]
fn a_pin_of_the_shared_page_is_not_disturbed() {
    let (vm, file) = (vm(), file(8));
    let shared = MapOptions::new().map_raw(&vm, &file).unwrap();
    let mut copy = map(&MapOptions::new(), &vm, &file);
    // Shown by the copy first, then pinned at the shared address, then stored to.
    assert_eq!(copy[3 * PAGE], byte(3));
    let pinned = shared.pin(3 * PAGE as u64, PAGE).unwrap();
    copy[3 * PAGE] = 77;
    assert!(pinned.iter().all(|seen| *seen == byte(3)));
    assert_eq!((copy[3 * PAGE], copy[3 * PAGE + 1]), (77, byte(3)));
}

#[test]
fn any_offset_and_length() {
    let (vm, file) = (vm(), file(4));
    let mut copy = map(&MapOptions::new().offset(4097).len(5000), &vm, &file);
    assert_eq!((copy.len(), copy[0], copy[4999]), (5000, byte(1), byte(2)));
    copy.fill(9);
    assert!(copy.iter().all(|byte| *byte == 9));
}

#[test]
fn a_file_that_may_only_be_read_and_room_that_is_not_there() {
    let dir = tempfile::tempdir_in(swap_dir()).unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, vec![5; 64 << 10]).unwrap();
    let file = OpenOptions::new().read(true).open(&path).unwrap();
    let tight = Vm::builder().memory(64 << 10).build().unwrap();
    // SAFETY: nobody changes the file.
    let error = unsafe { MapOptions::new().map_copy(&tight, &file) }.unwrap_err();
    assert_eq!(error.errno(), libc::ENOMEM);
    assert!(error.to_string().contains("swap"), "{error}");
    let mut copy = map(&MapOptions::new().no_reserve(), &tight, &file);
    copy[100] = 1;
    assert_eq!((copy[99], copy[100]), (5, 1));
    assert_eq!(std::fs::read(&path).unwrap()[100], 5);
}
