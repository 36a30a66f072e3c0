//! `faultless broker`: processes that share a cache, and processes that die.
//!
//! `FAULTLESS_ROUNDS` makes the random ones longer, `FAULTLESS_SEED` other.

mod common;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::compile::{compiled, run_to_end};
use common::{disk_dir, stderr, tool};

/// A broker of its own process. One that nobody has ended is killed.
struct Service {
    child: Child,
    socket: PathBuf,
}

impl Service {
    fn start(dir: &Path, memory: &str) -> Service {
        let socket = dir.join("socket");
        let mut command = tool();
        command.arg("broker").arg("--socket").arg(&socket).args(["--memory", memory]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert!(line.starts_with("listening at"), "{line}");
        Service { child, socket }
    }

    fn run(&self, program: &Path) -> Command {
        let mut command = tool();
        command.arg("run").arg("--socket").arg(&self.socket).arg("--").arg(program);
        command
    }

    /// Open descriptors, and threads that serve clients.
    fn held(&self) -> (usize, usize) {
        let list = |what: &str| {
            let dir = format!("/proc/{}/{what}", self.child.id());
            fs::read_dir(dir).expect("it runs").flatten().map(|entry| entry.path())
        };
        let name = |task: PathBuf| fs::read_to_string(task.join("comm")).unwrap_or_default();
        let serves = |task: &PathBuf| name(task.clone()).starts_with("faultless-clien");
        (list("fd").count(), list("task").filter(serves).count())
    }

    /// The most memory that it has had, in bytes.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the peak");
        let kib: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("one");
        kib << 10
    }

