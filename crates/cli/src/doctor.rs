//! `faultless doctor`: can Faultless be used here, and what does a fault cost?

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

use faultless::host::{self, Finding, Usable};
use faultless::{Delivery, PolicyKind};
use rustix::fs::Advice as FileAdvice;
use serde::Serialize;

use crate::args::DoctorArgs;
use crate::disk::{self, Temporary};
use crate::model::{Model, PAGE};
use crate::order::{Order, Random};
use crate::ours::{self, Setup};
use crate::output::{Outcome, Output};
use crate::plan::{Advice, Phase, Plan, Start, Touches, Work};
use crate::problem::{Problem, Result};
use crate::progress::Progress;
use crate::size::Size;
use crate::table::{self, Table};

/// The file that faults are measured on, and the budget.
const FILE_BYTES: u64 = 64 << 20;
const MEMORY_BYTES: u64 = 16 << 20;
/// Accesses that are measured.
const TOUCHES: u64 = 2000;

/// What the command found, as `--json` prints it.
#[derive(Serialize)]
struct Report {
    ok: bool,
    verdict: &'static str,
    findings: Vec<FindingReport>,
    costs: Vec<Cost>,
    /// Why there are no costs.
    costs_error: Option<String>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct FindingReport {
    subject: &'static str,
    verdict: &'static str,
    found: String,
    remedy: Option<String>,
}

/// What one way to 4 KiB of a file costs, the page not being in memory.
#[derive(Serialize)]
struct Cost {
    way: &'static str,
    accesses: u64,
    faults: Option<u64>,
    microseconds_per_page: f64,
}

/// Runs it.
pub fn run(args: &DoctorArgs, output: Output) -> Result<Outcome> {
    let findings = host::examine();
    let verdict = host::verdict(&findings);
    let dir = args.dir.clone().unwrap_or_else(disk::default_dir);
    let measured = match verdict {
        Usable::Not => Err(Problem::new("faults were not measured, since none can be served")),
        Usable::Fully | Usable::WithLimits => measure(&dir),
    };
    let mut notes = Vec::new();
    if disk::is_in_memory(&dir) {
        notes.push(format!("{} is in memory (tmpfs): its reads need no disk", dir.display()));
    }
    // Faults that should be served and aren't: whatever was found, it doesn't work.
    let outcome = match (verdict, &measured) {
        (Usable::Not, _) => Outcome::NotUsable,
        (Usable::WithLimits, _) | (Usable::Fully, Err(_)) => Outcome::Failed,
        (Usable::Fully, Ok(_)) => Outcome::Ok,
    };
    let (costs, costs_error) = match measured {
        Ok(costs) => (costs, None),
        Err(problem) => (Vec::new(), Some(problem.to_string())),
    };
    let report = Report {
        ok: outcome == Outcome::Ok,
        verdict: word(verdict),
        findings: findings.into_iter().map(FindingReport::from).collect(),
        costs,
        costs_error,
        notes,
    };
    output.print(&report, || text(&report))?;
    Ok(outcome)
}

impl From<Finding> for FindingReport {
    fn from(finding: Finding) -> FindingReport {
        FindingReport {
            subject: finding.subject,
            verdict: word(finding.verdict),
            found: finding.found,
            remedy: finding.remedy,
        }
    }
}

fn word(verdict: Usable) -> &'static str {
    match verdict {
        Usable::Fully => "ok",
        Usable::WithLimits => "limited",
        Usable::Not => "missing",
    }
}

fn measure(dir: &Path) -> Result<Vec<Cost>> {
    disk::check_room(dir, FILE_BYTES)?;
    let mut temporary = Temporary::new(dir, "doctor")?;
    let progress = Progress::bytes("writing a file", FILE_BYTES);
    temporary.fill(FILE_BYTES, Model { rounds: 0 }, &progress)?;
    drop(progress);
    Ok(vec![
        fault_cost("fault, handler thread", &temporary.path, Delivery::Thread)?,
        fault_cost("fault, inline", &temporary.path, Delivery::Inline)?,
        read_cost(&temporary.path)?,
    ])
}

/// What a random access costs that finds nothing in memory, by the pages read.
fn fault_cost(way: &'static str, path: &Path, delivery: Delivery) -> Result<Cost> {
    let touches = Touches { order: Order::Random, count: TOUCHES, write_percent: 0, seed: 1 };
    let plan = Plan {
        file: path.to_owned(),
        bytes: FILE_BYTES,
        memory_bytes: MEMORY_BYTES,
        threads: 1,
        phases: vec![Phase {
            name: way.to_owned(),
            work: Work::Touch(touches),
            advice: Advice::Random,
            start: Start::Cold,
        }],
    };
    let setup = Setup { policy: PolicyKind::default(), delivery, granule_bytes: PAGE };
    let ours = ours::run(&plan, setup)?;
    let phase = &ours.phases[0];
    // Accesses that found their page again cost next to nothing beside the others.
    let faults = phase.faults_major.max(1);
    let microseconds_per_page = phase.seconds * 1e6 / faults as f64;
    Ok(Cost { way, accesses: TOUCHES, faults: Some(phase.faults_major), microseconds_per_page })
}

/// The same by pread(2), nothing in the page cache and nothing read ahead.
fn read_cost(path: &Path) -> Result<Cost> {
    let file = File::open(path).map_err(Problem::on("open", path))?;
    disk::drop_page_cache(&file).map_err(Problem::on("flush", path))?;
    rustix::fs::fadvise(&file, 0, None, FileAdvice::Random)
        .map_err(|error| Problem::on("advise on", path)(error.into()))?;
    let mut random = Random::new(1, 0);
    let mut page = [0; PAGE as usize];
    let start = Instant::now();
    for _ in 0..TOUCHES {
        let offset = random.below(FILE_BYTES / PAGE) * PAGE;
        file.read_exact_at(&mut page, offset).map_err(Problem::on("read", path))?;
    }
    let microseconds_per_page = start.elapsed().as_secs_f64() * 1e6 / TOUCHES as f64;
    Ok(Cost { way: "pread of 4 KiB", accesses: TOUCHES, faults: None, microseconds_per_page })
}

fn text(report: &Report) -> String {
    let mut table = Table::new(3, &["verdict", "what", "found"]);
    for finding in &report.findings {
        let mut lines = finding.found.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        table.row(vec![finding.verdict.to_owned(), finding.subject.to_owned(), first]);
        let remedy = finding.remedy.iter().map(|remedy| format!("remedy: {remedy}"));
        for line in lines.map(str::to_owned).chain(remedy) {
            table.row(vec![String::new(), String::new(), line]);
        }
    }
    let mut text = format!("{table}\n");
    if !report.costs.is_empty() {
        let mut table = Table::new(1, &["a page from the disk by", "µs each"]);
        for cost in &report.costs {
            let each = format!("{:.1}", cost.microseconds_per_page);
            table.row(vec![cost.way.to_owned(), each]);
        }
        let (file, memory) = (Size(FILE_BYTES), Size(MEMORY_BYTES));
        text += &format!("{table}({TOUCHES} random accesses to {file} under {memory})\n\n");
    }
    if let Some(error) = &report.costs_error {
        text += &format!("{error}\n\n");
    }
    text += &table::notes(&report.notes);
    text += match report.verdict {
        "ok" => "Faultless can be used here.\n",
        "limited" => "Faultless can be used here, with the limits above.\n",
        _ => "Faultless can NOT be used here; see what is missing above.\n",
    };
    text
}
