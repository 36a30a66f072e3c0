//! Anonymous memory larger than budget and swap file together, because it compresses; and
//! what happens where it doesn't.

mod family;

use faultless::{Delivery, Memory, Vm};

use family::fork;
use family::pages::{DELIVERIES, PAGE, check_all, put_all};

fn vm(memory: u64, disk: u64, promised: u64) -> Vm {
    let dir = env!("CARGO_TARGET_TMPDIR");
    Vm::builder().memory(memory).swap_compressed(dir, disk, promised).build().unwrap()
}

/// A page that doesn't compress: splitmix64, from its number.
fn noise(page: usize) -> [u8; PAGE] {
    let mut state = page as u64;
    let mut bytes = [0; PAGE];
    for word in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word.copy_from_slice(&(z ^ (z >> 31)).to_ne_bytes());
    }
    bytes
}

fn page(page: usize) -> std::ops::Range<usize> {
    page * PAGE..(page + 1) * PAGE
}

#[test]
fn a_buffer_larger_than_budget_and_swap_file() {
    for delivery in DELIVERIES {
        let vm = vm(1 << 20, 3 << 20, 16 << 20);
        let mut memory = vm.anonymous_by(16 << 20, delivery).unwrap();
        for generation in 1..4 {
            put_all(&mut memory, generation);
            check_all(&memory, generation);
        }
        let stats = vm.stats();
        assert!(stats.frames_used_max <= 256, "{stats:?}");
        assert!(stats.swap_slots_used >= 15 << 8, "{stats:?}");
        assert_eq!((stats.read_errors, stats.write_errors), (0, 0));
        // 12 bytes for each of 4096 pages; law 3 says 2 % of the budget, or 2 MiB.
        assert!((12 << 12..2 << 20).contains(&stats.bookkeeping_bytes), "{stats:?}");
    }
}

/// What was given back is not in the way of what comes.
#[test]
fn memory_that_is_given_back_leaves_no_room_taken() {
    let vm = vm(256 << 10, 2 << 20, 64 << 20);
    for round in 0..8 {
        let mut memory = vm.anonymous(3 << 19).unwrap();
        for n in 0..memory.len() / PAGE {
            memory[page(n)].copy_from_slice(&noise(round << 20 | n));
        }
        for n in 0..memory.len() / PAGE {
            assert!(memory[page(n)] == noise(round << 20 | n), "round {round}, page {n}");
        }
    }
    assert_eq!(vm.stats().swap_slots_used, 0);
}

#[test]
fn more_than_was_promised_is_refused_when_it_is_asked_for() {
    let vm = vm(1 << 20, 1 << 20, 8 << 20);
    let error = vm.anonymous(10 << 20).unwrap_err();
    assert_eq!(error.errno(), libc::ENOMEM, "{error}");
    drop(vm.anonymous(8 << 20).unwrap());
}

/// Stores pages that don't compress until one can't be had; answers how many there are.
fn fill(memory: &mut Memory) -> usize {
    for n in 0..memory.len() / PAGE {
        // Locked, it doesn't leave before it is stored to.
        if let Err(error) = memory.lock(page(n)) {
            assert_eq!(error.errno(), libc::ENOMEM, "{error}");
            return n;
        }
        memory[page(n)].copy_from_slice(&noise(n));
        memory.unlock(page(n)).unwrap();
    }
    panic!("there was room for all");
}

/// Ten seconds, for which a call waits.
#[test]
fn where_swap_is_full_nothing_is_lost() {
    let vm = vm(1 << 20, 1 << 20, 8 << 20);
    let mut memory = vm.anonymous(8 << 20).unwrap();
    let full = fill(&mut memory);
    assert!((400..512).contains(&full), "{full} pages in 256 frames and 256 pages of disk");
    // What is given back makes room: all can be read, and stored to.
    let (given, again) = (full / 4, full / 8);
    memory.discard(..given * PAGE).unwrap();
    for n in given..full {
        assert!(memory[page(n)] == noise(n), "page {n}");
    }
    for n in 0..again {
        memory[page(n)].fill(n as u8);
    }
    for n in given..full {
        memory[page(n)].copy_from_slice(&noise(n + 1));
    }
    for n in (0..again).chain(given..full) {
        let expected = if n < again { [n as u8; PAGE] } else { noise(n + 1) };
        assert!(memory[page(n)] == expected, "page {n}");
    }
}

/// Ten seconds, too.
#[test]
fn a_store_for_which_there_is_no_room_is_sigbus() {
    let children = [Delivery::Thread, Delivery::Inline].map(|delivery| {
        fork(|_| {
            let vm = vm(1 << 20, 1 << 20, 8 << 20);
            let mut memory = vm.anonymous_by(8 << 20, delivery).unwrap();
            for n in 0..memory.len() / PAGE {
                memory[page(n)].copy_from_slice(&noise(n));
            }
        })
    });
    for child in children {
        assert_eq!(child.signal(), Some(libc::SIGBUS));
    }
}
