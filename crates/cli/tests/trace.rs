//! `faultless run --trace`: a line for each call about mappings, whoever makes it and whoever
//! serves it.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use common::compile::{compiled, run_to_end};
use common::{disk_dir, stderr, tool};

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(60);

const PAGE: u64 = 4096;
const SIZE: u64 = 2 << 20;

/// One call.
#[derive(Debug)]
struct Line(Value);

impl Line {
    fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    fn number(&self, pointer: &str) -> u64 {
        let number = self.0.pointer(pointer).and_then(Value::as_u64);
        number.unwrap_or_else(|| panic!("no {pointer} in {:?}", self.0))
    }

    fn argument(&self, name: &str) -> u64 {
        self.number(&format!("/args/{name}"))
    }

    fn named(&self, name: &str) -> &str {
        self.0["args"][name].as_str().unwrap_or_default()
    }

    /// Call, what became of it, and who did it.
    fn is(&self) -> (&str, &str, &str) {
        let by = self.0["reason"].as_str().unwrap_or_else(|| self.text("by"));
        (self.text("call"), self.0["errno"].as_str().unwrap_or("ok"), by)
    }
}

fn lines(path: &Path) -> Vec<Line> {
    let text = fs::read_to_string(path).expect("the trace");
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let lines: Vec<Line> = text.lines().map(|line| Line(parse(line))).collect();
    for line in &lines {
        let by_kernel = line.text("by") == "kernel";
        assert!(by_kernel || line.text("by") == "faultless", "{line:?}");
        assert_eq!(by_kernel, line.0.get("reason").is_some(), "{line:?}");
        assert_ne!(line.0.get("result").is_some(), line.0.get("errno").is_some(), "{line:?}");
    }
    lines
}

/// A directory, and a program that is run there with a trace.
struct Traced {
    dir: tempfile::TempDir,
    program: PathBuf,
}

impl Traced {
    fn new() -> Traced {
        let dir = disk_dir();
        let program = compiled(dir.path(), "traced");
        Traced { dir, program }
    }

    fn command(&self, trace: &str, arguments: &[&str]) -> Command {
        let mut command = tool();
        command.args(["run", "--memory", "1M", "--stats", "stats", "--trace", trace, "--"]);
        command.arg(&self.program).args(arguments).current_dir(self.dir.path());
        command
    }

    fn run(&self, trace: &str, arguments: &[&str]) -> Output {
        let output = run_to_end(&mut self.command(trace, arguments), PATIENCE);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}{}", stderr(&output));
        output
    }

    fn lines(&self, trace: &str) -> Vec<Line> {
        lines(&self.dir.path().join(trace))
    }

    fn stats(&self) -> Value {
        let text = fs::read_to_string(self.dir.path().join("stats")).expect("counters");
        serde_json::from_str(&text).expect("JSON")
    }
}

#[test]
fn calls_are_told_in_order_by_thread_with_who_served_them() {
    let traced = Traced::new();
    let output = traced.run("trace", &["file"]);
    assert_eq!((&output.stdout[..], stderr(&output)), (&b"ok\n"[..], String::new()));
    let all = traced.lines("trace");
    let first = all.iter().find(|line| line.is() == ("mmap", "ok", "faultless"));
    let first = first.expect("the file's mapping");
    let (parent, main) = (first.number("/pid"), first.number("/tid"));
    assert_eq!(parent, main, "it is the main thread's");

    // Libraries may begin and end with calls of their own.
    let of_main: Vec<&Line> = all.iter().filter(|line| line.number("/tid") == main).collect();
    let from = of_main.iter().position(|line| std::ptr::eq(*line, first)).expect("it is there");
    let ours: Vec<&Line> = of_main[from..]
        .iter()
        // The C library's stack for the thread.
        .filter(|line| line.named("flags_names").find("MAP_STACK").is_none())
        .filter(|line| line.text("call") != "mprotect" || line.argument("length") == PAGE)
        .copied()
        .collect();
    let expected = [
        ("mmap", "ok", "faultless"),
        ("msync", "ok", "faultless"),
        ("posix_madvise", "ok", "faultless"),
        ("mremap", "ok", "faultless"),
        ("mremap", "ok", "faultless"),
        ("mprotect", "ok", "faultless"),
        ("mmap", "ok", "anonymous"),
        ("munmap", "ok", "not_served"),
        ("mmap", "ok", "executable"),
        ("mmap", "EINVAL", "arguments"),
        ("mmap", "EBADF", "descriptor"),
    ];
    let found: Vec<_> = ours.iter().map(|line| line.is()).collect();
    assert_eq!(found[..expected.len()], expected);

    let [map, sync, advise, shrink, carry, protect, own, unmap, ..] = ours[..] else { panic!() };
    assert_eq!((map.argument("addr"), map.argument("length")), (0, SIZE));
    assert_eq!((map.argument("prot"), map.named("prot_names")), (3, "PROT_READ|PROT_WRITE"));
    assert_eq!((map.argument("flags"), map.named("flags_names")), (1, "MAP_SHARED"));
    assert_eq!(map.argument("offset"), 0);
    let start = map.number("/result");
    assert_eq!((sync.argument("addr"), sync.argument("length")), (start, 2 * PAGE));
    assert_eq!((sync.named("flags_names"), sync.number("/result")), ("MS_SYNC", 0));
    assert_eq!(advise.named("advice_names"), "POSIX_MADV_WILLNEED");
    assert_eq!((shrink.argument("length"), shrink.argument("new_length")), (SIZE, SIZE / 2));
    assert!(shrink.0["args"].get("new_addr").is_none(), "{shrink:?}");
    assert_eq!(carry.argument("new_addr"), start - (1 << 30));
    assert_eq!(carry.number("/result"), start - (1 << 30));
    assert_eq!(carry.named("flags_names"), "MREMAP_MAYMOVE|MREMAP_FIXED");
    assert_eq!(protect.named("prot_names"), "PROT_READ");
    assert_eq!(own.0["args"]["fd"], -1);
    assert_eq!(unmap.argument("addr"), own.number("/result"));

    // The other thread, by its own number.
    let mut advised = all.iter().filter(|line| line.text("call") == "madvise");
    let advised = advised.find(|line| line.named("advice_names") == "MADV_RANDOM");
    let advised = advised.expect("the thread's call");
    assert_eq!((advised.number("/pid"), advised.is().2), (parent, "faultless"));
    assert_ne!(advised.number("/tid"), main);

    // The child, and what it has become: the same process with a mapping of its own.
    let childs: Vec<&Line> = all.iter().filter(|line| line.number("/pid") != parent).collect();
    let pids: BTreeSet<u64> = childs.iter().map(|line| line.number("/pid")).collect();
    assert_eq!(pids.len(), 1, "{pids:?}");
    assert_eq!(childs[0].is(), ("munmap", "ok", "faultless"));
    assert_eq!(childs[0].argument("addr"), start - (1 << 30));
    assert!(childs[1..].iter().any(|line| line.is() == ("mmap", "ok", "faultless")));

    // Time goes on in each thread, from the tool's start.
    for tid in all.iter().map(|line| line.number("/tid")).collect::<BTreeSet<_>>() {
        let times = all.iter().filter(|line| line.number("/tid") == tid);
        let times: Vec<u64> = times.map(|line| line.number("/us")).collect();
        assert!(times.is_sorted() && *times.last().expect("one") < 60_000_000, "{times:?}");
    }
    let stats = traced.stats();
    assert_eq!((&stats["trace_lines"], &stats["trace_lost"]), (&all.len().into(), &0.into()));
}

