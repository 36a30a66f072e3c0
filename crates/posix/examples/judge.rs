//! Holds Faultless against the model of Linux: random calls, or the table of the checklist.
//!
//! `cargo run --release -p faultless-posix --example judge -- few 0 100` runs the seeds from
//! 0 to 99 with little memory, `many` with much; without arguments it prints the table.

#[path = "../tests/common/mod.rs"]
mod common;

use std::io;
use std::process::ExitCode;
use std::time::Instant;

use faultless_oracle::differ::{self, EPISODE_CALLS, Make};
use faultless_oracle::directed;

fn main() -> io::Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let right = match args[..] {
        [] => table()?,
        [how @ ("few" | "many"), seed, seeds] => {
            let number = |text: &str| text.parse::<u64>().map_err(io::Error::other);
            let make: Make<_> =
                if how == "few" { common::short_of_memory } else { common::with_memory };
            differ(make, how, number(seed)?, number(seeds)?)?
        }
        _ => {
            eprintln!("usage: judge [few|many SEED COUNT]");
            false
        }
    };
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn differ(make: Make<common::Faultless>, how: &str, first: u64, seeds: u64) -> io::Result<bool> {
    let (began, mut calls, mut differences) = (Instant::now(), 0, 0);
    for seed in first..first + seeds {
        let replay = Replay(format!("{how} {seed} 1"));
        let (ended, found) = differ::episode(make, seed, EPISODE_CALLS)?;
        std::mem::forget(replay);
        calls += ended.calls;
        if let Some(found) = found {
            differences += 1;
            println!("{found}\n");
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{calls} calls of {seeds} seeds from {first}, {differences} differences, {seconds:.1} s"
    );
    Ok(differences == 0)
}

fn table() -> io::Result<bool> {
    println!("{}", directed::head());
    let mut right = true;
    for case in directed::cases() {
        let row = directed::play(common::with_memory, &case)?;
        println!("{row}");
        right &= row.is_right();
    }
    Ok(right)
}

/// Says how to see it again, should the run not come to its end.
struct Replay(String);

impl Drop for Replay {
    fn drop(&mut self) {
        eprintln!("again: cargo run -p faultless-posix --example judge -- {}", self.0);
    }
}
