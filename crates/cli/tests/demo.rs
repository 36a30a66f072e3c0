//! `faultless demo`: right, within its budget, and leaving nothing behind.

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{disk_dir, json, number, run, stderr, tool};
use rustix::process::{Pid, Signal, kill_process};

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).expect("a directory").next().is_none()
}

/// Cgroups that a process has made.
fn cgroups(pid: u32) -> Vec<PathBuf> {
    let name = format!("faultless-{pid}");
    let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"];
    mounts.iter().map(|mount| Path::new(mount).join(&name)).filter(|dir| dir.exists()).collect()
}

/// Is there a process whose arguments name this directory?
fn has_process_for(dir: &Path) -> bool {
    let name = dir.to_str().expect("UTF-8").as_bytes();
    let mut processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes.any(|process| {
        let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
        arguments.windows(name.len()).any(|window| window == name)
    })
}

#[test]
fn a_small_one() {
    let dir = disk_dir();
    let mut command = tool();
    command.args(["--json", "demo", "--size", "32M", "--memory", "4M", "--dir"]).arg(dir.path());
    let output = command.output().expect("the tool starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = json(&output);
    assert_eq!(report["ok"], true);
    assert_eq!(number(&report, "/file_bytes"), f64::from(32 << 20));
    assert_eq!(number(&report, "/memory_bytes"), f64::from(4 << 20));
    assert_eq!(number(&report, "/verified/words_wrong"), 0.0);
    assert_eq!(number(&report, "/verified/bytes_after_faultless"), f64::from(32 << 20));

    let frames = number(&report, "/faultless/frames_bytes_max");
    assert!(frames > 0.0 && frames <= f64::from(4 << 20), "{frames}");
    assert!(number(&report, "/faultless/bookkeeping_bytes") > 0.0);
    // The page memory, the tables, and the stacks of the threads.
    let grew = number(&report, "/faultless/rss_growth_bytes_max");
    assert!(grew < f64::from(12 << 20), "{grew}");

    let phases = report["faultless"]["phases"].as_array().expect("phases");
    let names: Vec<_> = phases.iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["in order", "at random", "change 1 of 16 pages", "flush"]);
    for phase in &phases[..3] {
        assert!(number(phase, "/seconds") > 0.0);
        assert!(number(phase, "/accesses") > 0.0);
        assert!(number(phase, "/faults_major") > 0.0);
        assert!(number(phase, "/faults_joined") >= 0.0);
        assert_eq!(number(phase, "/words_wrong"), 0.0);
    }
    // All is read once at least, and half of the file has to leave.
    assert!(number(&phases[0], "/bytes_read") >= f64::from(32 << 20));
    assert!(number(&phases[0], "/evictions") > 4096.0);
    let changed = phases[2..].iter().map(|phase| number(phase, "/bytes_written"));
    assert!(changed.sum::<f64>() >= f64::from(2 << 20));

    let kernel = report["kernel"]["phases"].as_array().expect("the kernel's phases");
    assert_eq!(kernel.len(), 4);
    assert!(is_empty(dir.path()));
}

#[test]
fn text_says_what_happened() {
    let dir = disk_dir();
    let mut command = tool();
    command.args(["demo", "--size", "8M", "--memory", "1M", "--keep", "--dir"]).arg(dir.path());
    let output = command.output().expect("the tool starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    for words in ["in order", "kernel mmap", "of a budget of 1 MiB", "all right", "is kept"] {
        assert!(text.contains(words), "no '{words}' in\n{text}");
    }
    assert!(!is_empty(dir.path()), "--keep");
}

#[test]
fn no_room_is_said_before_anything_is_written() {
    let dir = disk_dir();
    let mut command = tool();
    command.args(["demo", "--size", "900T", "--dir"]).arg(dir.path());
    let output = command.output().expect("the tool starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is needed"), "{}", stderr(&output));
    assert!(is_empty(dir.path()));
}

#[test]
fn an_error_leaves_nothing_behind() {
    let dir = disk_dir();
    let mut command = tool();
    command.args(["demo", "--size", "1M", "--memory", "4K", "--dir"]).arg(dir.path());
    let output = command.output().expect("the tool starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("budget"), "{}", stderr(&output));
    assert!(is_empty(dir.path()));
    assert_eq!(run(["demo", "--size", "0"]).status.code(), Some(1));
}

/// A long demonstration in `dir`.
fn start(dir: &Path) -> Child {
    let mut command: Command = tool();
    command.args(["demo", "--size", "256M", "--memory", "1M", "--dir"]).arg(dir);
    command.stdout(Stdio::null()).spawn().expect("the tool starts")
}

/// Waits until `is_so`, and sends the signal then.
fn interrupt(mut child: Child, dir: &Path, signal: Signal, is_so: impl Fn(u32) -> bool) {
    let pid = child.id();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so(pid) {
        if let Some(status) = child.try_wait().expect("a child") {
            panic!("it ended too early: {status}");
        }
        assert!(Instant::now() < deadline, "it takes too long");
        thread::sleep(Duration::from_millis(2));
    }
    kill_process(Pid::from_child(&child), signal).expect("it lives");
    let status = child.wait().expect("it ends");
    assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
    assert!(is_empty(dir), "the file is gone");
    assert_eq!(cgroups(pid), Vec::<PathBuf>::new());
    assert!(!has_process_for(dir), "the child is gone");
}

#[test]
fn interrupted_while_it_writes_the_file() {
    let dir = disk_dir();
    interrupt(start(dir.path()), dir.path(), Signal::INT, |_| !is_empty(dir.path()));
}

#[test]
fn interrupted_while_faultless_walks() {
    let dir = disk_dir();
    // Its threads are there as soon as the file is written.
    let walks = |pid| {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
        tasks.count() >= 5
    };
    interrupt(start(dir.path()), dir.path(), Signal::TERM, walks);
}

#[test]
fn interrupted_while_the_kernel_walks() {
    let dir = disk_dir();
    let here = |pid: u32| {
        let children = format!("/proc/{pid}/task/{pid}/children");
        fs::read_to_string(children).is_ok_and(|children| !children.trim().is_empty())
    };
    interrupt(start(dir.path()), dir.path(), Signal::INT, here);
}
