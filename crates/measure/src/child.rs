//! Programs that are run for what they print, and end with us.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::Signal;

use crate::cleanup;
use crate::problem::{Problem, Result};

/// Runs a program, and does something meanwhile; answers what it printed, a few lines. What it
/// says to the standard error is said on, and where it fails, its last line says why.
pub fn output<T>(
    mut command: Command,
    meanwhile: impl FnOnce(&Child) -> Result<T>,
) -> Result<(String, T)> {
    let failed = |what: String| Problem::new(format!("its process {what}"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let spawned = cleanup::make(|| {
        let mut child = command.spawn()?;
        match cleanup::child(&child) {
            Ok(undo) => Ok((child, undo)),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    });
    let (child, guard) = spawned.map_err(|error| failed(format!("can't be started: {error}")))?;
    let done = meanwhile(&child)?;
    let output = child.wait_with_output().map_err(|error| failed(format!("is lost: {error}")))?;
    guard.keep(); // It has ended by itself.
    let said = String::from_utf8_lossy(&output.stderr);
    eprint!("{said}");
    if !output.status.success() {
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        return Err(failed(why(output.status, last)));
    }
    let text = String::from_utf8(output.stdout);
    Ok((text.map_err(|error| failed(format!("printed no text: {error}")))?, done))
}

fn why(status: ExitStatus, last_line: Option<&str>) -> String {
    match (status.signal(), last_line) {
        (Some(signal), _) if signal == Signal::KILL.as_raw() => {
            format!("ended with {status}: by its memory limit, if nobody else has killed it")
        }
        (_, Some(line)) => format!("ended with {status}: {line}"),
        (_, None) => format!("ended with {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str) -> Result<(String, ())> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        output(command, |_| Ok(()))
    }

    #[test]
    fn what_it_printed_or_why_it_failed() {
        assert_eq!(run("echo 12").expect("it succeeds").0, "12\n");
        let problem = |script| run(script).expect_err("it fails").to_string();
        let told = problem("echo first >&2; echo the disk is full >&2; echo >&2; exit 3");
        assert_eq!(told, "its process ended with exit status: 3: the disk is full");
        assert_eq!(problem("exit 3"), "its process ended with exit status: 3");
        assert!(problem("kill -9 $$").contains("memory limit"));
    }
}
