//! What the tests of the tool share: running it, and files for it.

// Each test is a program of its own and needs a part of this.
#![allow(dead_code)]

pub mod compile;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The tool, built.
pub fn tool() -> Command {
    Command::new(env!("CARGO_BIN_EXE_faultless"))
}

/// Runs it to its end.
pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    tool().args(arguments).stdin(Stdio::null()).output().expect("the tool starts")
}

/// A directory on a disk: the system's temporary one is often in memory.
pub fn disk_dir() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory")
}

/// Bytes that differ from one another.
pub fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// A file of such bytes.
pub fn file(dir: &Path, name: &str, len: usize) -> PathBuf {
    let path = dir.join(name);
    let mut file = std::fs::File::create(&path).expect("a file");
    file.write_all(&bytes(len)).expect("room for it");
    path
}

/// What it printed with `--json`.
pub fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}\n{}", stderr(output)))
}

/// What it said.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A number in a JSON object.
pub fn number(value: &Value, pointer: &str) -> f64 {
    let found = value.pointer(pointer).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("no number at {pointer} in {value:#}"))
}