#[test]
fn a_program_that_closes_all_descriptors_is_still_traced() {
    let traced = Traced::new();
    traced.run("trace", &["file", "close"]);
    let all = traced.lines("trace");
    let last = all.last().expect("lines");
    assert_eq!((last.text("call"), last.argument("length")), ("munmap", PAGE), "{last:?}");
    assert_eq!(traced.stats()["trace_lost"], 0);
}

#[test]
fn a_full_disk_loses_lines_and_harms_nobody() {
    let traced = Traced::new();
    let output = traced.run("/dev/full", &["file"]);
    assert_eq!(output.stdout, b"ok\n");
    let (said, stats) = (stderr(&output), traced.stats());
    assert!(said.contains("lines of the trace /dev/full are lost: No space left"), "{said}");
    assert_eq!(stats["trace_lines"], 0);
    assert!(stats["trace_lost"].as_u64() > Some(10), "{stats}");
}

#[test]
fn a_file_that_may_not_grow_and_a_pipe_without_readers_send_no_signals() {
    let traced = Traced::new();
    // A limit beyond the file that the program makes long, and below a trace that has that
    // length already.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 4096; exec \"$@\"", "sh"]);
    let command = traced.command("long", &["file"]);
    limited.arg(command.get_program()).args(command.get_args()).current_dir(traced.dir.path());
    // The tool empties the file: what makes it long again is not the program.
    let long = traced.dir.path().join("long");
    let fifo = traced.dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    let output = std::thread::scope(|scope| {
        // Somebody reads a line, and goes.
        scope.spawn(|| {
            let reader = fs::File::open(&fifo).expect("the pipe");
            BufReader::with_capacity(64, reader).read_line(&mut String::new()).expect("a line");
        });
        traced.run("fifo", &["file"])
    });
    assert_eq!(output.stdout, b"ok\n");
    assert!(stderr(&output).contains("lines of the trace"), "{}", stderr(&output));

    let grows = std::thread::spawn(move || {
        let limit = std::time::Instant::now() + PATIENCE;
        while !long.exists() && std::time::Instant::now() < limit {
            std::thread::yield_now();
        }
        let file = fs::OpenOptions::new().write(true).open(&long).expect("the trace");
        file.set_len(4096 * 1024).expect("a length");
    });
    let output = run_to_end(&mut limited, PATIENCE);
    grows.join().expect("no panic");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!((output.status.code(), &*said), (Some(0), "ok\n"), "{}", stderr(&output));
    assert!(traced.stats()["trace_lost"].as_u64() > Some(0), "{}", traced.stats());
}

#[test]
fn a_trace_that_cannot_be_made_is_said_before_anything_runs() {
    let dir = disk_dir();
    let mut command = tool();
    command.args(["run", "--trace", "nowhere/trace", "--", "touch", "ran"]);
    let output = run_to_end(command.current_dir(dir.path()), PATIENCE);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("cannot create nowhere/trace: No such file or directory"), "{said}");
    assert!(!dir.path().join("ran").exists());
}
