//! `faultless demo`: a file far bigger than the budget, walked, changed and verified,
//! beside the kernel's mmap.

use std::path::{Path, PathBuf};

use faultless::{Delivery, PolicyKind};
use serde::Serialize;

use crate::args::DemoArgs;
use crate::disk::{self, Temporary};
use crate::kernel::{self, Kernel};
use crate::model::{Model, PAGE, Wrong};
use crate::order::Order;
use crate::ours::{self, Ours, Setup};
use crate::output::{Outcome, Output};
use crate::plan::{Advice, Phase, Plan, Start, Touches, Work};
use crate::problem::{Problem, Result};
use crate::progress::Progress;
use crate::size::Size;
use crate::table;

/// Threads that touch the file.
const THREADS: u64 = 2;
/// Random accesses, at most.
const RANDOM_TOUCHES_MAX: u64 = 60_000;

/// What the command found, as `--json` prints it.
#[derive(Serialize)]
struct Report {
    ok: bool,
    file: PathBuf,
    file_bytes: u64,
    memory_bytes: u64,
    threads: u64,
    faultless: Ours,
    kernel: Option<Kernel>,
    /// Why there is no `kernel`.
    kernel_error: Option<String>,
    verified: Verified,
    notes: Vec<String>,
}

/// The file, read by plain read(2) after everything.
#[derive(Serialize)]
struct Verified {
    bytes_after_faultless: u64,
    bytes_after_kernel: u64,
    #[serde(flatten)]
    wrong: Wrong,
}

/// Runs it.
pub fn run(args: &DemoArgs, output: Output) -> Result<Outcome> {
    let bytes = args.size.0 / PAGE * PAGE;
    if bytes < PAGE {
        return Err(Problem::new("the file must have a page at least: --size 4096 or more"));
    }
    let dir = args.dir.clone().unwrap_or_else(disk::default_dir);
    let free = disk::check_room(&dir, bytes)?;
    output.note(format_args!(
        "a file of {} in {} ({} free), a budget of {}",
        Size(bytes),
        dir.display(),
        Size(free),
        args.memory
    ));
    let mut temporary = Temporary::new(&dir, "demo")?;
    let before = Model { rounds: 0 };
    temporary.fill(bytes, before, &Progress::bytes("writing the file", bytes))?;

    let path = temporary.path.clone();
    let setup =
        Setup { policy: PolicyKind::default(), delivery: Delivery::Thread, granule_bytes: PAGE };
    let faultless = ours::run(&plan(&path, bytes, args.memory, before), setup)?;
    let after = Model { rounds: 1 };
    let (bytes_after_faultless, mut wrong) = verify(&temporary, after)?;

    // The kernel goes on from there: its own round of changes, verified as well.
    let kernel = kernel::run(&plan(&path, bytes, args.memory, after));
    let mut bytes_after_kernel = 0;
    if kernel.is_ok() {
        let (bytes, more) = verify(&temporary, Model { rounds: 2 })?;
        bytes_after_kernel = bytes;
        wrong.add(more);
    }
    let mut notes = Vec::new();
    if disk::is_in_memory(&path) {
        notes.push(format!(
            "{} is in memory (tmpfs): nothing was read from a disk, and a memory cgroup does \
             not count what the file itself takes",
            dir.display()
        ));
    }
    if args.keep {
        notes.push(format!("the file is kept: {}", path.display()));
        temporary.keep();
    }
    let (kernel, kernel_error) = match kernel {
        Ok(kernel) => (Some(kernel), None),
        Err(problem) => (None, Some(problem.to_string())),
    };
    let report = Report {
        ok: is_right(&faultless, kernel.as_ref(), wrong, bytes, bytes_after_faultless),
        file: path,
        file_bytes: bytes,
        memory_bytes: args.memory.0,
        threads: THREADS,
        faultless,
        kernel,
        kernel_error,
        verified: Verified { bytes_after_faultless, bytes_after_kernel, wrong },
        notes,
    };
    output.print(&report, || text(&report))?;
    Ok(if report.ok { Outcome::Ok } else { Outcome::Failed })
}

/// In order, at random, changed, durable.
fn plan(file: &Path, bytes: u64, memory: Size, model: Model) -> Plan {
    let count = (bytes / PAGE).min(RANDOM_TOUCHES_MAX);
    let touches = Touches { order: Order::Random, count, write_percent: 0, seed: model.rounds };
    let phase = |name: &str, work, advice, start| Phase { name: name.into(), work, advice, start };
    Plan {
        file: file.to_owned(),
        bytes,
        memory_bytes: memory.0,
        threads: THREADS,
        phases: vec![
            phase("in order", Work::Check { model }, Advice::Sequential, Start::Cold),
            phase("at random", Work::Probe { model, touches }, Advice::Random, Start::Cold),
            phase("change 1 of 16 pages", Work::Change { model }, Advice::Random, Start::Cold),
            phase("flush", Work::Flush, Advice::Random, Start::Warm),
        ],
    }
}

/// Reads every byte of the file as any program would.
fn verify(temporary: &Temporary, model: Model) -> Result<(u64, Wrong)> {
    let path = &temporary.path;
    // So that the disk is read, and not what is in the page cache.
    disk::drop_page_cache(&temporary.file).map_err(Problem::on("flush", path))?;
    let size = temporary.file.metadata().map_err(Problem::on("examine", path))?.len();
    let progress = Progress::bytes("verifying the file", size);
    let mut wrong = Wrong::default();
    let bytes = disk::read_all(path, &progress, |offset, chunk| {
        wrong.add(model.check(offset, chunk));
    })?;
    Ok((bytes, wrong))
}

fn is_right(ours: &Ours, kernel: Option<&Kernel>, wrong: Wrong, bytes: u64, read: u64) -> bool {
    let theirs = kernel.into_iter().flat_map(|kernel| &kernel.walked.phases);
    let mut phases = ours.phases.iter().chain(theirs);
    let is_within_budget = ours.frames_bytes_max <= ours.memory_bytes;
    wrong.is_none()
        && bytes == read
        && is_within_budget
        && phases.all(|phase| phase.wrong.is_none())
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "{} file, {} budget, {} threads\n\n{}\n{}",
        Size(report.file_bytes),
        Size(report.memory_bytes),
        report.threads,
        table::phases(&report.faultless, report.kernel.as_ref()),
        table::memory(&report.faultless, report.kernel.as_ref()),
    );
    if let Some(error) = &report.kernel_error {
        text += &format!("{error}\n");
    }
    text += &table::notes(&report.notes);
    let phases = &report.faultless.phases;
    for phase in phases.iter().filter(|phase| !phase.wrong.is_none()) {
        text += &format!("WRONG        in phase '{}': {}\n", phase.name, phase.wrong);
    }
    let read = Size(report.verified.bytes_after_faultless);
    text += &match report.verified.wrong.is_none() {
        true => format!("verified     every byte of the file by plain reads: {read}, all right\n"),
        false => format!("WRONG        in the file, by plain reads: {}\n", report.verified.wrong),
    };
    text
}
