//! The heap as the allocator of a whole program: this one, with its test harness.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use common::Mmap;
use faultless_heap::{Heap, Options};

#[global_allocator]
static HEAP: Heap<Mmap, Mutex<()>> = Heap::new(Mmap::new(), Options::DEFAULT);

#[test]
fn collections_live_in_it() {
    let before = HEAP.stats();
    let mut map = HashMap::new();
    let mut tree = BTreeMap::new();
    for number in 0..50_000u64 {
        map.insert(number, format!("number {number}"));
        tree.insert(number.reverse_bits(), vec![number; (number % 50) as usize]);
    }
    let during = HEAP.stats();
    assert!(during.segment_bytes - during.free_bytes > before.segment_bytes + (1 << 20));
    for number in (0..50_000u64).step_by(2) {
        assert_eq!(map.remove(&number).unwrap(), format!("number {number}"));
    }
    assert!(tree.iter().all(|(key, list)| list.iter().all(|n| *n == key.reverse_bits())));
    drop((map, tree));
    HEAP.trim();
}

#[test]
fn a_vector_grows_from_a_block_to_a_mapping() {
    let mut bytes = Vec::new();
    for number in 0..3_000_000u32 {
        bytes.push(number as u8);
    }
    assert!(HEAP.stats().mapped_bytes >= 3_000_000);
    assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == at as u8));
    bytes.truncate(1000);
    bytes.shrink_to_fit();
    assert_eq!(bytes[999], 999u32 as u8);
    assert_eq!(vec![0u8; 5 << 20].iter().position(|byte| *byte != 0), None);
}

#[test]
fn threads_come_and_go() {
    for _ in 0..20 {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                std::thread::spawn(move || {
                    let words: Vec<String> = (0..500).map(|n| format!("{thread}-{n}")).collect();
                    words.join(" ")
                })
            })
            .collect();
        for (thread, words) in threads.into_iter().map(|it| it.join().unwrap()).enumerate() {
            assert!(words.ends_with(&format!("{thread}-499")));
        }
    }
}
