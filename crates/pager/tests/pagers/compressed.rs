//! What a `CompressedSwap` keeps, in how little room, and when it fails.

use std::io::{ErrorKind, IoSlice};

use crate::common::{PAGE, disk, read, write};
use crate::swap::{lease, three_generations};
use faultless_pager::{
    CompressedSwap, Effect, Fault, FaultyPager, InheritedSwap, IoMode, MemoryPager, Operation,
    Pager, Shrunk, SwapFile, Times,
};

const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A page whose first `noise` bytes don't compress.
    fn page(&mut self, noise: usize) -> Vec<u8> {
        let fill = self.next() as u8;
        (0..PAGE).map(|at| if at < noise { self.next() as u8 } else { fill }).collect()
    }
}

fn in_memory(store: usize, pages: u64) -> CompressedSwap<MemoryPager> {
    CompressedSwap::new(MemoryPager::new(store), pages).unwrap()
}

/// Overwrites, punches and reads at random, against a vector of bytes; some calls
/// of the store fail.
fn random_work(swap: &impl Pager, pages: usize, seed: u64) -> usize {
    let mut random = Random(seed);
    let mut model = vec![0; pages * PAGE];
    let mut failed = 0;
    for _ in 0..400 {
        let first = random.below(pages);
        let count = 1 + random.below((pages - first).min(90));
        let (offset, bytes) = ((first * PAGE) as u64, first * PAGE..(first + count) * PAGE);
        match random.below(4) {
            0 | 1 => {
                let noise = [0, 200, 1500, 3000, 4096][random.below(5)];
                let new: Vec<u8> = (0..count).flat_map(|_| random.page(noise)).collect();
                let pieces: Vec<IoSlice<'_>> =
                    new.chunks(1 + random.below(9000)).map(IoSlice::new).collect();
                match swap.write(offset, &pieces) {
                    Ok(()) => model[bytes].copy_from_slice(&new),
                    // Some of the pages are new; each is whole.
                    Err(_) => {
                        failed += 1;
                        adopt(swap, &mut model, first, &new);
                    }
                }
            }
            2 => {
                model[bytes].fill(0);
                swap.punch(offset, (count * PAGE) as u64).unwrap_or_else(|_| failed += 1);
            }
            _ => match read(swap, offset, count * PAGE) {
                Ok(found) => assert!(found == model[bytes], "seed {seed}"),
                Err(_) => failed += 1,
            },
        }
    }
    failed
}

/// After a write that failed: takes each page that is the new one into the model;
/// the others must be as they were.
fn adopt(swap: &impl Pager, model: &mut [u8], first: usize, new: &[u8]) {
    for (nth, new) in new.chunks(PAGE).enumerate() {
        let at = (first + nth) * PAGE;
        let found = loop {
            if let Ok(found) = read(swap, at as u64, PAGE) {
                break found;
            }
        };
        assert!(found == new || found == model[at..at + PAGE], "page {} is neither", first + nth);
        model[at..at + PAGE].copy_from_slice(&found);
    }
}

#[test]
fn random_work_agrees_with_a_model() {
    for seed in 0..4 {
        let swap = in_memory(3 << 20, 200);
        assert_eq!(random_work(&swap, 200, seed), 0);
        swap.punch(0, u64::MAX).unwrap();
        assert_eq!(swap.stored_bytes(), 0);
        assert!(swap.store().bytes().iter().all(|byte| *byte == 0), "all room was given back");
    }
    let dir = disk();
    let store = SwapFile::with_mode(dir.path(), 3 << 20, IoMode::Buffered).unwrap();
    let swap = CompressedSwap::new(store, 200).unwrap();
    assert_eq!(random_work(&swap, 200, 9), 0);
}

#[test]
fn failures_of_the_store_lose_no_page() {
    for seed in 0..4 {
        let store = FaultyPager::new(MemoryPager::new(3 << 20), seed);
        for operation in [Operation::Read, Operation::Write, Operation::Punch] {
            let fault = Fault::always(operation, Effect::Short(700));
            store.inject(Fault { times: Times::OneIn(9), ..fault });
        }
        let swap = CompressedSwap::new(store, 200).unwrap();
        assert!(random_work(&swap, 200, seed) > 10);
    }
}

#[test]
fn a_full_store_is_enospc_and_what_was_there_stays() {
    // Two slabs: 16 pages that don't compress.
    let swap = in_memory(2 * (32 << 10), 100);
    let mut random = Random(1);
    let pages: Vec<u8> = (0..16).flat_map(|_| random.page(PAGE)).collect();
    swap.write(0, &[IoSlice::new(&pages)]).unwrap();
    let error = swap.write(20 * PAGE as u64, &[IoSlice::new(&random.page(PAGE))]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(ENOSPC));
    assert_eq!(read(&swap, 0, 16 * PAGE).unwrap(), pages);

    // Zeros need no room, and their old room is free.
    write(&swap, 0, PAGE, 0).unwrap();
    swap.write(20 * PAGE as u64, &[IoSlice::new(&random.page(PAGE))]).unwrap();
    // A larger store has more.
    swap.store().resize(3 * (32 << 10)).unwrap();
    swap.use_all_of_store().unwrap();
    write(&swap, 21 * PAGE as u64, PAGE, 1).unwrap();
    assert_eq!(read(&swap, 21 * PAGE as u64, PAGE).unwrap(), [1; PAGE]);
}

