//! `cargo xtask`: the project's own checks.
//!
//! `cargo xtask tidy` checks the laws that no compiler knows; `cargo test` runs
//! it too. Each law is one file under `tidy/`.

#![forbid(unsafe_code)]

mod bare;
mod coverage;
mod programs;
mod tidy;

use std::process::{Command, ExitCode};

const HELP: &str = "\
The project's own checks.

Usage: cargo xtask COMMAND

Commands:
  tidy     Check the laws of the source: layers, unsafe code, lengths, names, ...
  sim      Run seeds of the simulator: --seed N, --seeds COUNT, --minutes M
  bare     Build and run the engine without the standard library
  coverage List the lines of the engine that no test runs; takes cargo-tarpaulin
  programs Programs of others, without Faultless and under it: NAME ..., --full, --list
  support  Write README's table of Linux's calls, as the checklist comes out
  header   Write faultless.h, as the library for C has its functions
  help     Print this
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["tidy"] => tidy(),
        ["sim", ref args @ ..] => run("faultless-sim", args),
        ["bare"] => told(bare::run(&tidy::root()), "bare: the engine has run without std"),
        ["coverage"] => told(coverage::run(&tidy::root()), "coverage: enough"),
        ["programs", ref args @ ..] => {
            told(programs::run(&tidy::root(), args), "programs: all as they are without Faultless")
        }
        ["support"] => run("faultless-judge", &["support", "--write", "README.md"]),
        ["header"] => header(),
        ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        _ => {
            eprint!("{HELP}");
            ExitCode::from(2)
        }
    }
}

/// Runs a program of the workspace, optimised.
fn run(package: &str, args: &[&str]) -> ExitCode {
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "--package", package, "--"]).args(args);
    ended(command)
}

/// The test that holds the header to the library writes it, too.
fn header() -> ExitCode {
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "faultless-c", "--test", "header"]);
    command.env("FAULTLESS_WRITE_HEADER", "1");
    ended(command)
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(tidy::root());
    command
}

fn ended(mut command: Command) -> ExitCode {
    match command.status() {
        Ok(status) => ExitCode::from(status.code().unwrap_or(1) as u8),
        Err(error) => {
            eprintln!("cannot run cargo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn told(done: Result<(), String>, good: &str) -> ExitCode {
    match done {
        Ok(()) => {
            println!("{good}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn tidy() -> ExitCode {
    let repo = match tidy::Repo::read(&tidy::root()) {
        Ok(repo) => repo,
        Err(error) => {
            eprintln!("cannot read the source: {error}");
            return ExitCode::FAILURE;
        }
    };
    let violations = tidy::check(&repo);
    for violation in &violations {
        println!("{violation}");
    }
    if violations.is_empty() {
        println!("tidy: {} files, no law broken", repo.len());
        ExitCode::SUCCESS
    } else {
        println!("tidy: {} places break a law", violations.len());
        ExitCode::FAILURE
    }
}
