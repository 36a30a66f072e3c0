//! What README's table says that the crate `faultless` has on real pointers, done once.

use std::io::Write as _;

use faultless::{MapOptions, MapRaw, Pattern, Vm};
use tempfile::NamedTempFile;

const PAGE: usize = 4096;
const PAGES: usize = 16;

/// A file of 16 pages, each filled with its number.
fn file() -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    for page in 0..PAGES {
        file.write_all(&[page as u8; PAGE]).unwrap();
    }
    file
}

fn map(file: &NamedTempFile) -> MapRaw {
    let vm = Vm::with_memory(4 << 20).unwrap();
    MapOptions::new().map_raw_mut(&vm, file.as_file()).unwrap()
}

fn byte(map: &MapRaw, page: usize) -> u8 {
    map.pin((page * PAGE) as u64, 1).unwrap()[0]
}

#[test]
fn ends_of_files() {
    let file = file();
    let map = map(&file);
    let beyond = map.pin((PAGES * PAGE) as u64, 1).unwrap_err();
    assert!(beyond.is_beyond_end(), "{beyond}");
    map.punch_hole(PAGE as u64, PAGE as u64).unwrap();
    assert_eq!((byte(&map, 1), byte(&map, 2)), (0, 2));
}

#[test]
fn unmap() {
    let file = file();
    let first = map(&file);
    first.write_at(0, &[77]).unwrap();
    first.flush().unwrap();
    drop(first);
    assert_eq!(byte(&map(&file), 0), 77);
}

#[test]
fn areas_of_the_kernel() {
    let files: Vec<_> = (0..100).map(|_| file()).collect();
    let vm = Vm::with_memory(4 << 20).unwrap();
    let areas = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let open = |file: &NamedTempFile| MapOptions::new().map_raw(&vm, file.as_file()).unwrap();
    let first = open(&files[0]);
    assert_eq!(byte(&first, 3), 3);
    let before = areas();
    let maps: Vec<_> = files[1..].iter().map(open).collect();
    assert!(maps.iter().all(|map| byte(map, 3) == 3));
    assert!(areas() < before + 50, "{before} areas, then {}", areas());
}

#[test]
fn resize() {
    let file = file();
    let map = map(&file);
    let at = map.as_ptr();
    map.resize((PAGES / 2 * PAGE) as u64).unwrap();
    assert_eq!(file.as_file().metadata().unwrap().len(), (PAGES / 2 * PAGE) as u64);
    map.resize((PAGES * PAGE) as u64).unwrap();
    assert_eq!((map.as_ptr(), map.len()), (at, PAGES * PAGE));
    assert_eq!((byte(&map, 0), byte(&map, PAGES - 1)), (0, 0));
    assert_eq!(byte(&map, 1), 1);
}

#[test]
fn flush() {
    let file = file();
    let map = map(&file);
    let there = |page: usize| std::fs::read(file.path()).unwrap()[page * PAGE];
    map.write_at(0, &[50]).unwrap();
    map.flush().unwrap();
    assert_eq!(there(0), 50);
    map.write_at(PAGE as u64, &[51]).unwrap();
    map.flush_range(PAGE as u64, 1).unwrap();
    assert_eq!(there(1), 51);
    map.write_at(2 * PAGE as u64, &[52]).unwrap();
    map.flush_async().unwrap();
    map.flush().unwrap();
    assert_eq!(there(2), 52);
}

#[test]
fn resident() {
    let file = file();
    let map = map(&file);
    assert_eq!(map.resident().unwrap(), (0, 0));
    map.write_at(0, &[1]).unwrap();
    let (pages, dirty) = map.resident().unwrap();
    assert!(pages >= 1);
    assert_eq!(dirty, 1);
}

#[test]
fn advice() {
    let file = file();
    let map = map(&file);
    for pattern in [Pattern::Random, Pattern::Sequential, Pattern::Normal] {
        map.advise(pattern).unwrap();
    }
    map.advise(Pattern::Random).unwrap();
    assert_eq!(map.prefetch([(0, 4 * PAGE as u64)]).unwrap(), 0);
    drop(map.pin(0, 4 * PAGE).unwrap());
    assert_eq!(map.resident().unwrap(), (4, 0));
    map.release(0, 2 * PAGE as u64).unwrap();
    assert_eq!(map.resident().unwrap(), (2, 0));
    map.punch_hole(0, PAGE as u64).unwrap();
    assert_eq!((byte(&map, 0), byte(&map, 1)), (0, 1));
}

#[test]
fn pins() {
    let file = file();
    let map = map(&file);
    let held = map.pin_many([(0, PAGE), (5 * PAGE as u64, PAGE)]).unwrap();
    map.release(0, (PAGES * PAGE) as u64).unwrap();
    assert_eq!((held[0][0], held[1][0]), (0, 5));
    assert!(map.resident().unwrap().0 >= 2, "what is pinned stays");
    drop(held);
    map.pin_mut(PAGE as u64, 2).unwrap().copy_from_slice(&[8, 9]);
    assert_eq!(byte(&map, 1), 8);
}
