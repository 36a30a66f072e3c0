//! Memory without a file that several maps show: larger than the budget, in swap, and in a
//! forked child.

mod family;
mod wait;

use family::fork;
use family::pages::{DELIVERIES, PAGE};
use faultless::{Delivery, MapRaw, Pattern, Vm};
use wait::wait_until;

const BUDGET: u64 = 1 << 20;

fn vm(swap: u64) -> Vm {
    Vm::builder().memory(BUDGET).swap(env!("CARGO_TARGET_TMPDIR"), swap).build().unwrap()
}

fn compressed(disk: u64, memory: u64) -> Vm {
    let builder = Vm::builder().memory(BUDGET);
    builder.swap_compressed(env!("CARGO_TARGET_TMPDIR"), disk, memory).build().unwrap()
}

/// What a page holds in a generation, at its start.
fn value(page: usize, generation: u64) -> u64 {
    (page as u64 + 1) * 1_000_003 + generation
}

fn put(map: &MapRaw, page: usize, value: u64) {
    // SAFETY: callers stay within the map, and nobody else uses the page.
    unsafe { map.as_mut_ptr().add(page * PAGE).cast::<u64>().write_volatile(value) }
}

fn get(map: &MapRaw, page: usize) -> u64 {
    // SAFETY: as above.
    unsafe { map.as_ptr().add(page * PAGE).cast::<u64>().read_volatile() }
}

#[test]
fn several_maps_see_what_each_stores() {
    for delivery in DELIVERIES {
        let vm = vm(1 << 20);
        let shared = vm.shared_memory_by(8 * PAGE - 96, delivery).unwrap();
        let (one, other) = (shared.map().unwrap(), shared.clone().map().unwrap());
        let part = shared.map_part(2 * PAGE..).unwrap();
        assert_eq!((one.len(), part.len()), (8 * PAGE - 96, 6 * PAGE - 96));
        assert!((0..8).all(|page| get(&one, page) == 0), "it begins as zeros");
        put(&one, 3, 7);
        assert_eq!((get(&other, 3), get(&part, 1)), (7, 7));
        part.write_at(100, b"bytes").unwrap();
        assert_eq!(&one.pin(2 * PAGE as u64 + 100, 5).unwrap()[..], b"bytes");
        one.flush().unwrap();
        assert_eq!(one.resize(9 * PAGE as u64).unwrap_err().errno(), libc::EFBIG);
        assert_eq!(one.resize(PAGE as u64).unwrap_err().errno(), libc::EINVAL);
        one.punch_hole(3 * PAGE as u64, PAGE as u64).unwrap();
        assert_eq!(get(&other, 3), 0);
        assert_eq!(shared.map_part(..9 * PAGE).unwrap_err().errno(), libc::ENOMEM);
        let maps = vm.maps().unwrap();
        assert!(maps.contains("rw-s 00000000 00:00 0") && maps.contains("/dev/zero (deleted)"));
    }
}

/// Eight budgets, over and over; by two threads of which each has half, and a map of its own.
#[test]
fn it_may_be_larger_than_the_budget() {
    const PAGES: usize = 8 * (BUDGET as usize) / PAGE;
    for (vm, delivery) in DELIVERIES
        .into_iter()
        .flat_map(|by| [(vm(8 << 20), by), (compressed(2 << 20, 8 << 20), by)])
    {
        let shared = vm.shared_memory_by(PAGES * PAGE, delivery).unwrap();
        let map = shared.map().unwrap();
        for generation in 1..4 {
            std::thread::scope(|scope| {
                for half in 0..2 {
                    let map = shared.map().unwrap();
                    scope.spawn(move || {
                        for page in (half..PAGES).step_by(2) {
                            put(&map, page, value(page, generation));
                        }
                    });
                }
            });
            for page in 0..PAGES {
                assert_eq!(get(&map, page), value(page, generation), "page {page}");
            }
        }
        map.check().unwrap();
        let stats = vm.stats();
        assert!(stats.frames_used_max <= BUDGET / 4096);
        assert!(stats.swap_slots_used as usize >= PAGES * 7 / 8, "{stats:?}");
        // Every page is in memory or in swap; some are on the way until all is quiet, and it
        // is no snapshot.
        let numbers = |labels: [&str; 2]| {
            let smaps = vm.smaps().unwrap();
            labels.map(|label| -> usize {
                let line = smaps.lines().find(|line| line.starts_with(label)).unwrap();
                line.split_whitespace().nth(1).unwrap().parse().unwrap()
            })
        };
        let kib = 4 * PAGES;
        wait_until("pages add up", || numbers(["Rss:", "Swap:"]).iter().sum::<usize>() == kib);
        assert_eq!(numbers(["Anonymous:", "Locked:"]), [0, 0], "it is an object's");
        // The last handle or map that goes takes the bytes with it, and its slots.
        drop(shared);
        assert_eq!(get(&map, 9), value(9, 3));
        drop(map);
        assert_eq!((vm.stats().swap_slots_used, vm.stats().frames_used), (0, 0));
        drop(vm.shared_memory(PAGES * PAGE).unwrap());
    }
}

