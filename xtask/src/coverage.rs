//! `cargo xtask coverage`: which lines of the engine no test runs.
//!
//! It runs the engine's own tests, the simulator's seeds and those of `posix` and `judge`
//! under cargo-tarpaulin, which counts by the compiler's own counters and needs no tools
//! of LLVM. Nothing is installed here.

use std::path::Path;
use std::process::Command;

/// Less than this share of lines, in percent, is a failure.
const PERCENT_MIN: &str = "90";

/// Counts; what is printed is the share of each file, and every line that was not run.
///
/// # Errors
/// The tool is not there, a test fails, or too little is covered.
pub fn run(root: &Path) -> Result<(), String> {
    let version = Command::new("cargo").args(["tarpaulin", "--version"]).output();
    if !version.is_ok_and(|output| output.status.success()) {
        return Err("cargo-tarpaulin is not there: cargo install cargo-tarpaulin".to_owned());
    }
    let mut command = Command::new("cargo");
    command.current_dir(root).args(["tarpaulin", "--engine", "llvm", "--skip-clean"]);
    for package in ["faultless-engine", "faultless-sim", "faultless-posix", "faultless-judge"] {
        command.args(["--packages", package]);
    }
    command.args(["--include-files", "crates/engine/src/*"]);
    command.args(["--exclude-files", "*/tests/*", "--exclude-files", "*/tests.rs"]);
    command.args(["--lib", "--tests", "--timeout", "1800", "--out", "Stdout"]);
    // Beside the usual directory: everything is compiled otherwise.
    command.args(["--target-dir", "target/coverage", "--fail-under", PERCENT_MIN]);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("coverage: {status}")),
        Err(error) => Err(format!("cannot run cargo: {error}")),
    }
}
