//! Programs in C: compiled, and run to their end.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::stderr;

/// `tests/programs/NAME.c`, compiled into a directory.
pub fn compiled(dir: &Path, name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name);
    let program = dir.join(name);
    let output = Command::new("cc")
        .args(["-O1", "-Wall", "-Werror", "-pthread", "-o"])
        .arg(&program)
        .arg(source.with_extension("c"))
        .output()
        .expect("a C compiler, as Rust needs one");
    assert!(output.status.success(), "{}", stderr(&output));
    program
}

/// Runs it, and ends it with all that it has begun when it takes too long.
pub fn run_to_end(command: &mut Command, patience: Duration) -> Output {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.process_group(0).spawn().expect("it starts");
    let group = format!("-{}", child.id());
    let (ended, ends) = mpsc::channel();
    let waits = std::thread::spawn(move || {
        let output = child.wait_with_output();
        let _ = ended.send(());
        output
    });
    if ends.recv_timeout(patience).is_err() {
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        panic!("{command:?} does not end");
    }
    waits.join().expect("no panic").expect("its output")
}
