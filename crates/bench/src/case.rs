//! A case: one workload with its numbers, the same for every system.

use faultless_measure::model::PAGE;
use serde::{Deserialize, Serialize};

use crate::workloads::Workload;

/// From so many threads on, a disk does several times as much,
const MANY: u64 = 8;
/// and they are timed for so many times as much.
const MORE: u64 = 4;

/// What is to be done, and with how much memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Which workload.
    pub workload: Workload,
    /// Threads that access.
    pub threads: u64,
    /// How many of a hundred accesses are stores.
    pub write_percent: u64,
    /// What is accessed, in bytes, all files together.
    pub bytes: u64,
    /// In how many files of the same length; one, or a power of two.
    pub files: u64,
    /// The budget.
    pub memory_bytes: u64,
    /// What random choices depend on.
    pub seed: u64,
    /// Accesses before the clock starts.
    pub warm: u64,
    /// Accesses under the clock.
    pub timed: u64,
    /// How long it lasts, where the clock decides; else 0.
    pub seconds: f64,
}

impl Case {
    /// Pages that are accessed.
    pub fn pages(&self) -> u64 {
        self.bytes / PAGE
    }

    /// Pages that the budget holds.
    pub fn frames(&self) -> u64 {
        self.memory_bytes / PAGE
    }

    /// What people call it: the workload, and what tells it from its other cases.
    pub fn name(&self) -> String {
        let threads = match self.threads {
            1 => "1 thread".to_owned(),
            more => format!("{more} threads"),
        };
        match self.write_percent {
            0 => format!("{} {threads}", self.workload),
            writes => format!("{} {threads}, {writes} % writes", self.workload),
        }
    }
}

/// From what cases are made.
#[derive(Clone, Debug)]
pub struct Scale {
    /// The file.
    pub bytes: u64,
    /// The budget.
    pub memory_bytes: u64,
    /// The numbers of threads to use, if not each workload's own.
    pub threads: Option<Vec<u64>>,
    /// What random choices depend on.
    pub seed: u64,
    /// How long what is measured by time lasts.
    pub seconds: f64,
}

impl Scale {
    /// A case of `workload` by one thread that loads.
    pub fn case(&self, workload: Workload) -> Case {
        Case {
            workload,
            threads: 1,
            write_percent: 0,
            bytes: self.bytes,
            files: 1,
            memory_bytes: self.memory_bytes,
            seed: self.seed,
            warm: 0,
            timed: 0,
            seconds: 0.0,
        }
    }

    /// Pages that the budget holds.
    pub fn frames(&self) -> u64 {
        self.memory_bytes / PAGE
    }

    /// `case`, shared by each number of threads: those asked for, else `usual`.
    pub fn shared_by_threads(&self, case: Case, usual: &[u64]) -> Vec<Case> {
        let threads = self.threads.as_deref().unwrap_or(usual);
        threads.iter().map(|threads| Case { threads: *threads, ..case.clone() }).collect()
    }

    /// The same, but many threads do more under the clock, so that it doesn't stop within a
    /// second.
    pub fn by_threads(&self, case: Case, usual: &[u64]) -> Vec<Case> {
        let mut cases = self.shared_by_threads(case, usual);
        for case in cases.iter_mut().filter(|case| case.threads >= MANY) {
            case.timed *= MORE;
        }
        cases
    }
}
