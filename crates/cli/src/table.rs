//! What phases look like in a table.

pub use faultless_measure::table::Table;

use crate::cgroup::Bound;
use crate::kernel::Kernel;
use crate::ours::Ours;
use crate::plan::PhaseResult;
use crate::size::Size;

/// What stands for a number that nobody counts.
const UNKNOWN: &str = "-";

/// How the speed of a phase is best told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speed {
    Bytes,
    Pages,
    Nothing,
}

impl Speed {
    fn of(phase: &PhaseResult) -> Speed {
        match phase.accesses {
            0 => Speed::Nothing,
            // Whole pages went by: what counts is how many bytes.
            _ if phase.whole_pages => Speed::Bytes,
            _ => Speed::Pages,
        }
    }

    fn show(self, phase: &PhaseResult) -> String {
        match self {
            Speed::Bytes => format!("{:.0} MB/s", phase.bytes_per_second / 1e6),
            Speed::Pages => format!("{:.0} pages/s", phase.pages_per_second),
            Speed::Nothing => UNKNOWN.to_owned(),
        }
    }
}

/// The phases of both sides, one under the other.
pub fn phases(ours: &Ours, kernel: Option<&Kernel>) -> Table {
    let mut table = Table::new(
        2,
        &[
            "phase",
            "by",
            "speed",
            "seconds",
            "ratio",
            "major",
            "minor",
            "first writes",
            "read",
            "written",
            "evicted",
        ],
    );
    let kernel_name = match kernel.map(|kernel| &kernel.bound) {
        Some(Bound::Unbounded { .. }) => "kernel, NO LIMIT",
        Some(Bound::Cgroup { .. }) | None => "kernel mmap",
    };
    for (index, phase) in ours.phases.iter().enumerate() {
        let theirs = kernel.and_then(|kernel| kernel.walked.phases.get(index));
        let ratio = theirs.map(|theirs| ratio(phase, theirs));
        table.row(row(phase, phase.name.clone(), "Faultless", ratio));
        if let Some(theirs) = theirs {
            table.row(row(theirs, String::new(), kernel_name, None));
        }
    }
    table
}

/// How much quicker Faultless was.
pub fn ratio(ours: &PhaseResult, theirs: &PhaseResult) -> f64 {
    theirs.seconds / ours.seconds.max(1e-9)
}

fn row(phase: &PhaseResult, name: String, by: &str, ratio: Option<f64>) -> Vec<String> {
    let number = |number: Option<u64>| number.map_or(UNKNOWN.to_owned(), |n| n.to_string());
    vec![
        name,
        by.to_owned(),
        Speed::of(phase).show(phase),
        format!("{:.3}", phase.seconds),
        ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
        phase.faults_major.to_string(),
        phase.faults_minor.to_string(),
        number(phase.faults_write),
        Size(phase.bytes_read).to_string(),
        Size(phase.bytes_written).to_string(),
        number(phase.evictions),
    ]
}

/// What both sides took of memory.
pub fn memory(ours: &Ours, kernel: Option<&Kernel>) -> String {
    let percent = ours.bookkeeping_bytes as f64 * 100.0 / ours.memory_bytes as f64;
    let mut text = format!(
        "Faultless    page memory at most {} of a budget of {}; tables {} ({percent:.2} %); \
         the process grew by {} at most\n",
        Size(ours.frames_bytes_max),
        Size(ours.memory_bytes),
        Size(ours.bookkeeping_bytes),
        Size(ours.rss_growth_bytes_max),
    );
    if let Some(kernel) = kernel {
        let grew = Size(kernel.walked.rss_growth_bytes_max);
        text += &format!("kernel mmap  {}; the process grew by {grew} at most\n", kernel.bound);
    }
    text
}

/// Remarks, one a line.
pub fn notes(notes: &[String]) -> String {
    notes.iter().map(|note| format!("note         {note}\n")).collect()
}
