//! Eight threads read and write a file many times bigger than the budget, at random and
//! by plain pointers; then every byte of the file equals the model, and the budget held.
//!
//! A page's bytes follow from its number and from how often it has been stored to, so
//! the model is one counter a page. Each page has an owner, the only thread that stores
//! to it; all threads read all pages.
//!
//! ```text
//!   store number   0   1   2  …  511 512 513 …        of one page
//!   goes to word   0   1   2  …  511   0   1 …        and writes `word(page, at, round)`
//!   round          1   1   1  …    1   2   2 …        (round 0: as the file was made)
//! ```

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use faultless::{Delivery, MapOptions, MapRaw, PolicyKind, Vm};

const PAGE: u64 = 4096;
const WORDS: u64 = PAGE / 8;
const THREADS: u64 = 8;
const DELIVERIES: [Delivery; 2] = [Delivery::Thread, Delivery::Inline];
const GRANULES: [u64; 2] = [PAGE, 64 << 10];

/// Of so many touches one stores, at a place among them that is drawn.
const ONE_STORES_IN: u64 = 10;

/// One storm at a time: the process's growth is to be that of one.
static ALONE: Mutex<()> = Mutex::new(());

struct Storm {
    file_mib: u64,
    memory: u64,
    /// Loads and stores of each thread.
    touches: u64,
    policy: PolicyKind,
    delivery: Delivery,
    granule: u64,
    pins: bool,
}

