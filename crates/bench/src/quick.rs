//! The quick form: counts that no clock is in, held against the bounds in `bounds.toml`. It
//! says whether a change has made the library do more, on however slow or busy a machine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use faultless_measure::model::PAGE;
use faultless_measure::problem::{Problem, Result};
use faultless_measure::table::Table;
use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::content::{Content, expected_sum};
use crate::costs;
use crate::job::{Count, Measured};
use crate::options::Options;
use crate::rounds::{self, Limits};
use crate::system::System;
use crate::workloads::Workload;

/// The bounds, as the repository has them.
const BOUNDS: &str = include_str!("../bounds.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    bound: Vec<Bound>,
    cost: Vec<CostBound>,
}

/// One of the small costs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CostBound {
    what: String,
    at_most: f64,
}

/// One system in one case.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bound {
    workload: Workload,
    #[serde(default)]
    write_percent: u64,
    system: System,
    /// By the name of a count.
    at_most: BTreeMap<Counted, f64>,
}

/// What is counted, for each access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Pages that the device gave.
    DeviceReads,
    /// Pages that it took.
    DeviceWrites,
    /// System calls of all threads, the returns of signal handlers among them.
    SystemCalls,
    /// Pages that left memory.
    Evictions,
    /// Calls of the allocator in threads that access.
    Allocations,
    /// Instructions of the thread that takes a step, which the case names.
    Instructions,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Counted::DeviceReads => "pages read",
            Counted::DeviceWrites => "pages written",
            Counted::SystemCalls => "system calls",
            Counted::Evictions => "pages evicted",
            Counted::Allocations => "allocations",
            Counted::Instructions => "instructions",
        })
    }
}

/// A count beside its bound.
#[derive(Clone, Debug, Serialize)]
pub struct Held {
    /// The case.
    pub case: String,
    /// Who did it; none for the small costs.
    pub system: Option<System>,
    /// What was counted.
    pub counted: Counted,
    /// How many for each access; none where the system can't say.
    pub found: Option<f64>,
    /// What it is to be at most.
    pub at_most: f64,
}

impl Held {
    /// Is it not more than it may be?
    pub fn is_within(&self) -> bool {
        self.found.is_none_or(|found| found <= self.at_most)
    }
}

/// Counts.
pub fn run(options: &Options, limits: Limits) -> Result<Vec<Held>> {
    let bounds: Bounds = toml::from_str(BOUNDS)
        .map_err(|error| Problem::new(format!("crates/bench/bounds.toml: {error}")))?;
    let wanted = options.workloads();
    let mut content: Option<Content> = None;
    let mut all = Vec::new();
    for bound in bounds.bound {
        if !wanted.contains(&bound.workload) || !options.wants(&bound.system) {
            continue;
        }
        let case = case(options, &bound)?;
        let mut suitable = match content.take().filter(|content| content.suits(&case)) {
            Some(content) => content,
            None => crate::run::make(options, &case)?,
        };
        eprintln!("{}: {}", case.name(), bound.system);
        let measured = rounds::run_once(
            (options, limits),
            &case,
            &bound.system,
            &suitable,
            Count::SystemCalls,
        )?;
        if measured.sum != expected_sum(&case, measured.amount) {
            return Err(Problem::new("WRONG: what was read is not what the file holds"));
        }
        suitable.verify_stores(&case)?;
        content = Some(suitable);
        all.extend(bound.at_most.iter().map(|(counted, at_most)| Held {
            case: case.name(),
            system: Some(bound.system.clone()),
            counted: *counted,
            found: count(&measured, *counted),
            at_most: *at_most,
        }));
    }
    drop(content);
    // Bounds are those of programs as people have them, made quick by the compiler.
    let is_optimized = cfg!(not(debug_assertions));
    if is_optimized && options.systems.is_empty() && (options.costs || options.workloads.is_empty())
    {
        all.extend(costs(&options.dir, bounds.cost));
    }
    if all.is_empty() {
        return Err(Problem::new(
            "nothing of that is counted: crates/bench/bounds.toml has the systems and workloads \
             that are (and costs, of a program that is optimized)",
        ));
    }
    Ok(all)
}

/// Small costs, in instructions.
fn costs(dir: &Path, bounds: Vec<CostBound>) -> impl Iterator<Item = Held> {
    eprintln!("costs: instructions");
    let counted = costs::instructions(dir);
    if let Err(problem) = &counted {
        eprintln!("costs: {problem}");
    }
    let counted: BTreeMap<String, f64> = counted.unwrap_or_default().into_iter().collect();
    bounds.into_iter().map(move |CostBound { what, at_most }| Held {
        found: counted.get(&what).copied(),
        case: what,
        system: None,
        counted: Counted::Instructions,
        at_most,
    })
}

/// By one thread: with more, counts depend on who comes first.
fn case(options: &Options, bound: &Bound) -> Result<Case> {
    let cases = bound.workload.definition().cases(&options.scale());
    let mut cases = cases.into_iter().filter(|case| case.write_percent == bound.write_percent);
    let case = cases.next().ok_or_else(|| {
        Problem::new(format!("crates/bench/bounds.toml: {} has no such case", bound.workload))
    })?;
    Ok(Case { threads: 1, ..case })
}

fn count(measured: &Measured, counted: Counted) -> Option<f64> {
    let pages = |bytes: u64| bytes as f64 / PAGE as f64;
    let count = match counted {
        Counted::DeviceReads => pages(measured.bytes_read),
        Counted::DeviceWrites => pages(measured.bytes_written),
        Counted::SystemCalls => measured.system_calls? as f64,
        Counted::Evictions => measured.ours?.evictions as f64,
        Counted::Allocations => measured.ours?.allocations? as f64,
        Counted::Instructions => return None, // Of steps, not of accesses.
    };
    Some(count / measured.accesses.max(1) as f64)
}

/// The counts as a table.
pub fn table(counts: &[Held]) -> Table {
    let mut table =
        Table::new(3, &["case", "system", "for each access or step", "found", "at most", ""]);
    for held in counts {
        let found = held.found.map_or("-".to_owned(), |found| format!("{found:.3}"));
        let verdict = match (held.found, held.is_within()) {
            (None, _) => "can't be counted here",
            (_, true) => "",
            (_, false) => "EXCEEDED",
        };
        table.row(vec![
            held.case.clone(),
            held.system.as_ref().map_or("-".to_owned(), System::to_string),
            held.counted.to_string(),
            found,
            format!("{:.3}", held.at_most),
            verdict.to_owned(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_its_bound_is_noticed_and_what_can_t_be_counted_is_not() {
        let bounds: Bounds = toml::from_str(BOUNDS).expect("the file is right");
        assert!(!bounds.bound.is_empty());
        let held = |found| Held {
            case: String::new(),
            system: Some(System::Inline),
            counted: Counted::Allocations,
            found,
            at_most: 0.5,
        };
        assert!(held(Some(0.5)).is_within() && held(None).is_within());
        assert!(!held(Some(0.6)).is_within());
    }
}
