//! Runs what the options ask for, and says what came of it.

use std::fs;

use faultless_measure::disk;
use faultless_measure::machine::Machine;
use faultless_measure::problem::{Problem, Result};
use rustix::fs::{Access, access};
use serde::Serialize;

use crate::case::Case;
use crate::content::Content;
use crate::costs::{self, Cost};
use crate::options::{Form, Options};
use crate::quick::{self, Held};
use crate::rounds::{self, CaseResult, Limits};
use crate::spread::Spread;
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
    /// The ratios of all rounds; none where a side could not be measured.
    #[serde(rename = "ratio")]
    pub spread: Option<Spread>,
    /// Was it reached? Nobody can say where nothing bounds what the other side takes.
    pub met: Option<bool>,
}

/// Runs it. `each` is given what a case came to as soon as that is known, for all of them may
/// take hours; the report, which has them too, is for [`report::end`] or JSON.
pub fn run(options: &Options, mut each: impl FnMut(&CaseResult) -> Result<()>) -> Result<Report> {
    check(options)?;
    // Thousands of files: for us, and for the children, which inherit it.
    faultless_sys::process::allow_most_descriptors();
    let (limits, unlimited) = Limits::here();
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
    if let Some(why) = unlimited {
        let note = format!("WITHOUT memory limits, so nothing compares: {why}");
        eprintln!("note: {note}");
        report.notes.push(note);
    }
    if options.form == Form::Quick {
        report.counts = quick::run(options, limits)?;
        report.ok = report.counts.iter().all(Held::is_within);
        return Ok(report);
    }
    // Should that be refused, it is known now, not after hours.
    if let Some(dir) = &options.plot {
        fs::create_dir_all(dir).map_err(Problem::on("make", dir))?;
        access(dir, Access::WRITE_OK).map_err(|why| Problem::on("write to", dir)(why.into()))?;
    }
    let mut content: Option<Content> = None;
    for case in cases(options) {
        let mut suitable = match content.take().filter(|content| content.suits(&case)) {
            Some(content) => content,
            None => make(options, &case)?,
        };
        let result = rounds::run_case(options, limits, &case, &mut suitable)?;
        report.ok &= is_good(options, &result);
        if let Some(dir) = &options.plot {
            report.notes.extend(plot::case(&result, dir));
        }
        each(&result)?;
        report.reached.extend(reached(&result, limits));
        report.cases.push(result);
        content = Some(suitable);
    }
    drop(content);
    if options.costs || (options.form == Form::Full && options.workloads.is_empty()) {
        report.costs = costs::run(&options.dir, options.runs())?;
    }
    if let Some(dir) = &options.plot {
        report.notes.extend(plot::ratios(&report.reached, dir));
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
    let is_played = options.workloads().is_empty() || !cases(options).is_empty();
    if options.form != Form::Quick && !is_played {
        let system = options.systems.join(" or ");
        let workloads: Vec<String> = options.workloads().iter().map(|it| it.to_string()).collect();
        let workloads = workloads.join(" or ");
        return Err(Problem::new(format!("{workloads} isn't played by {system}")));
    }
    Ok(())
}

/// What somebody who is asked for can play.
fn cases(options: &Options) -> Vec<Case> {
    let scale = options.scale();
    let workloads = options.workloads().into_iter();
    let cases = workloads.flat_map(|workload| workload.definition().cases(&scale));
    cases.filter(|case| !rounds::systems(options, case).is_empty()).collect()
}

/// A system that can't do a case is a remark. A wrong byte is not, nor who was asked for by
/// name, nor a case that nobody could do.
fn is_good(options: &Options, result: &CaseResult) -> bool {
    let is_wanted = |system: &System| {
        matches!(system, System::Peer(_)) || options.systems.contains(&system.to_string())
    };
    let mut failed = result.failed.iter();
    !result.runs.is_empty() && !failed.any(|(who, why)| is_wanted(who) || why.contains("WRONG"))
}

/// Files for a case: one that also serves smaller cases, or the many that it asks for.
pub fn make(options: &Options, case: &Case) -> Result<Content> {
    let bytes = if case.files == 1 { options.scale().bytes } else { case.bytes };
    Content::make(&options.dir, bytes, case.files)
}

fn reached(result: &CaseResult, limits: Limits) -> Vec<Reached> {
    let targets = result.case.workload.definition().targets(&result.case);
    let reached = |target: Target| {
        let spread = report::ratio(result, &target);
        let compared = spread.filter(|_| limits == Limits::Cgroups);
        let met = compared.map(|spread| target.is_met(spread.median));
        Reached { case: result.case.name(), target, spread, met }
    };
    // Who has not built a peer doesn't miss it.
    let is_missed =
        |it: &Reached| it.spread.is_some() || !matches!(it.target.against, System::Peer(_));
    targets.into_iter().map(reached).filter(is_missed).collect()
}

fn notes(options: &Options) -> Vec<String> {
    let mut notes = Vec::new();
    if disk::is_in_memory(&options.dir) {
        let dir = options.dir.display();
        notes.push(format!("{dir} is in memory (tmpfs): nothing is read from a device"));
    }
    if options.form != Form::Quick && options.runs() < 5 {
        notes.push("fewer than five runs: not enough for a median".to_owned());
    }
    notes
}
