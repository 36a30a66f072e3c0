//! Interleaved runs: every system once, then every system again, each in a child of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use faultless_measure::cgroup::{self, Cgroup};
use faultless_measure::child::output;
use faultless_measure::cleanup;
use faultless_measure::disk;
use faultless_measure::machine;
use faultless_measure::model::PAGE_WORDS;
use faultless_measure::problem::{Problem, Result};
use faultless_sys::step;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::belady;
use crate::case::Case;
use crate::content::{Content, each_word, expected_sum};
use crate::job::{Amount, ChildJob, Count, Job, Measured};
use crate::options::Options;
use crate::peer::{self, Peer};
use crate::shape::Shape;
use crate::spread::Spread;
use crate::system::System;

/// The command of the tool that is a child's: `faultless bench-run JOB`.
pub const CHILD_COMMAND: &str = "bench-run";
/// Before the child says how much it needs: enough for any program to start.
const LIMIT_AT_START: u64 = 1 << 40;
/// What most machines read ahead.
const SMALL_AHEAD_KIB: u64 = 128;

/// What bounds the memory of children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// Cgroups, of which each run gets its own.
    Cgroups,
    /// Nothing, for cgroups can't be made here.
    None,
}

impl Limits {
    /// What can be had here; where that is nothing, why.
    pub fn here() -> (Limits, Option<String>) {
        match Cgroup::of_limit(LIMIT_AT_START) {
            Ok(_) => (Limits::Cgroups, None),
            Err(why) => (Limits::None, Some(why)),
        }
    }

    fn cgroup(self) -> Result<Option<Cgroup>> {
        let refused = |why| Problem::new(format!("its memory can't be bounded any more: {why}"));
        match self {
            Limits::Cgroups => Cgroup::of_limit(LIMIT_AT_START).map(Some).map_err(refused),
            Limits::None => Ok(None),
        }
    }
}

/// What a case came to.
#[derive(Debug, Serialize)]
pub struct CaseResult {
    /// The case.
    pub case: Case,
    /// By system, run by run.
    pub runs: BTreeMap<System, Vec<Measured>>,
    /// Systems that could not do it, and why.
    pub failed: BTreeMap<System, String>,
    /// Hits of a hundred accesses at best, if that can be said.
    pub best_hit_percent: Option<f64>,
}

impl CaseResult {
    /// The run of a system whose rate is in the middle: of an even number, the better of two.
    pub fn median(&self, system: &System) -> Option<&Measured> {
        let mut runs: Vec<&Measured> = self.runs.get(system)?.iter().collect();
        runs.sort_by(|a, b| a.rate().total_cmp(&b.rate()));
        runs.get(runs.len() / 2).copied()
    }

    /// What `figure` is for `ours`, by what it is for `against` in the same round.
    pub fn ratio(
        &self,
        ours: &System,
        against: &System,
        figure: impl Fn(&Measured) -> f64,
    ) -> Option<Spread> {
        let rounds = self.runs.get(ours)?.iter().zip(self.runs.get(against)?);
        Spread::of(rounds.map(|(ours, theirs)| figure(ours) / figure(theirs).max(1e-9)).collect())
    }
}

/// Who is asked for and can do a case.
pub fn systems(options: &Options, case: &Case) -> Vec<System> {
    let mut systems = case.workload.definition().systems();
    if peer::can_play(case) {
        systems.extend(options.peers.iter().map(|peer| System::Peer(peer.name.clone())));
    }
    systems.retain(|system| options.wants(system));
    systems
}

/// Runs a case as often as the options say.
pub fn run_case(
    options: &Options,
    limits: Limits,
    case: &Case,
    content: &mut Content,
) -> Result<CaseResult> {
    let systems = systems(options, case);
    let mut result = CaseResult {
        case: case.clone(),
        runs: BTreeMap::new(),
        failed: BTreeMap::new(),
        best_hit_percent: best_hits(case),
    };
    let mut expected = Expected { case, known: None };
    for round in 0..options.runs() {
        // There and back: none always has the disk right after the same other one.
        let turn =
            (0..systems.len()).map(|n| if round % 2 == 0 { n } else { systems.len() - 1 - n });
        for system in turn.map(|n| &systems[n]) {
            if result.failed.contains_key(system) {
                continue;
            }
            let done = run_once((options, limits), case, system, content, Count::Cheap);
            let checked = done.and_then(|measured| expected.check(measured));
            // Stores of a run that broke off are known to nobody.
            let stored = match (&checked, case.write_percent) {
                (_, 0) => Ok(()),
                (Ok(_), _) => content.verify_stores(case),
                (Err(_), _) => content.renew(),
            };
            match stored.and(checked) {
                Ok(measured) => {
                    let (name, rate) = (case.name(), measured.rate());
                    let of = options.runs();
                    eprintln!("{name}: run {} of {of}: {system} {rate:.0}/s", round + 1);
                    result.runs.entry(system.clone()).or_default().push(measured);
                }
                Err(problem) => {
                    eprintln!("{}: {system}: {problem}", case.name());
                    result.runs.remove(system);
                    result.failed.insert(system.clone(), problem.to_string());
                }
            }
        }
    }
    Ok(result)
}

/// What sums must be, computed once where all runs do the same.
struct Expected<'a> {
    case: &'a Case,
    known: Option<(Amount, u64)>,
}

