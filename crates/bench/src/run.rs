//! Runs what the options ask for, and says what came of it.

use std::fs;

use faultless_measure::disk;
use faultless_measure::machine::Machine;
use faultless_measure::problem::{Problem, Result};
use serde::Serialize;

use crate::case::Case;
use crate::content::Content;
use crate::costs::{self, Cost};
use crate::options::{Form, Options};
use crate::quick::{self, Held};
use crate::rounds::{self, CaseResult};
use crate::system::System;
use crate::targets::Target;
use crate::{plot, report};

/// What a run came to.
#[derive(Serialize)]
pub struct Report {
    /// Was everything right, and every count within its bound?
    pub ok: bool,
    /// The command that does it again.
    pub command: String,
    /// What measured.
    pub machine: Machine,
    /// Workload by workload.
    pub cases: Vec<CaseResult>,
    /// What was to be reached.
    pub reached: Vec<Reached>,
    /// What single steps cost.
    pub costs: Vec<Cost>,
    /// Counts that no clock is in, beside their bounds.
    pub counts: Vec<Held>,
    /// What is to be known about the machine.
    pub notes: Vec<String>,
}

/// A ratio, and what it was to be.
#[derive(Serialize)]
pub struct Reached {
    /// The case.
    pub case: String,
    /// What was to be reached.
    #[serde(flatten)]
    pub target: Target,
    /// The ratio; none where a side could not be measured.
    pub ratio: Option<f64>,
    /// Was it reached?
    pub met: Option<bool>,
}

/// Runs it. `each` is given what a case came to as soon as that is known, for all of them may
/// take hours; the report, which has them too, is for [`report::end`] or JSON.
pub fn run(options: &Options, mut each: impl FnMut(&CaseResult) -> Result<()>) -> Result<Report> {
    check(options)?;
    let mut report = Report {
        ok: true,
        command: options.command(),
        machine: Machine::this(&options.dir),
        cases: Vec::new(),
        reached: Vec::new(),
        costs: Vec::new(),
        counts: Vec::new(),
        notes: notes(options),
    };
    if options.form == Form::Quick {
        report.counts = quick::run(options)?;
        report.ok = report.counts.iter().all(Held::is_within);
        return Ok(report);
    }
    // Should that be refused, it is known now, not after hours.
    if let Some(dir) = &options.plot {
        fs::create_dir_all(dir).map_err(Problem::on("make", dir))?;
    }
    let mut content: Option<Content> = None;
    for case in cases(options) {
        let mut suitable = match content.take().filter(|content| content.suits(&case)) {
            Some(content) => content,
            None => make(options, &case)?,
        };
        let result = rounds::run_case(options, &case, &mut suitable)?;
        // A system that can't do a case is a remark; a wrong byte is not.
        report.ok &= !result.failed.values().any(|why| why.contains("WRONG"));
        if let Some(dir) = &options.plot {
            report.notes.extend(plot::case(&result, dir)?);
        }
        each(&result)?;
        report.reached.extend(reached(&result));
        report.cases.push(result);
        content = Some(suitable);
    }
    drop(content);
    if options.costs || (options.form == Form::Full && options.workloads.is_empty()) {
        report.costs = costs::run(&options.dir, options.runs())?;
    }
    if let Some(dir) = &options.plot {
        report.notes.extend(plot::ratios(&report.reached, dir)?);
    }
    Ok(report)
}

fn check(options: &Options) -> Result<()> {
    let known = |name: &String| match System::from(name.clone()) {
        System::Peer(name) => options.peers.iter().any(|peer| peer.name == name),
        _ => true,
    };
    if let Some(unknown) = options.systems.iter().find(|name| !known(name)) {
        let all: Vec<String> = System::ALL.iter().map(System::to_string).collect();
        return Err(Problem::new(format!("there is no system '{unknown}': {}", all.join(", "))));
    }
    let scale = options.scale();
    if scale.memory_bytes < 1 << 20 || scale.bytes < 2 * scale.memory_bytes {
        return Err(Problem::new(
            "give a budget of 1 MiB at least, and a file of twice the budget or more: \
             --memory 64M --size 512M",
        ));
    }
    Ok(())
}

fn cases(options: &Options) -> Vec<Case> {
    let scale = options.scale();
    let workloads = options.workloads().into_iter();
    workloads.flat_map(|workload| workload.definition().cases(&scale)).collect()
}

/// Files for a case: one that also serves smaller cases, or the many that it asks for.
pub fn make(options: &Options, case: &Case) -> Result<Content> {
    let bytes = if case.files == 1 { options.scale().bytes } else { case.bytes };
    Content::make(&options.dir, bytes, case.files)
}

fn reached(result: &CaseResult) -> Vec<Reached> {
    let targets = result.case.workload.definition().targets(&result.case);
    let reached = |target: Target| {
        let ratio = report::ratio(result, &target);
        let met = ratio.map(|ratio| target.is_met(ratio));
        Reached { case: result.case.name(), target, ratio, met }
    };
    // Who has not built a peer doesn't miss it.
    let is_missed =
        |it: &Reached| it.met.is_some() || !matches!(it.target.against, System::Peer(_));
    targets.into_iter().map(reached).filter(is_missed).collect()
}

fn notes(options: &Options) -> Vec<String> {
    let mut notes = Vec::new();
    if disk::is_in_memory(&options.dir) {
        let dir = options.dir.display();
        notes.push(format!("{dir} is in memory (tmpfs): nothing is read from a device"));
    }
    if let Err(why) = faultless_measure::cgroup::Cgroup::of_limit(1 << 40) {
        notes.push(format!("WITHOUT memory limits, so the kernel's side is not comparable: {why}"));
    }
    if options.form != Form::Quick && options.runs() < 5 {
        notes.push("fewer than five runs: not enough for a median".to_owned());
    }
    notes
}
