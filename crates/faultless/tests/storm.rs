//! Many threads read and write a file many times bigger than the budget; every byte
//! equals the model, and the budget holds.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering};

use faultless::{Delivery, MapOptions, MapRaw, PolicyKind, Vm};

const PAGE: u64 = 4096;

struct Storm {
    file_mib: u64,
    memory: u64,
    threads: u64,
    touches: u64,
    policy: PolicyKind,
    delivery: Delivery,
    granule: u64,
    pins: bool,
}

impl Default for Storm {
    fn default() -> Storm {
        Storm {
            file_mib: 64,
            memory: 4 << 20,
            threads: 4,
            touches: 20_000,
            policy: PolicyKind::TwoList,
            delivery: Delivery::Thread,
            granule: PAGE,
            pins: false,
        }
    }
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

fn first_word(page: u64) -> u64 {
    page.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Bytes of this process that are in memory.
fn rss() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * PAGE
}

/// A file whose pages begin with their number, hashed, and a counter of 0.
fn make_file(mib: u64) -> File {
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut chunk = vec![0u8; 1 << 20];
    for n in 0..mib {
        for page in 0..256 {
            let at = (page * PAGE) as usize;
            chunk[at..at + 8].copy_from_slice(&first_word(n * 256 + page).to_le_bytes());
        }
        file.write_all_at(&chunk, n << 20).unwrap();
    }
    file.sync_all().unwrap();
    file
}

impl Storm {
    fn run(&self) {
        let seed = std::env::var("STORM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        println!("seed {seed} (STORM_SEED replays it)");
        let file = make_file(self.file_mib);
        let pages = self.file_mib * 256;
        let model: Vec<AtomicU32> = (0..pages).map(|_| AtomicU32::new(0)).collect();
        let rss_before = rss();
        let vm = Vm::builder().memory(self.memory).policy(self.policy).build().unwrap();
        let options = MapOptions::new().delivery(self.delivery).granule(self.granule);
        let map = options.map_raw_mut(&vm, &file).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..self.threads {
                let (map, model) = (&map, &model[..]);
                scope.spawn(move || self.touch(map, model, thread, seed));
            }
        });
        let grown = rss().saturating_sub(rss_before);
        println!("grown by {} KiB under {} KiB", grown >> 10, self.memory >> 10);
        // Stacks of the threads and the kernel's own granularity come on top.
        // (Other tests of this process take memory as well; the full size runs alone.)
        let alone = self.file_mib >= 1024;
        let allowed = self.memory + self.memory / 10 + (2 << 20);
        assert!(!alone || grown <= allowed, "grown by {grown} bytes");
        map.flush().unwrap();
        for (page, count) in model.iter().enumerate() {
            let mut words = [0u8; 12];
            file.read_exact_at(&mut words, page as u64 * PAGE).unwrap();
            assert_eq!(words[..8], first_word(page as u64).to_le_bytes(), "page {page}");
            let stored = u32::from_le_bytes(words[8..].try_into().unwrap());
            assert_eq!(stored, count.load(Ordering::Relaxed), "page {page}: a store was lost");
        }
        let stats = vm.stats();
        assert!(stats.frames_used_max <= self.memory / PAGE, "{stats:?}");
        let allowed = (self.memory / 50).max(2 << 20);
        assert!(stats.bookkeeping_bytes <= allowed, "{} bytes of tables", stats.bookkeeping_bytes);
    }

    fn touch(&self, map: &MapRaw, model: &[AtomicU32], thread: u64, seed: u64) {
        let mut rng = Rng(seed.wrapping_mul(31).wrapping_add(thread + 1) << 8);
        let pages = model.len() as u64;
        for n in 0..self.touches {
            let page = rng.below(pages);
            if self.pins && n % 16 == 0 {
                self.pin(map, page, &mut rng);
                continue;
            }
            let word = map.as_mut_ptr().wrapping_add((page * PAGE) as usize).cast::<u64>();
            // SAFETY: the page is within the map, and the word is only ever read.
            let value = unsafe { word.read_volatile() };
            assert_eq!(value, first_word(page), "page {page}");
            // Threads store to pages of their own.
            if page % self.threads == thread && rng.below(10) == 0 {
                let count = word.wrapping_add(1).cast::<u32>();
                // SAFETY: as above; this thread alone uses this counter.
                let value = unsafe { count.read_volatile() };
                assert_eq!(value, model[page as usize].load(Ordering::Relaxed), "page {page}");
                // SAFETY: as above.
                unsafe { count.write_volatile(value + 1) };
                model[page as usize].store(value + 1, Ordering::Relaxed);
            }
        }
    }

    fn pin(&self, map: &MapRaw, page: u64, rng: &mut Rng) {
        match rng.below(3) {
            0 => {
                let pinned = map.pin(page * PAGE, 8).unwrap();
                assert_eq!(pinned[..], first_word(page).to_le_bytes());
            }
            1 => {
                let ranges = (0..4).map(|n| ((page + n * 7919) % (map.len() as u64 / PAGE), n));
                let ranges: Vec<_> = ranges.map(|(page, _)| (page * PAGE, 8)).collect();
                match map.pin_many(ranges.iter().copied()) {
                    Ok(pins) => {
                        for (pin, (offset, _)) in pins.iter().zip(ranges) {
                            assert_eq!(pin[..], first_word(offset / PAGE).to_le_bytes());
                        }
                    }
                    Err(error) => assert!(error.is_no_room(), "{error}"),
                }
            }
            _ => {
                let left = map.len() as u64 - page * PAGE;
                map.prefetch([(page * PAGE, left.min(32 << 10))]).unwrap();
            }
        }
    }
}

#[test]
fn thread_delivery() {
    Storm::default().run();
}

#[test]
fn inline_delivery() {
    Storm { delivery: Delivery::Inline, ..Storm::default() }.run();
}

#[test]
fn every_policy() {
    for policy in PolicyKind::ALL {
        let touches = 5_000;
        Storm { policy, touches, ..Storm::default() }.run();
        Storm { policy, touches, delivery: Delivery::Inline, ..Storm::default() }.run();
    }
}

#[test]
fn granule_of_64_kib() {
    for delivery in [Delivery::Thread, Delivery::Inline] {
        Storm { granule: 64 << 10, touches: 4_000, delivery, ..Storm::default() }.run();
    }
}

#[test]
fn with_pins_and_prefetch() {
    for delivery in [Delivery::Thread, Delivery::Inline] {
        Storm { pins: true, delivery, ..Storm::default() }.run();
    }
}

#[test]
fn a_budget_of_16_pages_works() {
    for delivery in [Delivery::Thread, Delivery::Inline] {
        let memory = 16 * PAGE;
        Storm { memory, file_mib: 4, touches: 2_000, delivery, ..Storm::default() }.run();
    }
}

/// The full size: `cargo test --release -p faultless --test storm -- --ignored --nocapture`.
#[test]
#[ignore = "a 4 GiB file"]
fn full_size() {
    for delivery in [Delivery::Thread, Delivery::Inline] {
        let began = std::time::Instant::now();
        let (file_mib, memory, threads, touches) = (4096, 64 << 20, 8, 50_000);
        Storm { file_mib, memory, threads, touches, delivery, ..Storm::default() }.run();
        println!("{delivery:?}: {:.1} s", began.elapsed().as_secs_f64());
    }
}
