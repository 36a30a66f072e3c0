//! Faultless held against Linux, as a tool: random runs of any length, and the table of
//! the checklist.

#![forbid(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};
use faultless_judge::Budget;
use faultless_judge::differ::{Order, Report, Sides};
use faultless_judge::support;
use faultless_judge::table::{self, Line};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Holds Faultless against the kernel that this runs on, and against a model of Linux.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Random calls on two systems, until they differ or all are made.
    Differ(Differ),
    /// Every line of the checklist on the kernel, the model and Faultless, as a table.
    Directed,
    /// The table of Linux's calls, as README has it.
    Support {
        /// Put it into this file, between the marks there.
        #[arg(long)]
        write: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
struct Differ {
    /// Which system, against what.
    #[arg(long, value_enum, default_value_t = Sides::Faultless)]
    system: Sides,
    /// Faultless' memory.
    #[arg(long, value_enum, default_value_t = Budget::Few)]
    frames: Budget,
    /// The first episode's seed; each further one has the next.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Calls in all.
    #[arg(long, default_value_t = 100_000)]
    calls: u64,
    /// Go on after a difference, up to so many.
    #[arg(long, default_value_t = 1)]
    differences: usize,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let done = match command {
        Command::Differ(options) => differ(&options),
        Command::Directed => directed(),
        Command::Support { write } => support(write.as_deref()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faultless-judge: {error}");
            ExitCode::FAILURE
        }
    }
}

fn directed() -> io::Result<bool> {
    println!("{}", table::head());
    let mut lines = Vec::new();
    for line in table::lines() {
        let line = line?;
        println!("{line}");
        lines.push(line);
    }
    println!("{}", table::foot(&lines));
    Ok(lines.iter().all(Line::is_right))
}

fn support(write: Option<&Path>) -> io::Result<bool> {
    let lines: Vec<Line> = table::lines().collect::<io::Result<_>>()?;
    let section = support::section(&lines);
    match write {
        None => print!("{section}"),
        Some(path) => {
            let text = std::fs::read_to_string(path)?;
            std::fs::write(path, support::put_in(&text, &section).map_err(io::Error::other)?)?;
        }
    }
    Ok(lines.iter().all(Line::is_right))
}

fn differ(options: &Differ) -> io::Result<bool> {
    let Differ { system, frames, seed, calls, differences, json } = *options;
    let order = Order { sides: system, budget: frames, seed, calls, differences_max: differences };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} calls {per_sec}");
    let bar = ProgressBar::new(calls).with_style(style.expect("a template that is known"));
    let (mut told, mut left_out) = (0, 0);
    let report = order.run(|report| {
        bar.set_position(report.calls);
        for (found, again) in &report.found[told..] {
            bar.suspend(|| eprintln!("{found}: {again}\n"));
        }
        for (seed, reason) in &report.left_out[left_out..] {
            bar.suspend(|| eprintln!("seed {seed} is left out: {reason}"));
        }
        (told, left_out) = (report.found.len(), report.left_out.len());
        !stop.load(Ordering::Relaxed)
    })?;
    bar.finish_and_clear();
    match json {
        true => println!("{}", as_json(&report, seed)),
        false => println!("{report}"),
    }
    Ok(report.found.is_empty())
}

fn as_json(report: &Report, seed: u64) -> serde_json::Value {
    let Report { calls, succeeded, seed_end, found, elapsed, .. } = report;
    let seconds = elapsed.as_secs_f64();
    let texts: Vec<String> = found.iter().map(|(found, _)| found.to_string()).collect();
    json!({ "calls": calls, "succeeded": succeeded, "seeds": [seed, *seed_end],
            "seconds": seconds, "calls_per_second": *calls as f64 / seconds,
            "differences": texts })
}
