//! What a child is told, and what it tells.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::costs::Group;
use crate::histogram::Latency;
use crate::system::System;

/// The files of a case: `path(0)`, `path(1)` and so on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileSet {
    /// Where they are.
    pub dir: PathBuf,
    /// Which process made them.
    pub pid: u32,
}

impl FileSet {
    /// What file `index` is made for, as its name tells.
    pub fn purpose(index: u64) -> String {
        format!("bench-{index}")
    }

    /// Where file `index` is.
    pub fn path(&self, index: u64) -> PathBuf {
        self.dir.join(format!("faultless-{}-{}.data", FileSet::purpose(index), self.pid))
    }
}

/// What a child can be asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChildJob {
    /// One run of one system; it tells [`Measured`].
    Run(Job),
    /// Small costs; it tells figures.
    Costs {
        /// Which.
        group: Group,
        /// A file for those that need one.
        file: PathBuf,
    },
}

/// One run of one system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// What is to be done.
    pub case: Case,
    /// By whom.
    pub system: System,
    /// On what.
    pub files: FileSet,
    /// The cgroup to go into.
    pub cgroup: Option<PathBuf>,
    /// Are system calls to be counted? That makes each of them slower.
    pub count: Count,
}

/// What is counted beside time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Count {
    /// What costs nothing to count.
    Cheap,
    /// System calls, too.
    SystemCalls,
}

/// What a thread of the benchmark touches of its stack, and what the kernel has for it.
const STACK_BYTES: u64 = 64 << 10;

/// Buffers of the system that only reads.
const DEVICE_BYTES: u64 = 16 << 20;
/// What a thread that has reads under way by itself takes for their ring (measured).
const RING_BYTES: u64 = 64 << 10;
/// What a map of many may take.
const MAP_BYTES: u64 = 4 << 10;

impl Job {
    /// By how much the child may grow once it is ready: the budget, the page tables of all
    /// that it may touch, and a part for tables, buffers and stacks. The kernel's mmap needs
    /// no tables and has pages there.
    pub fn growth_bytes_max(&self) -> u64 {
        let page_tables = self.case.bytes / 512;
        let tables = self.case.memory_bytes / 32 + (2 << 20);
        let gaps = match self.system {
            // A cache made of what malloc gives can't say what malloc takes for it.
            System::Pread | System::PreadMoka => self.case.memory_bytes / 2,
            // It caches nothing, and reads into large buffers.
            System::Device => DEVICE_BYTES,
            System::PinMany => self.case.threads * RING_BYTES,
            _ => 0,
        };
        // Each file that is mapped by us has descriptors and tables of its own; what they came
        // to is in the peak.
        let maps = if self.system.is_ours() { self.case.files * MAP_BYTES } else { 0 };
        let stacks = self.case.threads * STACK_BYTES;
        self.case.memory_bytes + page_tables + tables + stacks + gaps + maps
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Time under the clock.
    pub seconds: f64,
    /// Accesses (walks, pages) under the clock.
    pub accesses: u64,
    /// The sum of all words loaded, also before the clock started.
    pub sum: u64,
    /// What the sum is of.
    pub amount: Amount,
    /// Time before the clock started.
    #[serde(default)]
    pub warm_seconds: f64,
    /// Bytes read from the device.
    #[serde(default)]
    pub bytes_read: u64,
    /// Bytes written to it.
    #[serde(default)]
    pub bytes_written: u64,
    /// Time on processors, in the program.
    #[serde(default)]
    pub cpu_user_ms: u64,
    /// Time on processors, in the kernel.
    #[serde(default)]
    pub cpu_system_ms: u64,
    /// Faults as the kernel counts them, with and without I/O.
    #[serde(default)]
    pub faults: u64,
    /// Interrupts by which processors of the machine had others forget translations.
    #[serde(default)]
    pub tlb_shootdowns: u64,
    /// The limit of the child's cgroup.
    #[serde(default)]
    pub limit_bytes: Option<u64>,
    /// The most memory that was in use at once: by the cgroup if there is one.
    #[serde(default)]
    pub peak_bytes: u64,
    /// How long accesses took, or those that were asked for together, of a sample of them.
    #[serde(default)]
    pub latency: Latency,
    /// How many accesses were done after how many seconds, from the cold start.
    #[serde(default)]
    pub series: Vec<(f64, u64)>,
    /// What Faultless counts.
    #[serde(default)]
    pub ours: Option<Ours>,
    /// System calls under the clock, if they were counted.
    #[serde(default)]
    pub system_calls: Option<u64>,
}

/// How much was done in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Accesses.
    pub accesses: u64,
    /// Pages scanned beside them.
    pub scanned: u64,
}

/// What Faultless counts under the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ours {
    /// Faults that waited for bytes.
    pub faults_major: u64,
    /// Faults that found the page in memory.
    pub faults_minor: u64,
    /// First stores to clean pages.
    pub faults_write: u64,
    /// Faults that met a page that was busy.
    pub faults_joined: u64,
    /// Pages read because somebody asked for them.
    pub pages_demanded: u64,
    /// Pages read ahead of need.
    pub pages_ahead: u64,
    /// Pages written.
    pub pages_written: u64,
    /// Pages that left memory.
    pub evictions: u64,
    /// Pages unmapped and kept.
    pub second_chances: u64,
    /// Calls of the allocator by threads that access, while they did, where that was counted.
    pub allocations: Option<u64>,
    /// How often a thread waited for the engine's lock.
    #[serde(default)]
    pub lock_waits: u64,
    /// Tables of the engine, in bytes.
    pub bookkeeping_bytes: u64,
}

impl Measured {
    /// Accesses in a second.
    pub fn rate(&self) -> f64 {
        self.accesses as f64 / self.seconds.max(1e-9)
    }
}
