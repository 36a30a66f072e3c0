//! `faultless-sim`: runs seeds, and says which one to replay.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use faultless_sim::{Kind, Options, Tally, run};

const HELP: &str = "\
Runs seeds of the simulator.

Usage: cargo xtask sim [--seed N] [--seeds COUNT] [--minutes M] [--steps N]
                       [--only KIND]

  --seed N       The first seed (0); alone: this one only
  --seeds COUNT  How many seeds
  --minutes M    As many seeds as fit in M minutes
  --steps N      Steps of each (1500)
  --only KIND    All of them of this kind: `processes` or `threads` (each other seed)
";

struct Args {
    seed: u64,
    seeds: Option<u64>,
    time: Option<Duration>,
    steps: Option<u32>,
    kind: Option<Kind>,
}

fn main() -> ExitCode {
    let Some(args) = parse(std::env::args().skip(1)) else {
        eprint!("{HELP}");
        return ExitCode::from(2);
    };
    let began = Instant::now();
    let seeds = match (args.seeds, args.time) {
        (Some(seeds), _) => seeds,
        (None, Some(_)) => u64::MAX,
        (None, None) => 1,
    };
    let mut done = 0;
    let mut sum = Tally::default();
    while done < seeds && args.time.is_none_or(|time| began.elapsed() < time) {
        let seed = args.seed + done;
        let replay = Replay(seed);
        let mut options = Options::new(seed);
        options.steps = args.steps.unwrap_or(options.steps);
        options.kind = args.kind.unwrap_or(options.kind);
        let tally = run(options);
        std::mem::forget(replay);
        sum.add(&tally);
        done += 1;
        if done % 500 == 0 {
            eprintln!("{done} seeds, {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    println!("{done} seeds clean, from {}: {:.1} s", args.seed, began.elapsed().as_secs_f64());
    println!("{sum}");
    ExitCode::SUCCESS
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Args> {
    let mut parsed = Args { seed: 0, seeds: None, time: None, steps: None, kind: None };
    while let Some(arg) = args.next() {
        let mut number = || args.next()?.parse::<u64>().ok();
        match arg.as_str() {
            "--seed" => parsed.seed = number()?,
            "--seeds" => parsed.seeds = Some(number()?),
            "--minutes" => parsed.time = Some(Duration::from_secs(60 * number()?)),
            "--only" => parsed.kind = Some(kind(&args.next()?)?),
            "--steps" => parsed.steps = Some(u32::try_from(number()?).ok()?),
            _ => return None,
        }
    }
    Some(parsed)
}

fn kind(name: &str) -> Option<Kind> {
    match name {
        "processes" => Some(Kind::Processes),
        "threads" => Some(Kind::Threads),
        _ => None,
    }
}

/// Says how to see it again, should the run not come to its end.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        eprintln!("to see it again: cargo xtask sim --seed {}", self.0);
    }
}
