//! Plays a case on a system: warms up, then measures.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use faultless_measure::counters::Counters;
use faultless_measure::order::part;
use faultless_measure::problem::Result;
use faultless_sys::counter::SystemCalls;

use crate::allocations;
use crate::case::Case;
use crate::content::tie;
use crate::histogram::{Histogram, Latency};
use crate::job::{Amount, Measured, Ours};
use crate::sequence::{Sequence, counter_of, is_store};
use crate::shape::{Shape, Tree};
use crate::systems::{Access, Batches};

/// Accesses that a thread takes at once: a batch.
const BLOCK: u64 = 64;
/// The same where many threads share them out.
const BLOCK_OF_MANY: u64 = 16;
/// Walks at a time.
const WALKS: u64 = 32;
/// One in so many blocks has its accesses timed one by one,
const SAMPLE_EVERY: u64 = 4;
/// and where most accesses take less time than looking at a clock, one in so many.
const SAMPLE_EVERY_OF_HITS: u64 = 256;
/// Pages that a scan goes through at a time: 1 MiB.
const CHUNK: u64 = 256;
/// Between two points of the curve.
const POINT_EVERY: Duration = Duration::from_millis(100);
/// How long hot set and scan run together before the clock starts, at least.
const WARM_MIN: f64 = 2.0;
/// How often each page of the hot set is accessed before the scan begins.
const HOT_ALONE: u64 = 8;

/// How many accesses each of so many threads takes at once.
pub fn block(threads: u64) -> u64 {
    if threads < 16 { BLOCK } else { BLOCK_OF_MANY }
}

/// What threads came to.
#[derive(Default)]
struct Done {
    sum: u64,
    latency: Histogram,
    allocations: u64,
}

impl Done {
    fn merge(&mut self, other: &Done) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.latency.merge(&other.latency);
        self.allocations += other.allocations;
    }
}

/// Plays it.
pub fn play<A: Access>(case: &Case, access: &A, calls: Option<&SystemCalls>) -> Result<Measured> {
    let player = Player { case, access, calls, done: AtomicU64::new(0) };
    let shape = case.workload.definition().shape(case);
    let curve = Curve::default();
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| curve.watch(begun, &player.done));
        let measured = match shape {
            Shape::HotAndScan { hot, scanned, rate, .. } => player.hot(&*hot, scanned, rate),
            shape => player.counted(&shape),
        };
        let series = curve.end();
        Ok(Measured { series, ..measured? })
    })
}

struct Player<'a, A> {
    case: &'a Case,
    access: &'a A,
    calls: Option<&'a SystemCalls>,
    /// Accesses done since the cold start.
    done: AtomicU64,
}

/// Counters when the clock starts.
struct Before {
    since: Instant,
    counters: Counters,
    calls: Option<u64>,
    stats: Option<faultless::Stats>,
}