#[test]
fn a_full_disk_under_the_store_is_its_error() {
    let store = FaultyPager::new(MemoryPager::new(1 << 20), 0);
    let swap = CompressedSwap::new(store, 100).unwrap();
    write(&swap, 0, PAGE, 1).unwrap();
    swap.store().inject(Fault::next(Operation::Write, 0..u64::MAX, Effect::Errno(ENOSPC), 1));
    assert_eq!(write(&swap, 0, PAGE, 2).unwrap_err().raw_os_error(), Some(ENOSPC));
    assert_eq!(read(&swap, 0, PAGE).unwrap(), [1; PAGE]);
    assert_eq!(swap.stored_bytes(), 512);
}

#[test]
fn damaged_bytes_are_an_error() {
    let swap = in_memory(1 << 20, 10);
    write(&swap, 0, 3 * PAGE, 9).unwrap();
    assert_eq!(swap.stored_bytes(), 3 * 512);
    swap.store().write(512, &[IoSlice::new(&[1; 8])]).unwrap();
    assert_eq!(read(&swap, 0, PAGE).unwrap(), [9; PAGE]);
    let error = read(&swap, 0, 3 * PAGE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("page 1 "), "{error}");
}

#[test]
fn sizes_and_places() {
    let swap = in_memory(1 << 20, 10);
    assert_eq!(swap.size().unwrap(), 10 * PAGE as u64);
    assert_eq!(read(&swap, 0, 20 * PAGE).unwrap(), [0; 10 * PAGE], "unwritten pages are zeros");
    for (offset, len) in [(1, PAGE), (0, PAGE - 1)] {
        assert_eq!(write(&swap, offset, len, 1).unwrap_err().raw_os_error(), Some(EINVAL));
    }
    let error = write(&swap, 9 * PAGE as u64, 2 * PAGE, 4).unwrap_err();
    assert_eq!(Shrunk::of(&error).unwrap().written, PAGE as u64);
    assert_eq!(read(&swap, 9 * PAGE as u64, PAGE).unwrap(), [4; PAGE]);
    swap.resize(9 * PAGE as u64).unwrap();
    assert_eq!(swap.stored_bytes(), 0);
    swap.resize(12 * PAGE as u64).unwrap();
    assert_eq!(read(&swap, 9 * PAGE as u64, PAGE).unwrap(), [0; PAGE], "not the old bytes");
    assert!(swap.bookkeeping_bytes() < 2000);
}

#[test]
fn one_thread_overwrites_what_others_read() {
    let swap = in_memory(1 << 20, 8);
    let swap = &swap;
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut random = Random(3);
            for round in 0..2000 {
                let page = random.page([0, 900, 4096][round % 3]);
                let page = [&page[..PAGE / 2], &page[..PAGE / 2]].concat();
                swap.write((random.below(8) * PAGE) as u64, &[IoSlice::new(&page)]).unwrap();
            }
        });
        while !writer.is_finished() {
            for page in read(swap, 0, 8 * PAGE).unwrap().chunks(PAGE) {
                assert!(page[..PAGE / 2] == page[PAGE / 2..], "half of one page, half of another");
            }
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_child_reads_its_forebears_areas_and_writes_its_own() {
    let dir = disk();
    let store = SwapFile::with_mode(dir.path(), 1 << 20, IoMode::Buffered).unwrap();
    three_generations(InheritedSwap::new(CompressedSwap::new(store, 16).unwrap()), false);
}

/// What a child may read takes nothing of the room that its parent was promised.
#[test]
fn a_compressed_area_that_is_lent_has_its_room_once_more() {
    let (dir, mut random) = (disk(), Random(7));
    let noise: Vec<u8> = (0..64).flat_map(|_| random.page(PAGE)).collect();
    let store = SwapFile::with_mode(dir.path(), 64 * PAGE as u64, IoMode::Buffered).unwrap();
    let parent = InheritedSwap::new(CompressedSwap::new(store, 64).unwrap());
    parent.write(0, &[IoSlice::new(&noise)]).unwrap();
    let full = parent.write(0, &[IoSlice::new(&noise[..PAGE])]).unwrap_err();
    assert_eq!(full.raw_os_error(), Some(ENOSPC), "no room for another page");
    parent.resize(128 * PAGE as u64).unwrap();
    parent.write(64 * PAGE as u64, &[IoSlice::new(&noise)]).unwrap();
    // The child's area has the limit that its parent's had.
    let (end, _) = lease();
    let child = parent.for_child(end, 0..64).unwrap();
    assert_eq!(child.size().unwrap(), 128 * PAGE as u64);
    child.write(64 * PAGE as u64, &[IoSlice::new(&noise)]).unwrap();
    assert!(child.write(0, &[IoSlice::new(&noise[..PAGE])]).is_err());
    assert_eq!(read(&child, 0, 64 * PAGE).unwrap(), noise);
    assert!(child.bookkeeping_bytes() >= 2 * 12 * 128, "two indexes of 12 bytes a page");
}
