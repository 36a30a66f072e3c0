//! A plan carried out by Faultless.

use std::fs::{File, OpenOptions};
use std::time::Instant;

use faultless::{Delivery, MapOptions, MapRaw, OnError, PolicyKind, Stats, Vm};
use serde::Serialize;

use crate::counters::RssSampler;
use crate::disk;
use crate::model::PAGE;
use crate::plan::{Phase, PhaseResult, Plan, Start, Work};
use crate::problem::{Problem, Result};
use crate::progress::Progress;
use crate::touch::{Words, Writes};
use crate::walk::{Done, steps, walk};

/// How Faultless is to be set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Which page leaves.
    pub policy: PolicyKind,
    /// Who serves faults.
    pub delivery: Delivery,
    /// Bytes that come in together.
    pub granule_bytes: u64,
}

/// What Faultless did, and what it took.
#[derive(Clone, Debug, Serialize)]
pub struct Ours {
    /// Phase by phase.
    pub phases: Vec<PhaseResult>,
    /// The budget.
    pub memory_bytes: u64,
    /// The most page memory that was in use at once.
    pub frames_bytes_max: u64,
    /// The page memory that there is: the budget less what copies in progress take.
    pub frames_bytes_total: u64,
    /// The tables of the engine.
    pub bookkeeping_bytes: u64,
    /// How much the process's resident memory grew, at most.
    pub rss_growth_bytes_max: u64,
}

/// Carries out the plan.
pub fn run(plan: &Plan, setup: Setup) -> Result<Ours> {
    let writes = plan.writes();
    let path = &plan.file;
    let file = OpenOptions::new().read(true).write(writes == Writes::Allowed).open(path);
    let file = file.map_err(Problem::on("open", path))?;
    let rss = RssSampler::start();
    let vm = Vm::builder().memory(plan.memory_bytes).policy(setup.policy).build()?;
    // An error of the disk is to be told at the end, not to kill the process.
    let options = MapOptions::new()
        .delivery(setup.delivery)
        .granule(setup.granule_bytes)
        .on_error(OnError::Zeros);
    let map = match writes {
        Writes::Allowed => options.map_raw_mut(&vm, &file)?,
        Writes::Refused => options.map_raw(&vm, &file)?,
    };
    let mut phases = Vec::new();
    let mut bookkeeping_bytes = 0;
    for phase in &plan.phases {
        phases.push(run_phase(plan, phase, &vm, &map, &file)?);
        bookkeeping_bytes = bookkeeping_bytes.max(vm.stats().bookkeeping_bytes);
    }
    map.check()?;
    let stats = vm.stats();
    Ok(Ours {
        phases,
        memory_bytes: vm.memory(),
        frames_bytes_max: stats.frames_used_max * PAGE,
        frames_bytes_total: stats.frames_total * PAGE,
        bookkeeping_bytes,
        rss_growth_bytes_max: rss.growth_bytes_max(),
    })
}

fn run_phase(
    plan: &Plan,
    phase: &Phase,
    vm: &Vm,
    map: &MapRaw,
    file: &File,
) -> Result<PhaseResult> {
    if phase.start == Start::Cold {
        map.flush()?;
        map.release(0, map.len() as u64)?;
        disk::drop_page_cache(file).map_err(Problem::on("flush", &plan.file))?;
    }
    map.advise(phase.advice.pattern())?;
    let progress = Progress::steps(phase.name.clone(), steps(&phase.work, plan.bytes));
    let before = vm.stats();
    let start = Instant::now();
    let done = match phase.work {
        Work::Flush => {
            map.flush()?;
            Done::default()
        }
        _ => {
            let words = Words::of_map(map, plan.writes());
            walk(words, plan.bytes, &phase.work, plan.threads, &progress)
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    let result = PhaseResult::new(phase, done, seconds);
    Ok(with_stats(result, &before, &vm.stats()))
}

fn with_stats(result: PhaseResult, before: &Stats, after: &Stats) -> PhaseResult {
    let read = |stats: &Stats| stats.pages_demanded + stats.pages_ahead;
    PhaseResult {
        faults_major: after.faults_major - before.faults_major,
        faults_minor: after.faults_minor - before.faults_minor,
        faults_joined: Some(after.faults_joined - before.faults_joined),
        faults_write: Some(after.faults_write - before.faults_write),
        bytes_read: (read(after) - read(before)) * PAGE,
        bytes_written: (after.pages_written - before.pages_written) * PAGE,
        evictions: Some(after.evictions - before.evictions),
        ..result
    }
}
