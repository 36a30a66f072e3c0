//! `faultless run --anonymous`: private memory and large blocks of malloc's, many times the
//! budget, hold what they held without.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::compile::{compiled, run_to_end};
use common::service::Service;
use common::{disk_dir, number, stderr, tool};
use serde_json::Value;

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs a program of `programs/` under so much memory; answers what it did, and the counters.
fn run(name: &str, memory: &str, options: &[&str], argument: &str) -> (Output, Value) {
    let dir = disk_dir();
    let program = compiled(dir.path(), name);
    run_program(&program, dir.path(), memory, options, &[argument])
}

fn run_program(
    program: &Path,
    dir: &Path,
    memory: &str,
    options: &[&str],
    arguments: &[&str],
) -> (Output, Value) {
    let stats = dir.join("stats");
    let mut command = tool();
    command.args(["run", "--anonymous", "--memory", memory, "--stats"]).arg(&stats).args(options);
    command.arg("--").arg(program).args(arguments);
    let output = run_to_end(&mut command, PATIENCE);
    let text = fs::read_to_string(&stats).unwrap_or_default();
    (output, serde_json::from_str(&text).unwrap_or_default())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// It has been served, within the budget, and nothing is left.
fn assert_held(stats: &Value) {
    assert!(number(stats, "/maps_served") > 0.0, "{stats:#}");
    assert!(number(stats, "/frames_used_max") <= number(stats, "/frames_total"), "{stats:#}");
    for left in ["/frames_used", "/swap_slots_used", "/read_errors", "/write_errors"] {
        assert_eq!(number(stats, left), 0.0, "{left}: {stats:#}");
    }
}

#[test]
fn memory_is_what_it_is_without_in_a_quarter_of_it() {
    let (output, stats) = run("own", "5M", &[], "20");
    let expected = "filled\nforked\nforked in part\ngiven up\nforbidden\nmoved\nforked\ncut\n";
    assert_eq!(said(&output), expected, "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_held(&stats);
    assert!(number(&stats, "/pages_written") > 0.0, "{stats:#}");
}

#[test]
fn blocks_are_what_they_are_without_in_a_quarter_of_it() {
    let (output, stats) = run("blocks", "5M", &[], "20");
    assert_eq!(said(&output), "filled\ngrown\naligned\nmixed\n", "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_held(&stats);
}

/// What is stored to private maps of files is within the budget, too; where it can't be promised,
/// the kernel makes the copies.
#[test]
fn copies_of_files_pages_are_what_they_are_without() {
    let dir = disk_dir();
    let program = compiled(dir.path(), "copies");
    let file = dir.path().join("file");
    let run = |memory, options: &[&str], size, own| {
        let arguments = [file.to_str().expect("a name"), size, own];
        let (output, stats) = run_program(&program, dir.path(), memory, options, &arguments);
        let expected = "stored\nforked\ngiven up\nmoved\nshared\ncut\n";
        assert_eq!(said(&output), expected, "{}", stderr(&output));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(number(&stats, "/frames_used_max") <= number(&stats, "/frames_total"));
        for left in ["/swap_slots_used", "/read_errors", "/write_errors"] {
            assert_eq!(number(&stats, left), 0.0, "{left}: {stats:#}");
        }
        number(&stats, "/faults_copy")
    };
    assert!(run("5M", &[], "20", "3") > 5120.0);
    assert!(run("1M", &["--all"], "3", "3") > 768.0);
    assert_eq!(run("5M", &["--swap", "1M"], "20", "40"), 0.0);
}

/// A program of many threads, which fork, where much is served that is small.
#[test]
fn what_is_small_can_be_served_too() {
    let (output, stats) = run("own", "1M", &["--all"], "3");
    assert_eq!(output.status.code(), Some(0), "{}{}", said(&output), stderr(&output));
    assert_held(&stats);
}

/// What can't be served is the kernel's, and says why.
#[test]
fn what_the_kernel_keeps_has_its_reason() {
    let dir = disk_dir();
    let program = compiled(dir.path(), "kept");
    let trace = dir.path().join("trace");
    let options = ["--trace", trace.to_str().expect("a name")];
    let (output, _) = run_program(&program, dir.path(), "8M", &options, &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", said(&output), stderr(&output));
    let text = fs::read_to_string(&trace).expect("the trace");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let of = |line: &Value| line["args"]["length"].as_u64().map(|length| length >> 20);
    let maps: Vec<_> =
        lines.filter(|line| line["call"] == "mmap" && of(line) >= Some(64)).collect();
    let by = |mib: u64| {
        let line = maps.iter().find(|line| of(line) == Some(mib)).expect("it was mapped");
        line["reason"].as_str().or(line["by"].as_str()).unwrap_or_default().to_owned()
    };
    let found: Vec<String> = (64..70).map(by).collect();
    let expected = ["faultless", "flags", "executable", "anonymous", "flags", "faultless"];
    assert_eq!(found, expected, "{text}");
}

/// More than budget and swap can hold is refused when it is asked for; where nothing has been
/// promised, the access ends in a signal.
#[test]
fn what_has_no_room_is_refused() {
    let dir = disk_dir();
    let program = compiled(dir.path(), "full");
    let options = ["--swap", "16M"];
    let (output, stats) = run_program(&program, dir.path(), "8M", &options, &[]);
    assert_eq!(said(&output), "refused\nSIGBUS\n", "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("budget and swap are full"), "{}", stderr(&output));
    assert!(number(&stats, "/maps_refused") > 0.0, "{stats:#}");
    let nowhere = ["run", "--anonymous", "--swap-dir", "/nowhere", "--", "true"];
    let output = run_to_end(tool().args(nowhere), PATIENCE);
    assert!(stderr(&output).contains("a swap file in /nowhere"), "{}", stderr(&output));
}

/// Python's large objects are large blocks, and its small ones are in large mappings.
#[test]
fn python_runs_in_an_eighth_of_its_memory() {
    let script = "\
import os, random
big = bytearray(24 << 20)
for n in range(0, len(big), 4096): big[n] = n // 4096 % 251
numbers = list(range(600_000))
texts = [str(n) for n in range(0, 600_000, 5)]
assert all(big[n] == n // 4096 % 251 for n in range(0, len(big), 4096))
assert sum(numbers) == 179_999_700_000 and texts[1000] == '5000'
child = os.fork()
if child == 0:
    assert big[4096 * 7] == 7 and numbers[-1] == 599_999
    big[0] = 9
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0 and big[0] == 0
print('ok')
";
    let dir = disk_dir();
    let (output, stats) = run_program(Path::new("python3"), dir.path(), "8M", &[], &["-c", script]);
    assert_eq!(said(&output), "ok\n", "{}", stderr(&output));
    assert_held(&stats);
}

/// What clients of a broker hold together, and the broker itself, stays within the budget; and
/// of those that are killed nothing is left.
#[test]
fn what_is_held_is_the_budget_and_what_is_left_is_nothing() {
    let dir = disk_dir();
    let program = compiled(dir.path(), "own");
    let mut command = Service::command(dir.path(), "8M");
    command.args(["--anonymous", "--swap", "1G"]);
    let service = Service::begin(command, dir.path());
    let private = tempfile::tempdir_in(dir.path()).expect("a directory for private ones");
    let run = |mib: &str| {
        let mut command = tool();
        command.env("TMPDIR", private.path());
        command.args(["run", "--anonymous", "--socket"]).arg(&service.socket).arg("--");
        command.arg(&program).arg(mib);
        command
    };
    let output = run_to_end(&mut run("24"), PATIENCE);
    assert_eq!(output.status.code(), Some(0), "{}{}", said(&output), stderr(&output));
    // The budget, tables of what is in swap, and itself.
    let (peak, allowed) = (service.peak(), 40 << 20);
    assert!(peak < allowed, "{peak} bytes of {allowed}");
    sleep(Duration::from_millis(400));
    let before = service.held();
    for round in 0..3 {
        let mut command = run("24");
        command.stdout(Stdio::null()).process_group(0);
        let mut child = command.spawn().expect("it starts");
        sleep(Duration::from_millis(150 + 300 * round));
        let group = format!("-{}", child.id());
        let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
        assert!(killed.expect("kill").success());
        let _ = child.wait();
    }
    let until = Instant::now() + Duration::from_secs(30);
    while service.held().1 > 0 && Instant::now() < until {
        sleep(Duration::from_millis(50));
    }
    let after = service.held();
    assert!(after.0 <= before.0 + 3 && after.1 == 0, "descriptors, threads: {before:?} {after:?}");
    // Their private directories are removed by the next run.
    let output = run_to_end(&mut run("1"), PATIENCE);
    assert_eq!(output.status.code(), Some(0), "{}{}", said(&output), stderr(&output));
    let left = std::fs::read_dir(private.path()).expect("it is there").count();
    assert_eq!(left, 0, "directories of those that were killed");
    service.end();
}

#[test]
fn when_the_broker_is_killed_what_is_not_there_is_an_error() {
    let dir = disk_dir();
    let program = compiled(dir.path(), "left");
    let mut command = Service::command(dir.path(), "4M");
    command.args(["--anonymous", "--swap", "1G"]);
    let mut service = Service::begin(command, dir.path());
    let mut command = tool();
    command.args(["run", "--anonymous", "--socket"]).arg(&service.socket).arg("--").arg(&program);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    let mut child = command.spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut line = || lines.next().expect("a line").expect("text");
    assert_eq!(line(), "ready");
    service.child.kill().expect("it runs");
    service.child.wait().expect("it ends");
    child.stdin.take().expect("piped").write_all(b"go\n").expect("it reads");
    let said = line();
    assert!(child.wait().expect("it ends").success(), "{said}");
    let counts: Vec<u64> = said.split(' ').map(|word| word.parse().expect("a number")).collect();
    assert!(counts[0] > 0 && counts[1] > 4096, "{said}");
}
