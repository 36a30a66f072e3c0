//! What this process uses, as the kernel counts it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::model::PAGE;

/// Between two looks at the memory in use.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);

/// In which the kernel tells times (USER_HZ, the same on every machine that the library
/// runs on).
const TICKS_PER_SECOND: u64 = 100;

/// Looks at the process's resident memory all the time.
pub struct RssSampler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    before: u64,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    max: AtomicU64,
}

impl RssSampler {
    /// What is resident now is what growth is counted from.
    pub fn start() -> RssSampler {
        let shared = Arc::new(Shared::default());
        let sampled = shared.clone();
        let thread = thread::Builder::new().name("rss".into()).spawn(move || {
            while !sampled.ends.load(Ordering::Relaxed) {
                sampled.max.fetch_max(rss(), Ordering::Relaxed);
                thread::sleep(SAMPLE_EVERY);
            }
        });
        // The sampler's own stack is there before growth begins.
        let before = rss();
        // Without the thread only the last look remains: less exact, still true.
        RssSampler { shared, thread: thread.ok(), before }
    }

    /// The most that was resident at once, less what was before.
    pub fn growth_bytes_max(mut self) -> u64 {
        self.end();
        self.shared.max.load(Ordering::Relaxed).max(rss()).saturating_sub(self.before)
    }

    fn end(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for RssSampler {
    fn drop(&mut self) {
        self.end();
    }
}

/// Resident bytes, from /proc/self/statm (see proc_pid_statm(5)); 0 if it can't be read.
fn rss() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * PAGE
}

/// Counters of this process, all threads together, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Faults without I/O.
    pub faults_minor: u64,
    /// Faults with I/O.
    pub faults_major: u64,
    /// Read from storage.
    pub bytes_read: u64,
    /// Time on processors, in the program.
    pub cpu_user_ms: u64,
    /// Time on processors, in the kernel for it.
    pub cpu_system_ms: u64,
    /// On the way to storage: counted by the kernel when a page becomes dirty.
    pub bytes_written: u64,
    /// Interrupts by which processors had others forget translations: of the whole machine.
    pub tlb_shootdowns: u64,
}

impl Counters {
    /// As they are now, from /proc/self/stat, /proc/self/io and /proc/interrupts (see
    /// proc_pid_stat(5), proc_pid_io(5) and proc_interrupts(5)); 0 where the kernel doesn't say.
    pub fn now() -> Counters {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The second field, the program's name, can hold anything but ends at the last ')'.
        let fields: Vec<&str> =
            stat.rsplit_once(") ").map_or(Vec::new(), |(_, rest)| rest.split(' ').collect());
        let field = |at: usize| fields.get(at).and_then(|text| text.parse().ok()).unwrap_or(0);
        let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
        let line = |name: &str| {
            let mut values = io.lines().filter_map(|line| line.strip_prefix(name));
            values.next().and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        Counters {
            faults_minor: field(7),
            faults_major: field(9),
            cpu_user_ms: field(11) * 1000 / TICKS_PER_SECOND,
            cpu_system_ms: field(12) * 1000 / TICKS_PER_SECOND,
            bytes_read: line("read_bytes:"),
            bytes_written: line("write_bytes:"),
            tlb_shootdowns: shootdowns(&fs::read_to_string("/proc/interrupts").unwrap_or_default()),
        }
    }

    /// What has been added since.
    pub fn since(self, before: Counters) -> Counters {
        Counters {
            faults_minor: self.faults_minor - before.faults_minor,
            faults_major: self.faults_major - before.faults_major,
            cpu_user_ms: self.cpu_user_ms - before.cpu_user_ms,
            cpu_system_ms: self.cpu_system_ms - before.cpu_system_ms,
            bytes_read: self.bytes_read - before.bytes_read,
            bytes_written: self.bytes_written - before.bytes_written,
            tlb_shootdowns: self.tlb_shootdowns.saturating_sub(before.tlb_shootdowns),
        }
    }
}

/// Of all processors: a line has a number for each, and a name behind them.
fn shootdowns(interrupts: &str) -> u64 {
    let mut lines = interrupts.lines().filter_map(|line| line.trim_start().strip_prefix("TLB:"));
    let numbers = lines.next().into_iter().flat_map(str::split_whitespace);
    numbers.map_while(|number| number.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_of_all_processors_are_added() {
        let text = "           CPU0       CPU1\n  0:         10          0   IO-APIC   2-edge      timer\nTLB:       1200        345   TLB shootdowns\n";
        assert_eq!((shootdowns(text), shootdowns("")), (1545, 0));
    }
}
