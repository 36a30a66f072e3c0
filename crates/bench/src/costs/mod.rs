//! What single steps cost. Each group is measured in a process of its own, the groups take
//! turns, and medians are shown.

mod bare;
mod engine;
mod instructions;
mod library;
mod machine;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use faultless_measure::disk::Temporary;
use faultless_measure::model::Model;
use faultless_measure::problem::{Problem, Result};
use faultless_measure::progress::Progress;
use faultless_measure::table::Table;
use serde::{Deserialize, Serialize};

use crate::job::ChildJob;
use crate::rounds;
use crate::spread::Spread;

/// How often each group is measured, where nobody says.
pub const RUNS: u64 = 5;
/// Pages that steps are measured on.
const PAGES: u64 = 8192;

/// Steps that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// A page fault by userfaultfd with nothing around it, by a handler thread.
    BareThread,
    /// The same, served by the thread that has it.
    BareInline,
    /// The engine alone.
    Engine,
    /// The Linux machine alone.
    Machine,
    /// The library, handler threads.
    LibraryThread,
    /// The library, inline delivery.
    LibraryInline,
    /// Engine and library, in instructions.
    Instructions,
}

impl Group {
    /// Those that a clock measures.
    const TIMED: [Group; 6] = {
        use Group::*;
        [BareThread, LibraryThread, BareInline, LibraryInline, Engine, Machine]
    };
}

/// One figure of a run: what, and how many (ns, bytes, calls, instructions).
pub type Figure = (String, f64);

/// A cost beside its bound.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// What.
    pub what: String,
    /// How many of it, run by run.
    #[serde(flatten)]
    pub spread: Spread,
    /// What it is to be at most, if that is said.
    pub at_most: Option<f64>,
}

/// Measures them all, so many times.
pub fn run(dir: &Path, runs: u64) -> Result<Vec<Cost>> {
    let file = file(dir)?;
    let mut figures: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut keep = |told: Vec<Figure>| {
        told.into_iter().for_each(|(what, figure)| figures.entry(what).or_default().push(figure));
    };
    for run in 1..=runs {
        eprintln!("costs: run {run} of {runs}");
        for group in Group::TIMED {
            let job = ChildJob::Costs { group, file: file.path.clone() };
            let told: Vec<Figure> = rounds::run_child(&job, std::process::Stdio::null())?;
            keep(told);
        }
        // Those of a build that isn't optimized say nothing, and take a minute.
        if cfg!(debug_assertions) {
            continue;
        }
        match instructions::counted(&file.path) {
            Ok(told) => keep(told),
            Err(problem) => eprintln!("costs: instructions can't be counted: {problem}"),
        }
    }
    let spreads = figures.into_iter().filter_map(|(what, all)| Some((what, Spread::of(all)?)));
    let spreads: BTreeMap<String, Spread> = spreads.collect();
    let cost = |(what, spread): (&String, &Spread)| Cost {
        at_most: bound(what, &spreads),
        spread: *spread,
        what: what.clone(),
    };
    Ok(spreads.iter().map(cost).collect())
}

/// Instructions of each step, or why they can't be counted.
pub fn instructions(dir: &Path) -> Result<Vec<Figure>> {
    instructions::counted(&file(dir)?.path)
}

/// A file for steps that need one.
fn file(dir: &Path) -> Result<Temporary> {
    let mut file = Temporary::new(dir, "bench-costs")?;
    let bytes = PAGES * faultless_measure::model::PAGE;
    file.fill(bytes, Model { rounds: 0 }, &Progress::hidden())?;
    Ok(file)
}

/// What is to be reached.
fn bound(what: &str, spreads: &BTreeMap<String, Spread>) -> Option<f64> {
    let of_bare = |bare: &str| spreads.get(bare).map(|bare| bare.median * 1.3);
    match what {
        library::PIN_HIT => Some(30.0),
        library::MINOR_INLINE => of_bare(bare::INLINE),
        library::MINOR_THREAD => of_bare(bare::THREAD),
        library::BYTES_PER_FRAME => Some(64.0),
        engine::RESIDENT_FAULT => Some(400.0),
        engine::RESIDENT_ALLOCATIONS => Some(0.0),
        library::EVICT_CLEAN | machine::EVICT | machine::EVICT_BESIDE => Some(1500.0),
        _ => None,
    }
}

/// Measures a group, in this process.
pub fn measure(group: Group, file: &Path) -> Result<Vec<Figure>> {
    match group {
        Group::BareThread => bare::thread(),
        Group::BareInline => bare::inline(),
        Group::Engine => Ok(engine::costs()),
        Group::Machine => machine::costs().map_err(|error| Problem::new(error.to_string())),
        Group::LibraryThread => library::costs(file, faultless::Delivery::Thread),
        Group::LibraryInline => library::costs(file, faultless::Delivery::Inline),
        Group::Instructions => instructions::sections(file),
    }
}

/// The costs as a table.
pub fn table(costs: &[Cost]) -> Table {
    let mut table = Table::new(1, &["cost", "median", "least", "most", "at most", ""]);
    for cost in costs {
        let number = |number: f64| format!("{number:.1}");
        let Spread { median, least, most } = cost.spread;
        let verdict = cost.at_most.map(|bound| if median <= bound { "met" } else { "MISSED" });
        table.row(vec![
            cost.what.clone(),
            number(median),
            number(least),
            number(most),
            cost.at_most.map_or(String::new(), number),
            verdict.unwrap_or_default().to_owned(),
        ]);
    }
    table
}

/// Pages 0 to `count` in an order that nobody foresees.
fn shuffled(count: u64) -> Vec<u64> {
    let mut pages: Vec<u64> = (0..count).collect();
    let mut random = faultless_measure::order::Random::new(1, 0);
    for end in (1..pages.len()).rev() {
        pages.swap(end, random.below(end as u64 + 1) as usize);
    }
    pages
}

/// Nanoseconds for each of `count` steps.
fn each(count: u64, body: impl FnOnce()) -> f64 {
    let since = Instant::now();
    body();
    since.elapsed().as_nanos() as f64 / count as f64
}