#[test]
fn private_and_shared_memory_share_budget_and_swap() {
    let vm = vm(4 << 20);
    let error = vm.shared_memory(6 << 20).unwrap_err();
    assert_eq!(error.errno(), libc::ENOMEM, "{error}");
    let shared = vm.shared_memory(2 << 20).unwrap();
    assert_eq!(vm.anonymous(3 << 20).unwrap_err().errno(), libc::ENOMEM);
    let mut private = vm.anonymous(5 << 19).unwrap();
    let map = shared.map().unwrap();
    for round in 1..5u64 {
        for page in 0..512 {
            put(&map, page, value(page, round));
        }
        private.fill(round as u8);
        assert!((0..512).all(|page| get(&map, page) == value(page, round)), "round {round}");
        assert!(private.iter().all(|byte| *byte == round as u8), "round {round}");
    }
}

/// Nothing of it is written while there is memory, however much time passes.
#[test]
fn what_fits_into_memory_is_not_written() {
    let dir = env!("CARGO_TARGET_TMPDIR");
    let age = std::time::Duration::from_millis(50);
    let vm = Vm::builder().memory(BUDGET).swap(dir, 1 << 20).write_after(age).build().unwrap();
    let map = vm.shared_memory(32 * PAGE).unwrap().map().unwrap();
    (0..32).for_each(|page| put(&map, page, 1));
    std::thread::sleep(std::time::Duration::from_millis(800));
    map.flush_async().unwrap();
    map.flush().unwrap();
    assert_eq!((map.resident().unwrap(), vm.stats().pages_written), ((32, 32), 0));
    drop(map);
    assert_eq!(vm.stats().pages_written, 0, "also when it goes");
}

/// Ten seconds, for which the call waits.
#[test]
fn where_swap_is_full_calls_are_errors_and_nothing_is_lost() {
    let noise = |page: usize| -> Vec<u8> {
        let mut state = page as u64 + 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..PAGE).map(|_| next()).collect()
    };
    let vm = compressed(1 << 20, 8 << 20);
    let map = vm.shared_memory(8 << 20).unwrap().map().unwrap();
    map.advise(Pattern::Random).unwrap();
    let full = (0..2048).find(|page| {
        let written = map.write_at((page * PAGE) as u64, &noise(*page));
        written.inspect_err(|error| assert_eq!(error.errno(), libc::ENOMEM, "{error}")).is_err()
    });
    let full = full.expect("what doesn't compress doesn't fit");
    assert!((400..512).contains(&full), "{full} pages in 256 frames and 256 pages of disk");
    assert_eq!(map.check().unwrap_err().errno(), libc::ENOSPC);
    // What is given up makes room, and nothing else is lost.
    map.punch_hole(0, (100 * PAGE) as u64).unwrap();
    for page in 100..full {
        assert!(map.pin((page * PAGE) as u64, PAGE).unwrap()[..] == noise(page), "page {page}");
    }
}

#[test]
fn in_a_forked_child_it_is_the_parents() {
    for delivery in DELIVERIES {
        let vm = vm(4 << 20);
        let shared = vm.shared_memory_by(2 << 20, delivery).unwrap();
        let map = shared.map().unwrap();
        (0..512).for_each(|page| put(&map, page, value(page, 1)));
        let child = fork(|_| {
            let refused = [
                map.pin(0, 1).map(drop).unwrap_err(),
                map.flush().unwrap_err(),
                shared.map().unwrap_err(),
            ];
            assert!(refused.iter().all(|error| error.errno() == libc::EPERM), "{refused:?}");
            // The child has memory of its own to share.
            let own = vm.shared_memory_by(2 << 20, delivery).unwrap().map().unwrap();
            (0..512).for_each(|page| put(&own, page, value(page, 2)));
            assert!((0..512).all(|page| get(&own, page) == value(page, 2)));
        });
        (0..512).for_each(|page| put(&map, page, value(page, 3)));
        child.end();
        assert!((0..512).all(|page| get(&map, page) == value(page, 3)));
        let touching = fork(|_| put(&map, 0, 1));
        assert_eq!(touching.signal(), Some(libc::SIGBUS), "{delivery:?}");
        assert_eq!(get(&map, 0), value(0, 3));
        // A child that has let go of everything has no slots left.
        let last = fork(|_| {
            drop((map, shared));
            assert_eq!(vm.stats().swap_slots_used, 0);
        });
        last.end();
    }
}

#[test]
fn one_page_without_swap() {
    let vm = Vm::with_memory(Vm::MEMORY_MIN).unwrap();
    let shared = vm.shared_memory_by(1, Delivery::Inline).unwrap();
    let (one, other) = (shared.map().unwrap(), shared.map().unwrap());
    one.write_at(0, &[9]).unwrap();
    assert_eq!(other.pin(0, 1).unwrap()[0], 9);
    assert!(vm.shared_memory(1 << 20).is_err());
}
