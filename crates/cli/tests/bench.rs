//! `faultless bench`: the quick form within its bounds, and a whole run on a tiny file with
//! everything that belongs to it.

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use common::{disk_dir, json, number, run, stderr, tool};
use serde_json::Value;

fn bench(more: &[&str]) -> (Value, tempfile::TempDir) {
    let dir = disk_dir();
    let place = dir.path().to_str().expect("a name").to_owned();
    let output = run(["--json", "bench", "--dir", &place].iter().chain(more));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{more:?}: {}{stdout}", stderr(&output));
    let left = std::fs::read_dir(dir.path()).expect("it is there").flatten();
    let left: Vec<_> = left.filter(|entry| entry.path().is_file()).collect();
    assert!(left.is_empty(), "files are left: {left:?}");
    (json(&output), dir)
}

#[test]
fn the_quick_form_is_within_its_bounds() {
    let (report, _dir) = bench(&["--quick"]);
    let counts = report["counts"].as_array().expect("counts");
    assert!(counts.len() > 40, "{}", counts.len());
    let allocations = counts.iter().filter(|held| held["counted"] == "allocations");
    // Batches of pins and prefetches allocate, so the counter must see some.
    assert!(allocations.clone().any(|held| number(held, "/found") > 0.0), "nothing is counted");
    // Seven pages of eight aren't in memory: where a disk is read from, that must be seen.
    let is_read =
        |held: &&Value| held["case"] == "W1 1 thread" && held["counted"] == "device_reads";
    let reads: Vec<f64> =
        counts.iter().filter(is_read).map(|held| number(held, "/found")).collect();
    let in_memory_file_system = report["notes"].to_string().contains("tmpfs");
    assert!(reads.len() > 1 && (in_memory_file_system || reads.iter().all(|it| *it > 0.5)));
    let in_memory = counts.iter().filter(|held| held["case"] == "W6 1 thread");
    let moved = ["device_reads", "evictions"];
    for held in in_memory.filter(|held| moved.iter().any(|name| held["counted"] == *name)) {
        assert_eq!(number(held, "/found"), 0.0, "{held}");
    }
    let steps: Vec<&Value> = counts.iter().filter(|it| it["counted"] == "instructions").collect();
    assert_eq!(steps.len(), if cfg!(debug_assertions) { 0 } else { 7 }, "{steps:?}");
    // Where no process may step another, none of them can be counted.
    let uncounted = steps.iter().filter(|step| step["found"].is_null()).count();
    assert!(uncounted == 0 || uncounted == steps.len(), "{steps:?}");
    assert!(steps.iter().all(|step| step["found"].as_f64().is_none_or(|found| found > 10.0)));
}

#[test]
fn a_bound_that_is_passed_is_the_exit_code() {
    // Twice the budget's file is half read from the device; a sixteenth of it, nearly all: so
    // more than the bound for the usual ratio of eight.
    let dir = disk_dir();
    let place = dir.path().to_str().expect("a name");
    let arguments = ["bench", "--dir", place, "--quick", "--workload", "W2"];
    let output = run(arguments.iter().chain(&["--size", "64M", "--memory", "1M"]));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("EXCEEDED"));
}

