//! The budget holds, whatever is asked for; what doesn't fit is an error.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use faultless::{Delivery, MapOptions, MapRaw, Pattern, Vm};

const PAGE: u64 = 4096;
const DELIVERIES: [Delivery; 2] = [Delivery::Thread, Delivery::Inline];

/// A file whose pages begin with their number.
fn file(mib: u64) -> File {
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut chunk = vec![0; 1 << 20];
    for n in 0..mib {
        for page in 0..256 {
            let at = (page * PAGE) as usize;
            chunk[at..at + 8].copy_from_slice(&(n * 256 + page).to_le_bytes());
        }
        file.write_all_at(&chunk, n << 20).unwrap();
    }
    file
}

fn number(map: &MapRaw, page: u64) -> u64 {
    let word = map.as_ptr().wrapping_add((page * PAGE) as usize).cast::<u64>();
    // SAFETY: callers name pages of the map; nobody stores to these words.
    unsafe { word.read_volatile() }
}

fn pages(map: &MapRaw) -> u64 {
    map.len() as u64 / PAGE
}

#[test]
fn a_pin_that_does_not_fit_is_an_error() {
    for delivery in DELIVERIES {
        let (vm, file) = (Vm::with_memory(256 << 10).unwrap(), file(1));
        let map = MapOptions::new().delivery(delivery).map_raw_mut(&vm, &file).unwrap();
        let began = Instant::now();
        for error in [
            map.pin(0, 1 << 20).unwrap_err(),
            map.pin_mut(0, 1 << 20).unwrap_err(),
            map.pin_many([(0, 128 << 10), (512 << 10, 128 << 10)]).unwrap_err(),
            map.pin_many((0..256).map(|page| (page * PAGE, 1))).unwrap_err(),
        ] {
            assert!(error.is_no_room(), "{error}");
            assert_eq!(error.errno(), libc::ENOMEM);
            assert!(error.to_string().contains("bigger budget"), "says what to do: {error}");
        }
        assert!(began.elapsed() < Duration::from_secs(5), "at once");
        assert_eq!(vm.stats().pages_pinned, 0, "nothing is held by what was refused");
        let mut held: Vec<_> = Vec::new();
        let error = loop {
            match map.pin(held.len() as u64 * PAGE, 8) {
                Ok(pin) => held.push(pin),
                Err(error) => break error,
            }
        };
        assert!(error.is_no_room(), "{error}");
        assert!(held.len() >= 32, "half the budget at least can be pinned: {}", held.len());
        for (page, pin) in held.iter().enumerate() {
            assert_eq!(pin[..], (page as u64).to_le_bytes());
        }
        // Faults go on in what is left.
        assert!((0..pages(&map)).all(|page| number(&map, page) == page));
        held.truncate(4);
        map.pin(512 << 10, 64 << 10).unwrap();
    }
}

/// Pages of memory that this process holds, whoever they belong to.
fn memory() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * PAGE
}

#[test]
#[ignore = "a child of the other tests"]
fn child_role() {
    let Ok(role) = std::env::var("FAULTLESS_ROLE") else { return };
    let delivery = if role.contains("inline") { Delivery::Inline } else { Delivery::Thread };
    let (budget, file) = (8 << 20, file(128));
    let before = memory();
    let vm = Vm::with_memory(budget).unwrap();
    let options = MapOptions::new().delivery(delivery);
    let map = options.granule(if role.contains("granule") { 64 << 10 } else { PAGE });
    let map = map.map_raw_mut(&vm, &file).unwrap();
    let mut most = 0;
    for page in 0..pages(&map) {
        assert_eq!(number(&map, page), page);
        if role.contains("store") {
            let word = map.as_mut_ptr().wrapping_add((page * PAGE) as usize + 8).cast::<u64>();
            // SAFETY: within the map, and only this thread uses it.
            unsafe { word.write_volatile(page) };
        }
        if page % 64 == 0 {
            most = most.max(memory());
        }
    }
    if role.contains("prefetch") {
        let left_out = map.prefetch([(0, map.len() as u64)]).unwrap();
        assert!(left_out >= map.len() as u64 - budget, "{left_out}");
        most = most.max(memory());
    }
    let grown = most.saturating_sub(before);
    println!("\n{role}: {} KiB for a budget of {} KiB", grown >> 10, budget >> 10);
    assert!(grown <= budget + budget / 10 + (4 << 20), "{grown} bytes");
    let stats = vm.stats();
    assert!(stats.frames_used_max <= stats.frames_total, "{stats:?}");
    assert!(stats.frames_total <= budget / PAGE, "{stats:?}");
}

