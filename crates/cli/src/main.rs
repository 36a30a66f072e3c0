//! The tool of Faultless: see `args.rs` for what it does, one file per command for how.
//!
//! ```text
//! main → demo, scan ─► plan ─► ours   (Faultless, here)      ─► walk ─► touch
//!                         └──► kernel (mmap, in a child)      ─► walk ─► touch
//!        cat, doctor, scenario, broker, run
//!        bench ─► faultless_bench
//! ```

#![forbid(unsafe_code)]

mod args;
mod bench;
mod broker;
mod cat;
mod demo;
mod doctor;
mod heir;
mod kernel;
mod ours;
mod output;
mod plan;
mod run;
mod scan;
mod scenario;
mod table;
mod walk;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use faultless_measure::{
    cgroup, child, cleanup, counters, disk, model, order, problem, progress, size, touch,
};

/// So that the benchmark can say what is allocated where nothing should be.
#[global_allocator]
static ALLOCATOR: faultless_bench::allocations::Counting = faultless_bench::allocations::Counting;

use args::{Arguments, Command, KernelWalkArgs};
use output::{Outcome, Output};
use problem::{Problem, Result};

/// What a process that SIGPIPE ended answers.
const READER_GONE: u8 = 128 + 13;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = if arguments.json { Output::Json } else { Output::Text };
    match run(&arguments.command, output) {
        Ok(outcome) => outcome.into(),
        Err(Problem::ReaderGone) => ExitCode::from(READER_GONE),
        Err(Problem::Usage(text)) => {
            let mut command = Arguments::command();
            command.error(ErrorKind::ArgumentConflict, text).exit()
        }
        Err(problem) => {
            eprintln!("faultless: {problem}");
            if output == Output::Json {
                let report = serde_json::json!({ "ok": false, "error": problem.to_string() });
                let _ = output.print(&report, String::new);
            }
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command, output: Output) -> Result<Outcome> {
    match command {
        // A child ends as its parent or a signal wants it to; `cat` leaves nothing behind.
        Command::KernelWalk(args) => return kernel_walk(args),
        Command::Heir => return heir::run(),
        Command::BenchRun { job } => {
            return faultless_bench::child::run(job).map(|()| Outcome::Ok);
        }
        Command::Cat(args) => return cat::run(args),
        // It ends by signals, when everything has been written back.
        Command::Broker(args) => return broker::run(args, output),
        // Signals are for the program that it runs.
        Command::Run(args) => return run::run(args),
        Command::Demo(_)
        | Command::Scan(_)
        | Command::Scenario(_)
        | Command::Doctor(_)
        | Command::Bench(_) => {}
    }
    cleanup::on_signals()
        .map_err(|error| Problem::new(format!("cannot handle signals: {error}")))?;
    match command {
        Command::Demo(args) => demo::run(args, output),
        Command::Scan(args) => scan::run(args, output),
        Command::Scenario(args) => scenario::run(args, output),
        Command::Doctor(args) => doctor::run(args, output),
        Command::Bench(args) => bench::run(args, output),
        Command::KernelWalk(_)
        | Command::BenchRun { .. }
        | Command::Heir
        | Command::Cat(_)
        | Command::Broker(_)
        | Command::Run(_) => unreachable!("done above"),
    }
}

fn kernel_walk(args: &KernelWalkArgs) -> Result<Outcome> {
    let plan = serde_json::from_str(&args.plan)
        .map_err(|error| Problem::new(format!("not a plan: {error}")))?;
    let walked = kernel::walk_here(&plan, args.join.as_deref())?;
    Output::Json.print(&walked, String::new)?;
    Ok(Outcome::Ok)
}
