//! The oracle as a tool: random runs of any length, and the table of the checklist.

#![deny(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::{Parser, Subcommand};
use faultless_oracle::differ::{self, EPISODE_CALLS};
use faultless_oracle::directed;
use faultless_oracle::kernel::{Kernel, why_not};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Compares the model of Linux's memory calls with the kernel that this runs on.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Random calls on both, until they differ or all are done.
    Differ(Differ),
    /// Every line of the checklist on both, as a table.
    Directed,
}

#[derive(clap::Args)]
struct Differ {
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
        Command::Differ(differ) => run(&differ),
        Command::Directed => table(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faultless-oracle: {error}");
            ExitCode::FAILURE
        }
    }
}

fn table() -> std::io::Result<bool> {
    println!("{}", directed::head());
    let mut right = true;
    for case in directed::cases() {
        let row = directed::play(Kernel::new, &case)?;
        println!("{row}");
        right &= row.is_right();
    }
    Ok(right)
}

fn run(options: &Differ) -> std::io::Result<bool> {
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} calls {per_sec}");
    let bar = ProgressBar::new(options.calls).with_style(style.expect("a template that is known"));
    let began = Instant::now();
    let (mut calls, mut succeeded, mut seed) = (0, 0, options.seed);
    let mut found = Vec::new();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let goes_on = |calls, found| calls < options.calls && found < options.differences;
    while goes_on(calls, found.len()) && !stop.load(Ordering::Relaxed) {
        if let Some(reason) = why_not(&differ::world(seed)) {
            bar.suspend(|| eprintln!("seed {seed} is left out: {reason}"));
            seed += 1;
            continue;
        }
        let (ended, difference) =
            differ::episode(Kernel::new, seed, EPISODE_CALLS.min(options.calls - calls))?;
        calls += ended.calls;
        succeeded += ended.succeeded;
        seed += 1;
        bar.set_position(calls);
        if let Some(difference) = difference {
            let differ::Found { seed, step, .. } = &difference;
            let again = format!("differ --seed {seed} --calls {step}");
            bar.suspend(|| eprintln!("{difference}: cargo run -p faultless-oracle -- {again}\n"));
            found.push(difference);
        }
    }
    bar.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    let rate = calls as f64 / seconds;
    if options.json {
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        let seeds = [options.seed, seed];
        println!(
            "{}",
            json!({ "calls": calls, "succeeded": succeeded, "seeds": seeds, "seconds": seconds,
                    "calls_per_second": rate, "differences": texts })
        );
    } else {
        println!(
            "{calls} calls ({succeeded} succeeded), seeds {}..{seed}, {} differences, \
             {seconds:.1} s, {rate:.0} calls/s",
            options.seed,
            found.len()
        );
    }
    Ok(found.is_empty())
}
