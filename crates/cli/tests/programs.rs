//! `faultless run`: programs in C do under it what they do without it. `programs/` has one
//! file each.

mod common;

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use common::{disk_dir, stderr, tool};

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program, compiled, in a directory of its own.
fn compiled(dir: &Path, name: &str) -> PathBuf {
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
fn run_to_end(command: &mut Command) -> Output {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.process_group(0).spawn().expect("it starts");
    let group = format!("-{}", child.id());
    let (ended, ends) = mpsc::channel();
    let waits = std::thread::spawn(move || {
        let output = child.wait_with_output();
        let _ = ended.send(());
        output
    });
    if ends.recv_timeout(PATIENCE).is_err() {
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        panic!("{command:?} does not end");
    }
    waits.join().expect("no panic").expect("its output")
}

/// What a program says, and how it ends, is the same both times.
fn is_the_same<S: AsRef<OsStr>>(name: &str, memory: &str, arguments: &[S]) -> String {
    let dir = disk_dir();
    let program = compiled(dir.path(), name);
    let here = |what: &str| {
        let here = dir.path().join(what);
        std::fs::create_dir(&here).expect("a directory");
        here
    };
    let plain = Command::new(&program).args(arguments).current_dir(here("plain")).output();
    let plain = plain.expect("it runs");
    let mut under = tool();
    under.args(["run", "--all", "--memory", memory, "--"]).arg(&program).args(arguments);
    let ours = run_to_end(under.current_dir(here("ours")));
    assert_eq!(stderr(&ours), stderr(&plain));
    let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said(&ours), said(&plain));
    assert_eq!(ours.status.code(), plain.status.code(), "{}", said(&ours));
    assert_eq!(ours.status.code(), Some(0), "{}", said(&ours));
    said(&ours)
}

#[test]
fn a_program_that_mixes_all_calls() {
    for seed in ["1", "2"] {
        assert_eq!(is_the_same("mixed", "1M", &["file", seed, "1000"]), "ok\n");
    }
}

#[test]
fn memory_that_is_sealed_is_the_kernels() {
    is_the_same::<&str>("sealed", "1M", &[]);
}

#[test]
fn addresses_that_are_free_for_a_moment_are_still_the_programs() {
    is_the_same("again", "8M", &["file"]);
}

#[test]
fn a_map_may_be_many_areas() {
    is_the_same("areas", "8M", &["file"]);
}

#[test]
fn streams_read_what_maps_have_stored() {
    is_the_same("streams", "1M", &["file"]);
}

#[test]
fn a_file_grows_and_its_map_follows() {
    is_the_same("grows", "8M", &["file", "60"]);
}

#[test]
fn holes_begin_and_end_anywhere() {
    is_the_same("holes", "1M", &["file"]);
}