impl Default for Storm {
    fn default() -> Storm {
        Storm {
            file_mib: 16,
            memory: 1 << 20,
            touches: 10_000,
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

/// What word `at` of a page holds after so many stores to it. (splitmix64)
fn word(page: u64, at: u64, round: u64) -> u64 {
    let mut x = (page * WORDS + at).wrapping_add(round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// How often word `at` has been stored to after `stores` stores to its page.
fn round(at: u64, stores: u64) -> u64 {
    (stores + WORDS - 1 - at) / WORDS
}

/// All bytes of a page after `stores` stores to it.
fn fill_page(bytes: &mut [u8], page: u64, stores: u64) {
    for (at, bytes) in (0..).zip(bytes.chunks_exact_mut(8)) {
        bytes.copy_from_slice(&word(page, at, round(at, stores)).to_le_bytes());
    }
}

/// Bytes of this process that are in memory.
fn rss() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * PAGE
}

/// Calls `each` with every MiB of the file: its first page and the bytes of its pages by
/// the model.
fn for_each_mib(stores: &[AtomicU32], mut each: impl FnMut(u64, &[u8])) {
    let mut chunk = vec![0; 1 << 20];
    for (first, stores) in (0..).step_by(256).zip(stores.chunks(256)) {
        for ((page, bytes), stores) in
            (first..).zip(chunk.chunks_exact_mut(PAGE as usize)).zip(stores)
        {
            fill_page(bytes, page, stores.load(Ordering::Relaxed).into());
        }
        each(first, &chunk);
    }
}

/// What is counted while the threads are at it.
#[derive(Default)]
struct Tally {
    loads: AtomicU64,
    stores: AtomicU64,
    pins: AtomicU64,
    /// The most that the process held, in bytes.
    rss_max: AtomicU64,
    over: AtomicBool,
}

impl Tally {
    /// Looks at the process again and again; the touching threads don't have to.
    fn watch(&self) {
        while !self.over.load(Ordering::Acquire) {
            self.rss_max.fetch_max(rss(), Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Storm {
    fn name(&self) -> String {
        let granule = self.granule >> 10;
        format!("{:?} {} {granule}K", self.delivery, self.policy).to_lowercase()
    }

    fn run(&self) {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let seed = std::env::var("STORM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let model: Vec<_> = (0..self.file_mib * 256).map(|_| AtomicU32::new(0)).collect();
        for_each_mib(&model, |first, bytes| file.write_all_at(bytes, first * PAGE).unwrap());
        file.sync_all().unwrap();

        let (began, rss_before, tally) = (Instant::now(), rss(), Tally::default());
        let vm = Vm::builder().memory(self.memory).policy(self.policy).build().unwrap();
        let options = MapOptions::new().delivery(self.delivery).granule(self.granule);
        let map = options.map_raw_mut(&vm, &file).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| tally.watch());
            let threads = (0..THREADS).map(|thread| {
                let (map, model, tally) = (&map, &model[..], &tally);
                scope.spawn(move || Toucher::new(map, model, tally, thread, seed).touch(self))
            });
            let ended: Vec<_> =
                threads.collect::<Vec<_>>().into_iter().map(|it| it.join()).collect();
            tally.over.store(true, Ordering::Release);
            ended.into_iter().for_each(|end| end.expect("no thread panics"));
        });
        map.flush().unwrap();
        let seconds = began.elapsed().as_secs_f64();
        self.check_counts(&vm, &tally, rss_before, seconds, seed);
        check_file(&file, &model);
    }

    fn check_counts(&self, vm: &Vm, tally: &Tally, rss_before: u64, seconds: f64, seed: u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (loads, stores) = (count(&tally.loads), count(&tally.stores));
        let share = 100.0 * stores as f64 / (loads + stores) as f64;
        let grown = count(&tally.rss_max).saturating_sub(rss_before);
        let stats = vm.stats();
        println!(
            "{}: {} touches in {seconds:.1} s, {share:.2} % of them stores, {} pins; \
             frames at most {} of {}; grown by {} KiB of {}; tables {} KiB; seed {seed} \
             (STORM_SEED replays it)",
            self.name(),
            loads + stores,
            count(&tally.pins),
            stats.frames_used_max,
            self.memory / PAGE,
            grown >> 10,
            self.memory >> 10,
            stats.bookkeeping_bytes >> 10,
        );
        assert!((9.0..=11.0).contains(&share), "{share} % of the touches are stores");
        assert!(stats.frames_used_max <= self.memory / PAGE, "{stats:?}");
        let allowed = (self.memory / 50).max(2 << 20);
        assert!(stats.bookkeeping_bytes <= allowed, "{} bytes of tables", stats.bookkeeping_bytes);
        // Stacks of nine threads and the like don't shrink with the budget.
        let fixed = if self.memory >= 32 << 20 { 0 } else { 2 << 20 };
        let allowed = self.memory + self.memory / 10 + fixed;
        assert!(grown <= allowed, "grown by {grown} bytes, {allowed} are allowed");
    }
}

/// Every byte of the file, by `read(2)`, equals the model.
fn check_file(file: &File, model: &[AtomicU32]) {
    let mut bytes = vec![0; 1 << 20];
    let mut checked = 0;
    for_each_mib(model, |first, expected| {
        file.read_exact_at(&mut bytes, first * PAGE).unwrap();
        if bytes != expected {
            let at = (0..bytes.len()).find(|at| bytes[*at] != expected[*at]).unwrap() as u64;
            panic!(
                "byte {} is not as it was stored (page {})",
                first * PAGE + at,
                first + at / PAGE
            );
        }
        checked += bytes.len();
    });
    assert_eq!(checked as u64, file.metadata().unwrap().len(), "the whole file, and no more");
}

/// One thread of a storm.
struct Toucher<'a> {
    map: &'a MapRaw,
    model: &'a [AtomicU32],
    tally: &'a Tally,
    /// It owns the pages whose number is this, modulo [`THREADS`].
    thread: u64,
    rng: Rng,
}

impl<'a> Toucher<'a> {
    fn new(
        map: &'a MapRaw,
        model: &'a [AtomicU32],
        tally: &'a Tally,
        thread: u64,
        seed: u64,
    ) -> Toucher<'a> {
        let rng = Rng(seed.wrapping_mul(31).wrapping_add(thread + 1) << 8);
        Toucher { map, model, tally, thread, rng }
    }

    fn touch(mut self, storm: &Storm) {
        let mut store_at = 0;
        for n in 0..storm.touches {
            if n % ONE_STORES_IN == 0 {
                store_at = n + self.rng.below(ONE_STORES_IN);
            }
            if n == store_at {
                self.store();
            } else {
                self.load();
            }
            if storm.pins && n % 16 == 0 {
                self.pin();
            }
        }
    }

    fn any_page(&mut self) -> u64 {
        self.rng.below(self.model.len() as u64)
    }

    fn own_page(&mut self) -> u64 {
        self.rng.below(self.model.len() as u64 / THREADS) * THREADS + self.thread
    }

    /// A word of the map. Loads and stores of it are plain instructions.
    fn word(&self, page: u64, at: u64) -> &'a AtomicU64 {
        let word = self.map.as_mut_ptr().wrapping_add((page * PAGE + at * 8) as usize);
        // SAFETY: 1. the word is within the map, which outlives the thread, and aligned;
        // 2. threads use it by atomic operations only, but for pins of its owner's, whose
        // bytes nobody changes meanwhile.
        unsafe { AtomicU64::from_ptr(word.cast()) }
    }

    fn stores(&self, page: u64) -> u64 {
        self.model[page as usize].load(Ordering::Acquire).into()
    }

    /// The word is as the page's owner left it before the load, or changed it since.
    fn load(&mut self) {
        let (page, at) = (self.any_page(), self.rng.below(WORDS));
        let before = self.stores(page);
        let value = self.word(page, at).load(Ordering::Acquire);
        let after = self.stores(page) + 1;
        let known = (round(at, before)..=round(at, after)).any(|n| value == word(page, at, n));
        assert!(known, "page {page}, word {at}: {value:#x} after {before} to {after} stores");
        self.tally.loads.fetch_add(1, Ordering::Relaxed);
    }

    fn store(&mut self) {
        let page = self.own_page();
        let stores = self.stores(page);
        let at = stores % WORDS;
        let value = word(page, at, round(at, stores + 1));
        self.word(page, at).store(value, Ordering::Release);
        self.model[page as usize].store(stores as u32 + 1, Ordering::Release);
        self.tally.stores.fetch_add(1, Ordering::Relaxed);
    }

    /// A pin of whole pages of this thread's, or a prefetch of anybody's.
    fn pin(&mut self) {
        self.tally.pins.fetch_add(1, Ordering::Relaxed);
        let mut expected = [0; PAGE as usize];
        match self.rng.below(3) {
            0 => {
                let page = self.own_page();
                let pinned = self.map.pin(page * PAGE, PAGE as usize).unwrap();
                fill_page(&mut expected, page, self.stores(page));
                assert!(pinned[..] == expected, "page {page}, pinned");
            }
            1 => {
                let pages = [(); 4].map(|()| self.own_page());
                let ranges = pages.map(|page| (page * PAGE, PAGE as usize));
                let pins = self.map.pin_many(ranges).unwrap();
                for (page, pinned) in pages.into_iter().zip(pins) {
                    fill_page(&mut expected, page, self.stores(page));
                    assert!(pinned[..] == expected, "page {page}, pinned with others");
                }
            }
            _ => {
                let start = self.any_page() * PAGE;
                let left = self.map.len() as u64 - start;
                self.map.prefetch([(start, left.min(32 << 10))]).unwrap();
            }
        }
    }
}

/// Both deliveries, every policy, both granules: with pins and prefetch mixed in.
fn combinations(size: impl Fn() -> Storm) -> impl Iterator<Item = Storm> {
    DELIVERIES.into_iter().flat_map(move |delivery| {
        let storms = PolicyKind::ALL.into_iter().flat_map(|policy| {
            GRANULES.map(|granule| Storm { delivery, policy, granule, pins: true, ..size() })
        });
        storms.collect::<Vec<_>>()
    })
}

#[test]
fn every_combination() {
    combinations(|| Storm { touches: 1_000, ..Storm::default() }).for_each(|storm| storm.run());
}

#[test]
fn pointers_alone() {
    for delivery in DELIVERIES {
        Storm { delivery, memory: 4 << 20, file_mib: 64, ..Storm::default() }.run();
    }
}

#[test]
fn a_budget_of_16_pages_works() {
    for delivery in DELIVERIES {
        let memory = 16 * PAGE;
        Storm { memory, file_mib: 4, touches: 2_000, delivery, ..Storm::default() }.run();
    }
}

/// The full size, of those combinations whose name (such as `inline s3-fifo 64k`) has all
/// words of the variable STORM; of all sixteen without it:
/// `STORM="thread two-list" cargo test --release -p faultless --test storm -- --ignored --nocapture`.
#[test]
#[ignore = "a 4 GiB file, minutes"]
fn full_size() {
    let wanted = std::env::var("STORM").unwrap_or_default().to_lowercase();
    let size = || Storm { file_mib: 4096, memory: 64 << 20, touches: 50_000, ..Storm::default() };
    let mut run = 0;
    for storm in combinations(size) {
        let name = storm.name();
        if wanted.split_whitespace().all(|word| name.split(' ').any(|it| it == word)) {
            storm.run();
            run += 1;
        }
    }
    assert!(run > 0, "no combination is called {wanted:?}");
}