    /// Ends it as an administrator does; answers what it said.
    fn end(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        let mut said = String::new();
        self.child.stdout.take().expect("piped").read_to_string(&mut said).expect("text");
        assert!(self.child.wait().expect("it ends").success());
        assert!(!self.socket.exists(), "the socket is left");
        said
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn from_environment(name: &str, or: u64) -> u64 {
    let value = std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let value = value.unwrap_or(or);
    eprintln!("{name}={value}");
    value
}

/// A file of whole pages, empty.
fn sparse(dir: &Path, mib: u64) -> PathBuf {
    let path = dir.join("file");
    fs::File::create(&path).expect("a file").set_len(mib << 20).expect("a length");
    path
}

/// A file of 8 MiB whose words tell their places, from 1 on.
fn telling_places(dir: &Path) -> PathBuf {
    let words = (1..=(8u64 << 20) / 8).flat_map(u64::to_ne_bytes);
    let path = dir.join("file");
    fs::write(&path, words.collect::<Vec<u8>>()).expect("the file");
    path
}

/// The broker's heir, as long as it lives.
fn heir_of(broker: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{broker}/task/{broker}/children"));
    children.expect("it runs").split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
}

fn has_ended(pid: u32) -> bool {
    let limit = Instant::now() + Duration::from_secs(5);
    while Path::new(&format!("/proc/{pid}")).exists() {
        if Instant::now() > limit {
            return false;
        }
        sleep(Duration::from_millis(20));
    }
    true
}

#[test]
fn who_is_killed_harms_nobody() {
    let dir = disk_dir();
    let (herd, file) = (compiled(dir.path(), "herd"), sparse(dir.path(), 16));
    let (rounds, seed) =
        (from_environment("FAULTLESS_ROUNDS", 12), from_environment("FAULTLESS_SEED", 1));
    let service = Service::start(dir.path(), "6M");
    let mut held = Vec::new();
    for part in 0..3 {
        let mut command = service.run(&herd);
        let (rounds, seed) = ((rounds / 3).max(1).to_string(), (seed * 3 + part).to_string());
        command.arg(&file).args(["4", &rounds, &seed]);
        let output =
            run_to_end(&mut command, Duration::from_secs(60 + 2 * rounds.parse::<u64>().unwrap()));
        assert!(output.status.success(), "seed {seed}: {}", stderr(&output));
        // Sessions whose clients are gone end a moment later.
        sleep(Duration::from_millis(400));
        held.push(service.held());
    }
    // Rings and their like come with use.
    let (before, after) = (held[0], held[2]);
    assert!(after.0 <= before.0 + 3 && after.1 == 0, "descriptors and threads: {held:?}");
    let said = service.end();
    assert!(said.contains("pages in memory"), "{said}");
}

#[test]
fn a_crowd_shares_one_file_within_one_budget() {
    let dir = disk_dir();
    let count = from_environment("FAULTLESS_CROWD", 12) as usize;
    let mib = count as u64 * 10 / 4 * 4;
    let budget = mib / 4;
    let (crowd, file) = (compiled(dir.path(), "crowd"), sparse(dir.path(), mib));
    let service = Service::start(dir.path(), &format!("{budget}M"));
    let start = |me: usize| {
        let mut command = service.run(&crowd);
        command.arg(&file).args([me.to_string(), count.to_string()]).stderr(Stdio::piped());
        command.process_group(0).spawn().expect("it starts")
    };
    let children: Vec<Child> = (0..count).map(start).collect();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", stderr(&output));
    }
    // What it holds for all of them, and itself.
    let (peak, allowed) = (service.peak(), (budget + 24) << 20);
    assert!(peak < allowed, "{peak} bytes of {allowed}");
    service.end();
    let bytes = fs::read(&file).expect("the file");
    for page in 1..bytes.len() / 4096 {
        let word = |n: usize| {
            let at = page * 4096 + n * 8;
            u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight"))
        };
        let wants = |n: usize| page as u64 * 1_000_003 + 2 * 77 + n as u64;
        assert!((0..512).step_by(64).all(|n| word(n) == wants(n)), "page {page}");
    }
}

#[test]
fn when_the_broker_is_killed_what_is_not_there_is_an_error() {
    let dir = disk_dir();
    let witness = compiled(dir.path(), "witness");
    let file = telling_places(dir.path());
    let before = names();
    for round in 0..from_environment("FAULTLESS_ROUNDS", 5) {
        // Where one was killed, the next one starts.
        let mut service = Service::start(dir.path(), "2M");
        let heirs = heir_of(service.child.id());
        assert_eq!(heirs.len(), 1, "{heirs:?}");
        let mut command = service.run(&witness);
        command.arg(&file).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("it starts");
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        said.read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        sleep(Duration::from_micros(fastrand::u64(..30_000)));
        service.child.kill().expect("it runs");
        service.child.wait().expect("it ends");
        line.clear();
        said.read_line(&mut line).expect("a line");
        assert!(child.wait().expect("it ends").success(), "round {round}: {line}");
        let numbers: Vec<u64> =
            line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [right, refused, worst_ms] = numbers[..] else { panic!("{line}") };
        // Of 2048 pages the budget holds 500.
        assert!(right > 0 && refused > 1000 && worst_ms < 1000, "round {round}: {line}");
        assert!(heirs.into_iter().all(has_ended), "the heir outlives the last client");
    }
    assert!(names().is_subset(&before), "names are left in /dev/shm: {:?}", names());
}

/// Names of ours where shared memory has names.
fn names() -> BTreeSet<OsString> {
    let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().contains("faultless")).collect()
}

#[test]
fn a_client_outlives_a_broker_that_is_ended() {
    let dir = disk_dir();
    let witness = compiled(dir.path(), "witness");
    let file = telling_places(dir.path());
    let service = Service::start(dir.path(), "2M");
    let mut command = service.run(&witness);
    let mut child = command.arg(&file).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut said = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("a line");
    service.end();
    line.clear();
    said.read_line(&mut line).expect("a line");
    assert!(line.contains(" refused ") && child.wait().expect("it ends").success(), "{line}");
}

#[test]
fn nobody_listens_there() {
    let output = tool().args(["run", "--socket", "/nowhere/at/all", "--", "true"]).output();
    let output = output.expect("it runs");
    assert!(!output.status.success());
    assert!(stderr(&output).contains("faultless broker --socket"), "{}", stderr(&output));
}
