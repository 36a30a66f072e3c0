//! `faultless run`: programs in C do under it what they do without it. `programs/` has one
//! file each.

mod common;

use std::ffi::OsStr;
use std::process::{Command, Output};
use std::time::Duration;

use common::compile::{compiled, run_to_end};
use common::{disk_dir, stderr, tool};

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A file got longer than it may be.
const SIGXFSZ: i32 = 25;

/// What a program says, and how it ends, is the same both times.
fn is_the_same<S: AsRef<OsStr>>(name: &str, memory: &str, arguments: &[S]) -> String {
    is_the_same_with(&["--all"], name, memory, arguments)
}

/// As [`is_the_same`], run with these options.
fn is_the_same_with<S: AsRef<OsStr>>(
    options: &[&str],
    name: &str,
    memory: &str,
    arguments: &[S],
) -> String {
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
    under.arg("run").args(options).args(["--memory", memory, "--"]).arg(&program).args(arguments);
    let ours = run_to_end(under.current_dir(here("ours")), PATIENCE);
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
fn files_get_no_longer_than_a_process_may_make_them() {
    is_the_same("bounded", "8M", &["file"]);
}

/// Under a limit from the beginning, which may be ours, too, and can't be lifted by everybody.
#[test]
fn a_limit_on_files_is_the_programs() {
    let dir = disk_dir();
    let (program, file) = (compiled(dir.path(), "areas"), dir.path().join("file"));
    let run = |blocks: u32| {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -f {blocks}; exec \"$0\" run --all -- \"$1\" \"$2\"");
        shell.args(["-c", &script]).arg(tool().get_program()).arg(&program).arg(&file);
        run_to_end(&mut shell, PATIENCE)
    };
    // 32 MiB: of the program's 16 there can be memory of ours, or the kernel has them.
    let ours = run(65_536);
    assert_eq!((stderr(&ours), ours.status.code()), (String::new(), Some(0)));
    // 64 KiB are not enough even for its file: a signal, if it is begun.
    let ours = run(128);
    let told = stderr(&ours).contains("ulimit -f unlimited") && ours.status.code() == Some(1);
    assert!(told || ours.status.code() == Some(128 + SIGXFSZ), "{ours:?}");
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

/// A page can't be taken from one client alone: from one that lives on without the broker, either.
#[test]
fn who_is_cut_off_takes_nothing_from_others() {
    is_the_same("cut_off", "16M", &["file"]);
}

/// Random calls about mappings and files come to what they do without, in a budget that is
/// too small for all that is mapped.
#[test]
fn random_calls_come_to_the_same() {
    let variable =
        |name, usual| std::env::var(name).map_or(usual, |said| said.parse().expect(name));
    let (seed, count): (u64, u64) = (variable("SEED", 1), variable("COUNT", 6));
    let dir = disk_dir();
    let program = compiled(dir.path(), "calls");
    for seed in seed..seed + count {
        println!("SEED={seed} COUNT=1");
        let arguments = [dir.path().to_str().expect("a name"), &seed.to_string(), "3000"];
        let without = run_to_end(Command::new(&program).args(arguments), PATIENCE);
        let mut under = tool();
        under.args(["run", "--memory", "1M", "--all"]);
        // Private anonymous memory is another's every second time.
        under.args((seed % 2 == 0).then_some("--anonymous"));
        let with = run_to_end(under.arg("--").arg(&program).args(arguments), PATIENCE);
        assert_eq!(with.status.code(), Some(0), "{}", stderr(&with));
        assert_eq!(without.status.code(), Some(0), "{}", stderr(&without));
        let lines = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
        let (with, without) = (lines(&with), lines(&without));
        assert!(without.lines().count() > 3000);
        for (n, (with, without)) in with.lines().zip(without.lines()).enumerate() {
            assert_eq!(with, without, "line {n}");
        }
        assert_eq!(with.len(), without.len());
    }
}

/// `write` holds the pages that it fills; msync waits for it, and is no error.
#[test]
fn a_map_is_written_back_while_another_process_writes() {
    let dir = disk_dir();
    let program = compiled(dir.path(), "both");
    let mut under = tool();
    under.args(["run", "--memory", "16M", "--all", "--"]).arg(&program);
    let output = run_to_end(under.arg(dir.path().join("file")), PATIENCE);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}