impl Expected<'_> {
    fn check(&mut self, measured: Measured) -> Result<Measured> {
        let sum = match self.known {
            Some((amount, sum)) if amount == measured.amount => sum,
            _ => expected_sum(self.case, measured.amount),
        };
        self.known = Some((measured.amount, sum));
        match measured.sum == sum {
            true => Ok(measured),
            false => Err(Problem::new("WRONG: what it read is not what the file holds")),
        }
    }
}

/// The hit ratio of Belady's rule, where accesses are known beforehand.
fn best_hits(case: &Case) -> Option<f64> {
    let is_told = case.write_percent == 0 && case.timed <= 64 * case.frames();
    match case.workload.definition().shape(case) {
        Shape::Accesses(sequence) if is_told => {
            let mut pages = Vec::new();
            each_word(&*sequence, case.warm + case.timed, |_, word| pages.push(word / PAGE_WORDS));
            let hits = belady::hits(&pages, case.warm as usize, case.frames() as usize);
            Some(100.0 * hits as f64 / case.timed as f64)
        }
        _ => None,
    }
}

/// One run in a child.
pub fn run_once(
    (options, limits): (&Options, Limits),
    case: &Case,
    system: &System,
    content: &Content,
    count: Count,
) -> Result<Measured> {
    let peer = options.peers.iter().find(|peer| *system == System::Peer(peer.name.clone()));
    let cgroup = limits.cgroup()?;
    let mut job = Job {
        case: case.clone(),
        system: system.clone(),
        files: content.set().clone(),
        cgroup: cgroup.as_ref().map(|cgroup| cgroup.dir().to_owned()),
        count,
    };
    if *system == System::Device && matches!(case.workload.definition().shape(case), Shape::Scan) {
        job.case.threads = 4; // So that it has always something to read.
    }
    let measured = match peer {
        Some(peer) => run_peer(peer, &job)?,
        None => {
            let stdin = match job.system {
                System::KernelSmallAhead => Stdio::from(open_with_small_ahead(&job.files.path(0))?),
                _ => Stdio::null(),
            };
            run_child(&ChildJob::Run(job), stdin)?
        }
    };
    let peak = cgroup.as_ref().and_then(Cgroup::held_bytes_max);
    Ok(Measured { peak_bytes: peak.unwrap_or(measured.peak_bytes), ..measured })
}

/// Has a child do a job; answers what it tells.
pub fn run_child<T: DeserializeOwned>(job: &ChildJob, stdin: Stdio) -> Result<T> {
    let mut command = command(job)?;
    command.stdin(stdin);
    let (told, ()) = output(command, |_| Ok(()))?;
    parse(&told)
}

/// Has a child do a job that it marks; answers what it tells, and how many instructions there
/// were from each mark to the next.
pub fn run_stepped<T: DeserializeOwned>(job: &ChildJob) -> Result<(T, Vec<u64>)> {
    let mut command = command(job)?;
    command.stdin(Stdio::null());
    let follow = |child: &Child| {
        let lost = |errno| Problem::new(format!("its process can't be stepped: {errno}"));
        step::follow(child.id()).map_err(lost)
    };
    let (told, counts) = output(command, follow)?;
    Ok((parse(&told)?, counts))
}

/// This program as a child that does a job.
fn command(job: &ChildJob) -> Result<Command> {
    let exe = std::env::current_exe().map_err(Problem::on("find", Path::new("/proc/self/exe")))?;
    let mut command = Command::new(exe);
    command.arg(CHILD_COMMAND).arg(serde_json::to_string(job).expect("a job has a JSON form"));
    Ok(command)
}

fn parse<T: DeserializeOwned>(told: &str) -> Result<T> {
    serde_json::from_str(told).map_err(|error| Problem::new(format!("not a result: {error}")))
}

fn run_peer(peer: &Peer, job: &Job) -> Result<Measured> {
    if let Some(dir) = &job.cgroup {
        let limit = job.growth_bytes_max() + peer::START_BYTES + peer::list_bytes(&job.case);
        cgroup::limit_growth(dir, limit).map_err(Problem::on("limit", dir))?;
    }
    let path = job.files.path(0);
    let file = File::open(&path).map_err(Problem::on("open", &path))?;
    disk::drop_page_cache(&file).map_err(Problem::on("flush", &path))?;
    let (command, _list) = peer::command(peer, job)?;
    let (told, ()) = output(command, |_| Ok(()))?;
    peer::parse(&job.case, &told)
}

/// Opens a file while its device reads ahead as most do: what counts is the setting at that
/// moment, and it is set back at once.
fn open_with_small_ahead(path: &Path) -> Result<File> {
    let plain = |error: std::io::Error| {
        Problem::new(format!("its read-ahead can't be set to {SMALL_AHEAD_KIB} KiB: {error}"))
    };
    let setting = machine::read_ahead_setting(path).map_err(plain)?;
    let before = fs::read_to_string(&setting).map_err(plain)?;
    // Under the lock of what signals undo: none comes in between.
    let opened = cleanup::uninterrupted(|| {
        fs::write(&setting, SMALL_AHEAD_KIB.to_string())?;
        let file = File::open(path);
        fs::write(&setting, before.trim())?;
        file
    });
    opened.map_err(plain)
}