#[test]
fn every_workload_by_every_system() {
    let plots = disk_dir();
    let place = plots.path().to_str().expect("a name");
    // A peer that says it has done all, and has read nothing.
    let peer = r#"liar=echo "{\"seconds\":1,\"accesses\":$FAULTLESS_BENCH_TIMED,\"sum\":1}""#;
    let arguments = ["--size", "36M", "--memory", "12M", "--runs", "1", "--seconds", "0.2"];
    let more = ["--threads", "2", "--plot", place, "--peer", peer];
    let dir = disk_dir();
    let files = dir.path().to_str().expect("a name");
    let output = run(["--json", "bench", "--dir", files].iter().chain(&arguments).chain(&more));
    // The liar is found out, and that is what the exit code says.
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let report = json(&output);
    let cases = report["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 9);
    for case in cases {
        let failed = case["failed"].as_object().expect("who failed");
        let others: Vec<_> = failed.iter().filter(|(name, _)| *name != "liar").collect();
        // Setting a device's read-ahead is not for everybody.
        let allowed = |name: &str| name == "kernel-128k";
        assert!(others.iter().all(|(name, _)| allowed(name)), "{}: {others:?}", case["case"]);
        for (system, runs) in case["runs"].as_object().expect("runs") {
            assert!(number(&runs[0], "/seconds") > 0.0, "{system}");
            assert!(number(&runs[0], "/accesses") > 0.0, "{system}");
        }
    }
    let drawn = std::fs::read_dir(plots.path()).expect("it is there").count();
    assert!(drawn > cases.len(), "{drawn} pictures");
    assert!(number(&report, "/machine/memory_bytes") > 0.0);
    let repeat = report["command"].as_str().expect("how to repeat it");
    assert!(repeat.starts_with("faultless bench --size 36M --memory 12M --threads 2"), "{repeat}");
}

#[test]
fn every_small_cost_can_be_measured() {
    // Once its faults found their pages shown already, and nobody looked.
    let (report, _dir) = bench(&["--workload", "costs", "--runs", "1"]);
    let costs = report["costs"].as_array().expect("costs");
    let of = |group: &str| {
        costs
            .iter()
            .filter(|cost| cost["what"].as_str().is_some_and(|what| what.starts_with(group)))
            .count()
    };
    for group in ["bare", "library", "engine", "machine"] {
        assert!(of(group) > 1, "{group}: {costs:?}");
    }
    let minor = costs.iter().find(|cost| cost["what"] == "library: fault without I/O, inline, ns");
    assert!(number(minor.expect("it is there"), "/median") > 1000.0, "{minor:?}");
}

#[test]
fn a_peer_is_measured_beside_the_systems_that_are_chosen() {
    let dir = disk_dir();
    let place = dir.path().to_str().expect("a name");
    let chosen = ["--workload", "W1", "--threads", "1", "--system", "pread", "--runs", "1"];
    let sizes =
        ["--size", "4M", "--memory", "1M", "--peer", "unable=echo no such disk >&2; exit 3"];
    let output = run(["--json", "bench", "--dir", place].iter().chain(&chosen).chain(&sizes));
    assert_eq!(output.status.code(), Some(1), "who was asked for could not be measured");
    let report = json(&output);
    assert!(report["cases"][0]["runs"]["pread"].is_array(), "{report}");
    let why = report["cases"][0]["failed"]["unable"].as_str().expect("why");
    assert!(why.contains("exit status: 3: no such disk"), "{why}");
}

#[test]
fn what_a_case_came_to_is_told_before_the_next_one_begins() {
    let (files, plots) = (disk_dir(), disk_dir());
    let mut bench = tool();
    bench.args(["bench", "--workload", "W1,W5", "--system", "inline", "--runs", "1"]);
    bench.args(["--threads", "1,2", "--size", "4M", "--memory", "1M", "--seconds", "600"]);
    bench.arg("--dir").arg(files.path()).arg("--plot").arg(plots.path().join("new"));
    let mut bench = bench.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut lines =
        BufReader::new(bench.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let row = lines.find(|line| line.starts_with("inline"));
    let still_runs = bench.try_wait().expect("it is ours").is_none();
    let pid = rustix::process::Pid::from_child(&bench);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it can be ended");
    bench.wait().expect("it ends");
    assert!(row.is_some() && still_runs, "{row:?}");
    let drawn = std::fs::read_dir(plots.path().join("new")).expect("it was made").count();
    assert!(drawn > 0, "no picture");
    assert_eq!(std::fs::read_dir(files.path()).expect("it is there").count(), 0, "files are left");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let cases: [(&[&str], i32, &str); 12] = [
        (&["--workload", "W9"], 2, "W1 to W8"),
        (&["--size", "1M", "--memory", "1M"], 1, "twice the budget"),
        (&["--system", "unheard-of"], 1, "kernel-willneed"),
        (&["--peer", "umap"], 2, "NAME=COMMAND"),
        (&["--quick", "--full"], 2, "cannot be used with"),
        (&["--quick", "--runs", "3"], 2, "cannot be used with"),
        (&["--quick", "--workload", "W5"], 1, "bounds.toml"),
        (&["--workload", "W3", "--system", "pread"], 1, "W3 isn't played by pread"),
        (&["--seconds=-1"], 2, "0.1 to 86400"),
        (&["--seconds", "nan"], 2, "0.1 to 86400"),
        (&["--seconds", "inf"], 2, "0.1 to 86400"),
        // Before anything is measured.
        (&["--seconds", "600", "--plot", "/dev/null/plots"], 1, "/dev/null/plots"),
    ];
    for (arguments, code, words) in cases {
        let output = run(["bench"].iter().chain(arguments));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
    }
}
