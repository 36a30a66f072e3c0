//! The same plan carried out by the kernel's mmap, in a child of its own: there a
//! cgroup can bound it, and what it takes is not mixed with what Faultless takes.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::cgroup::{self, Bound, Cgroup};
use crate::child;
use crate::counters::{Counters, RssSampler};
use crate::disk;
use crate::plan::{Phase, PhaseResult, Plan, Start, Work};
use crate::problem::{Problem, Result};
use crate::progress::Progress;
use crate::touch::{KernelMap, Writes};
use crate::walk::{Done, walk};

/// What the child tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Walked {
    /// Phase by phase.
    pub phases: Vec<PhaseResult>,
    /// How much the child's resident memory grew, at most.
    pub rss_growth_bytes_max: u64,
}

/// What the kernel's mmap did, and under which bound.
#[derive(Clone, Debug, Serialize)]
pub struct Kernel {
    /// What the child told.
    #[serde(flatten)]
    pub walked: Walked,
    /// What bounded it.
    pub bound: Bound,
}

/// Runs the plan in a child, bounded if that is permitted.
pub fn run(plan: &Plan) -> Result<Kernel> {
    let cgroup = Cgroup::new(plan.memory_bytes);
    let _progress = Progress::spinner("the kernel's mmap");
    let dir = cgroup.as_ref().ok().map(Cgroup::dir);
    let walked = run_child(plan, dir)?;
    let bound = match &cgroup {
        Ok(cgroup) => cgroup.bound(),
        Err(why) => Bound::Unbounded { why: why.clone() },
    };
    Ok(Kernel { walked, bound })
}

fn run_child(plan: &Plan, cgroup: Option<&Path>) -> Result<Walked> {
    let failed = |what: String| Problem::new(format!("the kernel's mmap could not be run: {what}"));
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let mut command = Command::new(program);
    command.arg("kernel-walk").arg(serde_json::to_string(plan).expect("a plan has a JSON form"));
    if let Some(dir) = cgroup {
        command.arg("--join").arg(dir);
    }
    command.stdin(Stdio::null());
    let (told, ()) = child::output(command, |_| Ok(())).map_err(|why| failed(why.to_string()))?;
    serde_json::from_str(&told).map_err(|error| failed(error.to_string()))
}

/// The child's part: carries out the plan and prints what happened.
pub fn walk_here(plan: &Plan, cgroup: Option<&Path>) -> Result<Walked> {
    // Should the parent be killed outright, nobody else would end this.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Problem::new(format!("cannot depend on the parent: {error}")))?;
    if let Some(dir) = cgroup {
        cgroup::join(dir).map_err(Problem::on("join", dir))?;
    }
    let path = &plan.file;
    let writes = plan.writes();
    let file = OpenOptions::new().read(true).write(writes == Writes::Allowed).open(path);
    let file = file.map_err(Problem::on("open", path))?;
    let rss = RssSampler::start();
    let mut map = None;
    let mut phases = Vec::new();
    for phase in &plan.phases {
        phases.push(run_phase(plan, phase, &file, &mut map).map_err(Problem::on("map", path))?);
    }
    Ok(Walked { phases, rss_growth_bytes_max: rss.growth_bytes_max() })
}

fn run_phase(
    plan: &Plan,
    phase: &Phase,
    file: &File,
    map: &mut Option<KernelMap>,
) -> std::io::Result<PhaseResult> {
    if phase.start == Start::Cold {
        // Pages that are mapped stay in the page cache: unmap first.
        *map = None;
        disk::drop_page_cache(file)?;
    }
    let map = match map {
        Some(map) => map,
        None => map.insert(KernelMap::new(file, plan.bytes, plan.writes())?),
    };
    map.advise(phase.advice.pattern())?;
    let before = Counters::now();
    let start = Instant::now();
    let done = match phase.work {
        Work::Flush => {
            map.flush()?;
            Done::default()
        }
        _ => walk(map.words(), plan.bytes, &phase.work, plan.threads, &Progress::hidden()),
    };
    let seconds = start.elapsed().as_secs_f64();
    let counted = Counters::now().since(before);
    Ok(PhaseResult {
        faults_major: counted.faults_major,
        faults_minor: counted.faults_minor,
        bytes_read: counted.bytes_read,
        bytes_written: counted.bytes_written,
        ..PhaseResult::new(phase, done, seconds)
    })
}