#[test]
fn memory_stays_within_the_budget() {
    for delivery in ["thread", "inline"] {
        for what in ["load", "load store", "load granule", "load prefetch"] {
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "child_role", "--ignored", "--nocapture"]);
            let output = command.env("FAULTLESS_ROLE", format!("{delivery} {what}")).output();
            let output = output.unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            println!("{}", text.lines().find(|line| line.contains("budget")).unwrap_or(&text));
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn a_mapping_keeps_to_its_own_limit() {
    const LIMIT: u32 = 32;
    for delivery in DELIVERIES {
        let (vm, small, big) = (Vm::with_memory(2 << 20).unwrap(), file(4), file(4));
        let options = MapOptions::new().delivery(delivery);
        let limited = options.clone().memory(u64::from(LIMIT) * PAGE).map_raw_mut(&vm, &small);
        let limited = limited.unwrap();
        let free = options.map_raw(&vm, &big).unwrap();
        for page in 0..pages(&free) {
            assert_eq!(number(&free, page), page);
            assert_eq!(number(&limited, page), page);
            assert!(
                limited.resident().unwrap().0 <= LIMIT,
                "{delivery:?}: {:?}",
                limited.resident()
            );
        }
        assert!(
            free.resident().unwrap().0 > 256,
            "{delivery:?}: the rest is the other's: {free:?}"
        );
        for page in (0..pages(&limited)).rev() {
            limited.write_at(page * PAGE + 8, &[1; 8]).unwrap();
            assert!(limited.resident().unwrap().0 <= LIMIT);
        }
        limited.prefetch([(0, limited.len() as u64)]).unwrap();
        assert!(limited.resident().unwrap().0 <= LIMIT, "prefetch: {:?}", limited.resident());
        assert!(limited.pin(0, limited.len() / 2).unwrap_err().is_no_room());
        limited.flush().unwrap();
    }
    let (vm, file) = (Vm::with_memory(1 << 20).unwrap(), file(1));
    let error = MapOptions::new().memory(PAGE).map_raw(&vm, &file).unwrap_err();
    assert!(error.to_string().contains("32 KiB"), "{error}");
    let error = Vm::with_memory(PAGE).unwrap_err();
    assert!(error.to_string().contains("64 KiB"), "{error}");
}

#[test]
fn prefetch_and_populate_go_as_far_as_the_budget() {
    for delivery in DELIVERIES {
        let (vm, file) = (Vm::with_memory(1 << 20).unwrap(), file(16));
        let options = MapOptions::new().delivery(delivery).read_ahead(Pattern::Random);
        let map = options.populate().map_raw(&vm, &file).unwrap();
        let left_out = map.prefetch([(8 << 20, 8 << 20), (0, 1 << 20)]).unwrap();
        assert!(left_out >= 8 << 20, "{left_out}");
        let stats = vm.stats();
        assert!(stats.frames_used_max <= stats.frames_total, "{stats:?}");
        assert!(map.resident().unwrap().0 > 64, "{:?}", map.resident());
        assert!((0..pages(&map)).all(|page| number(&map, page) == page));
        assert_eq!(map.prefetch([(0, 64 << 10)]).unwrap(), 0, "what fits is not left out");
        assert!(map.prefetch([(0, 17 << 20)]).unwrap_err().is_beyond_end());
    }
}

#[test]
fn without_io_uring() {
    const THREADS: u64 = 4;
    for delivery in DELIVERIES {
        let vm = Vm::builder().memory(1 << 20).without_io_uring().build().unwrap();
        let file = file(16);
        let map = MapOptions::new().delivery(delivery).map_raw_mut(&vm, &file).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let map = &map;
                scope.spawn(move || {
                    for n in 0..4000_u64 {
                        let page = n * (7919 + thread * 2) % pages(map);
                        assert_eq!(number(map, page), page);
                        if page % THREADS == thread {
                            let at = page * PAGE + 8;
                            let count = map.as_mut_ptr().wrapping_add(at as usize).cast::<u64>();
                            // SAFETY: within the map; this thread alone uses this word.
                            unsafe { count.write_volatile(!page) };
                        }
                    }
                });
            }
        });
        map.flush().unwrap();
        for page in 0..pages(&map) {
            let mut words = [0; 16];
            file.read_exact_at(&mut words, page * PAGE).unwrap();
            assert_eq!(words[..8], page.to_le_bytes());
            let stored = u64::from_le_bytes(words[8..].try_into().unwrap());
            assert!(stored == 0 || stored == !page, "page {page}: {stored}");
        }
        let stats = vm.stats();
        assert!(stats.frames_used_max <= stats.frames_total && stats.pages_written > 0);
    }
}