impl<A: Access> Player<'_, A> {
    /// A number of accesses that is known.
    fn counted(&self, shape: &Shape) -> Result<Measured> {
        let Case { warm, timed, write_percent, .. } = *self.case;
        let begun = Instant::now();
        let mut all = self.by_threads(shape, 0..warm);
        let flush = || if write_percent > 0 { self.access.flush() } else { Ok(()) };
        // What was put off before the clock starts is not to be paid under it.
        flush()?;
        let warm_seconds = begun.elapsed().as_secs_f64();
        let before = self.before();
        let done = self.by_threads(shape, warm..warm + timed);
        flush()?;
        let measured = self.after(before, timed, Some(&done));
        all.merge(&done);
        let amount = Amount { accesses: warm + timed, scanned: 0 };
        let latency = Latency { of: self.timed_together(shape), ..measured.latency };
        Ok(Measured { sum: all.sum, amount, warm_seconds, latency, ..measured })
    }

    /// How many accesses a latency is of.
    fn timed_together(&self, shape: &Shape) -> u64 {
        match shape {
            Shape::Walks(_) => WALKS,
            _ if self.loads_together() => block(self.case.threads),
            _ => 1,
        }
    }

    fn loads_together(&self) -> bool {
        self.case.write_percent == 0 && self.access.batches() == Batches::Yes
    }

    fn by_threads(&self, shape: &Shape, range: Range<u64>) -> Done {
        let threads = self.case.threads;
        let next = AtomicU64::new(range.start);
        let all = Mutex::new(Done::default());
        thread::scope(|scope| {
            for thread in 0..threads {
                let (next, range, all) = (&next, range.clone(), &all);
                scope.spawn(move || {
                    let mut done = Done::default();
                    let before = allocations::calls_of_this_thread();
                    match shape {
                        Shape::Accesses(sequence) => {
                            self.blocks(&**sequence, next, range.end, &mut done);
                        }
                        Shape::Walks(tree) => self.walks(tree, next, range.end, &mut done),
                        Shape::Scan => {
                            let own = part(range.end - range.start, thread, threads);
                            done.sum = self.scan(own);
                        }
                        Shape::HotAndScan { .. } => unreachable!("not counted"),
                    }
                    done.allocations = allocations::calls_of_this_thread() - before;
                    all.lock().expect("no thread panics with it").merge(&done);
                });
            }
        });
        all.into_inner().expect("no thread panics with it")
    }

    fn blocks(&self, sequence: &dyn Sequence, next: &AtomicU64, end: u64, done: &mut Done) {
        let len = block(self.case.threads);
        let mut words = [0; BLOCK as usize];
        loop {
            let from = next.fetch_add(len, Ordering::Relaxed);
            if from >= end {
                break;
            }
            let words = &mut words[..(end - from).min(len) as usize];
            sequence.fill(from, words);
            self.block(from, words, done);
            self.done.fetch_add(words.len() as u64, Ordering::Relaxed);
        }
    }

    fn block(&self, from: u64, words: &[u64], done: &mut Done) {
        let hits = self.case.seconds > 0.0 || self.case.timed > 64 * self.case.frames();
        let every = if hits { SAMPLE_EVERY_OF_HITS } else { SAMPLE_EVERY };
        let is_sample = (from / words.len() as u64).is_multiple_of(every);
        if self.loads_together() || (self.case.write_percent == 0 && !is_sample) {
            let since = is_sample.then(Instant::now);
            let mut values = [0; BLOCK as usize];
            self.access.load_many(words, &mut values[..words.len()]);
            let tied = words.iter().zip(values).map(|(word, value)| tie(*word, value));
            done.sum = tied.fold(done.sum, u64::wrapping_add);
            since.iter().for_each(|since| done.latency.add(since.elapsed().as_nanos() as u64));
            return;
        }
        for (nth, word) in (from..).zip(words) {
            let since = is_sample.then(Instant::now);
            if is_store(nth, self.case.seed, self.case.write_percent) {
                self.access.increment(counter_of(*word));
            } else {
                done.sum = done.sum.wrapping_add(tie(*word, self.access.load(*word)));
            }
            since.iter().for_each(|since| done.latency.add(since.elapsed().as_nanos() as u64));
        }
    }

    fn walks(&self, tree: &Tree, next: &AtomicU64, end: u64, done: &mut Done) {
        let (mut words, mut values) = ([0; WALKS as usize], [0; WALKS as usize]);
        loop {
            let from = next.fetch_add(WALKS, Ordering::Relaxed);
            if from >= end {
                return;
            }
            let len = (end - from).min(WALKS) as usize;
            let since = Instant::now();
            for level in 0..tree.levels.len() {
                for (nth, word) in (from..).zip(&mut words[..len]) {
                    *word = match level {
                        0 => tree.root(nth),
                        _ => tree.word(nth, level, values[(nth - from) as usize]),
                    };
                }
                self.access.load_many(&words[..len], &mut values[..len]);
                let tied = words[..len].iter().zip(values).map(|(word, value)| tie(*word, value));
                done.sum = tied.fold(done.sum, u64::wrapping_add);
            }
            done.latency.add(since.elapsed().as_nanos() as u64);
            self.done.fetch_add(len as u64, Ordering::Relaxed);
        }
    }

    fn scan(&self, pages: Range<u64>) -> u64 {
        let mut sum = 0u64;
        for start in pages.clone().step_by(CHUNK as usize) {
            let chunk = start..(start + CHUNK).min(pages.end);
            let len = chunk.end - chunk.start;
            sum = sum.wrapping_add(self.access.sweep(chunk));
            self.done.fetch_add(len, Ordering::Relaxed);
        }
        sum
    }

    /// A hot set for as long as the case says, and a scan of the rest beside it, which begins
    /// when the hot set is in memory.
    fn hot(&self, hot: &dyn Sequence, scanned: Range<u64>, rate: u64) -> Result<Measured> {
        let ends = AtomicBool::new(false);
        let (mut alone, hot_pages) = (Done::default(), scanned.start);
        let begun = Instant::now();
        let established = hot_pages * HOT_ALONE / BLOCK * BLOCK;
        self.hot_blocks(hot, 0, |from| from < established, &mut alone);
        thread::scope(|scope| {
            let scan = scope.spawn(|| self.scan_at(scanned, rate, &ends));
            let hot = scope.spawn(|| {
                let mut done = Done::default();
                let goes_on = |_| !ends.load(Ordering::Relaxed);
                let accesses = self.hot_blocks(hot, established, goes_on, &mut done);
                (done, accesses)
            });
            thread::sleep(Duration::from_secs_f64((self.case.seconds / 5.0).max(WARM_MIN)));
            let warm_seconds = begun.elapsed().as_secs_f64();
            let (before, first) = (self.before(), self.done.load(Ordering::Relaxed));
            thread::sleep(Duration::from_secs_f64(self.case.seconds));
            let accesses = self.done.load(Ordering::Relaxed) - first;
            let measured = self.after(before, accesses, None);
            ends.store(true, Ordering::Relaxed);
            let (done, accesses) = hot.join().expect("the hot set's thread ends");
            let (scan_sum, scanned) = scan.join().expect("the scan's thread ends");
            let sum = alone.sum.wrapping_add(done.sum).wrapping_add(scan_sum);
            let amount = Amount { accesses, scanned };
            let latency = done.latency.summary();
            Ok(Measured { sum, amount, latency, warm_seconds, ..measured })
        })
    }

    /// Accesses from `from` on as long as `goes_on`; answers where it ended.
    fn hot_blocks(
        &self,
        hot: &dyn Sequence,
        mut from: u64,
        goes_on: impl Fn(u64) -> bool,
        done: &mut Done,
    ) -> u64 {
        let mut words = [0; BLOCK as usize];
        while goes_on(from) {
            hot.fill(from, &mut words);
            self.block(from, &words, done);
            from += BLOCK;
            self.done.fetch_add(BLOCK, Ordering::Relaxed);
        }
        from
    }

    /// Scans pages over and over, so many in a second; answers their sum and number.
    fn scan_at(&self, pages: Range<u64>, rate: u64, ends: &AtomicBool) -> (u64, u64) {
        let begun = Instant::now();
        let (mut sum, mut count, mut at) = (0u64, 0, pages.start);
        while !ends.load(Ordering::Relaxed) {
            let chunk = at..(at + CHUNK / 4).min(pages.end);
            at = if chunk.end == pages.end { pages.start } else { chunk.end };
            count += chunk.end - chunk.start;
            sum = sum.wrapping_add(self.access.sweep(chunk));
            let due = Duration::from_secs_f64(count as f64 / rate as f64);
            thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        (sum, count)
    }

    fn before(&self) -> Before {
        Before {
            stats: self.access.stats(),
            counters: Counters::now(),
            calls: self.calls.and_then(|calls| calls.count().ok()),
            since: Instant::now(),
        }
    }

    fn after(&self, before: Before, accesses: u64, done: Option<&Done>) -> Measured {
        let seconds = before.since.elapsed().as_secs_f64();
        let calls = self.calls.and_then(|calls| calls.count().ok());
        let counted = Counters::now().since(before.counters);
        let stats = before.stats.zip(self.access.stats());
        Measured {
            seconds,
            accesses,
            bytes_read: counted.bytes_read,
            bytes_written: counted.bytes_written,
            cpu_user_ms: counted.cpu_user_ms,
            cpu_system_ms: counted.cpu_system_ms,
            faults: counted.faults_major + counted.faults_minor,
            tlb_shootdowns: counted.tlb_shootdowns,
            latency: done.map(|done| done.latency.summary()).unwrap_or_default(),
            ours: stats.map(|(before, after)| Ours {
                faults_major: after.faults_major - before.faults_major,
                faults_minor: after.faults_minor - before.faults_minor,
                faults_write: after.faults_write - before.faults_write,
                faults_joined: after.faults_joined - before.faults_joined,
                pages_demanded: after.pages_demanded - before.pages_demanded,
                pages_ahead: after.pages_ahead - before.pages_ahead,
                pages_written: after.pages_written - before.pages_written,
                evictions: after.evictions - before.evictions,
                second_chances: after.second_chances - before.second_chances,
                allocations: done.map(|done| done.allocations),
                lock_waits: after.lock_waits - before.lock_waits,
                bookkeeping_bytes: after.bookkeeping_bytes,
            }),
            system_calls: calls.zip(before.calls).map(|(after, before)| after - before),
            ..Measured::default()
        }
    }
}

/// How many accesses were done when.
#[derive(Default)]
struct Curve {
    points: Mutex<(Vec<(f64, u64)>, bool)>,
    ends: Condvar,
}

impl Curve {
    fn watch(&self, begun: Instant, done: &AtomicU64) {
        let mut points = self.points.lock().expect("no thread panics with it");
        while !points.1 {
            let point = (begun.elapsed().as_secs_f64(), done.load(Ordering::Relaxed));
            points.0.push(point);
            let waited = self.ends.wait_timeout(points, POINT_EVERY);
            points = waited.expect("no thread panics with it").0;
        }
        points.0.push((begun.elapsed().as_secs_f64(), done.load(Ordering::Relaxed)));
    }

    fn end(&self) -> Vec<(f64, u64)> {
        let mut points = self.points.lock().expect("no thread panics with it");
        points.1 = true;
        self.ends.notify_all();
        points.0.clone()
    }
}
