//! `cargo xtask bare`: the engine without the standard library, built and run.

use std::path::Path;
use std::process::Command;

/// Builds the program in the profile that has no unwinding, and runs it.
///
/// # Errors
/// It can't be built, which is what happens when std gets below the engine; or it ends
/// with anything but 0.
pub fn run(root: &Path) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What is told to programs that have std is not for this one.
    command.env_remove("RUSTFLAGS").current_dir(root);
    command.args(["run", "--quiet", "--package", "faultless-bare"]);
    command.args(["--features", "bare", "--profile", "bare"]);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the program without std: {status}")),
        Err(error) => Err(format!("cannot run cargo: {error}")),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_engine_runs_without_std() {
        super::run(&crate::tidy::root()).unwrap();
    }
}
