//! `faultless broker` with limits on what one client may have, and on how many there are.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use common::compile::{compiled, run_to_end};
use common::service::Service;
use common::{disk_dir, stderr, tool};

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker with limits; what it says besides is in a file.
fn limited(dir: &Path, limits: &[&str]) -> Service {
    let mut command = Service::command(dir, "4M");
    command.args(limits).stderr(fs::File::create(dir.join("said")).expect("a file"));
    Service::begin(command, dir)
}

/// What `hoard` says of some words, a line each, and who has served its mappings.
fn hoard(service: &Service, dir: &Path, words: &[&str]) -> (Vec<String>, Vec<String>) {
    let trace = dir.join("trace");
    let mut command = tool();
    command.arg("run").arg("--socket").arg(&service.socket).arg("--trace").arg(&trace).arg("--");
    command.arg(dir.join("hoard")).args(words).current_dir(dir);
    let output = run_to_end(&mut command, PATIENCE);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    let text = fs::read_to_string(trace).expect("the trace");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let maps = lines.filter(|line| line["args"]["flags_names"] == "MAP_SHARED");
    let by = |line: &Value| {
        let reason = line["reason"].as_str().or(line["errno"].as_str());
        reason.or(line["by"].as_str()).unwrap_or_default().to_owned()
    };
    (said, maps.map(|line| by(&line)).collect())
}

#[test]
fn a_client_has_so_many_mappings_and_no_more() {
    let dir = disk_dir();
    compiled(dir.path(), "hoard");
    let service = limited(dir.path(), &["--client-mappings", "2"]);
    let (said, by) = hoard(&service, dir.path(), &["a", "b", "c", "a", "-", "a", "b"]);
    let refused = "Cannot allocate memory";
    assert_eq!(said, ["mapped", "mapped", "mapped", refused, "unmapped", "mapped", "mapped"]);
    let served = "faultless";
    assert_eq!(by, [served, served, "client_mappings", "ENOMEM", served, served]);
    // What one has by the kernel, nobody has otherwise.
    let (said, by) = hoard(&service, dir.path(), &["c", "b"]);
    assert_eq!(
        (said.join(" "), by.join(" ")),
        ("mapped mapped".into(), "kernels_file faultless".into())
    );
    let end = service.end();
    assert!(
        end.contains("0 clients not served, 1 mappings left to the kernel, 1 refused"),
        "{end}"
    );
}

#[test]
fn a_client_maps_so_many_files_and_no_more() {
    let dir = disk_dir();
    compiled(dir.path(), "hoard");
    let service = limited(dir.path(), &["--client-files", "1"]);
    // A file that has been served, and whose pages have stayed, is the kernel's with its bytes.
    assert_eq!(hoard(&service, dir.path(), &["b"]).1, ["faultless"]);
    let (said, by) = hoard(&service, dir.path(), &["a", "a", "b", "a"]);
    assert_eq!(said, ["mapped"; 4]);
    assert_eq!(by, ["faultless", "faultless", "client_files", "faultless"]);
    service.end();
}

/// A file of so many pages, each with its number in its first word.
fn numbered(path: &Path, pages: u64) {
    let page = |number: u64| {
        let mut page = vec![0; 4096];
        page[..8].copy_from_slice(&number.to_ne_bytes());
        page
    };
    fs::write(path, (0..pages).flat_map(page).collect::<Vec<u8>>()).expect("a file");
}

#[test]
fn a_client_at_the_limit_of_its_memory_takes_none_of_others() {
    let dir = disk_dir();
    compiled(dir.path(), "greedy");
    numbered(&dir.path().join("large"), 4096);
    numbered(&dir.path().join("small"), 512);
    let mut command = Service::command(dir.path(), "16M");
    command.args(["--client-memory", "2M"]);
    let service = Service::begin(command, dir.path());
    let run = |role: &str, file: &str| {
        let mut command = service.run(&dir.path().join("greedy"));
        command.arg(role).arg(dir.path().join(file));
        command
    };
    let mut modest = run("modest", "small");
    let mut modest = modest.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("runs");
    let mut says = BufReader::new(modest.stdout.take().expect("piped")).lines();
    assert_eq!(says.next().expect("a line").expect("text"), "there");

    let greedy = run_to_end(&mut run("greedy", "large"), PATIENCE);
    assert_eq!(String::from_utf8_lossy(&greedy.stdout), "right\n", "{}", stderr(&greedy));

    modest.stdin.take().expect("piped").write_all(b"go on\n").expect("it lives");
    assert_eq!(says.next().expect("a line").expect("text"), "0 had left");
    assert!(modest.wait().expect("it ends").success());
    let end = service.end();
    assert!(end.contains("at most 512 of them one client's"), "{end}");
}

#[test]
fn memory_for_a_client_has_a_least_size() {
    let dir = disk_dir();
    let mut command = Service::command(dir.path(), "16M");
    let output = run_to_end(command.args(["--client-memory", "64K"]), PATIENCE);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("give 1 MiB or more"), "{}", stderr(&output));
}

/// A program that stays until its input ends, and is connected.
fn stays(service: &Service) -> Child {
    let mut command = service.run(Path::new("cat"));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    child.stdin.as_mut().expect("piped").write_all(b"there\n").expect("it reads");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
    assert_eq!(line, "there\n");
    child
}

fn ends(mut child: Child) {
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn who_has_no_place_runs_without_and_says_so() {
    let dir = disk_dir();
    let service = limited(dir.path(), &["--clients", "1"]);
    let run = |arguments: &[&str]| {
        let mut command = service.run(Path::new(arguments[0]));
        run_to_end(command.args(&arguments[1..]), PATIENCE)
    };
    let first = stays(&service);
    let output = run(&["echo", "ran"]);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"ran\n"[..]));
    let said = stderr(&output);
    assert_eq!(said.matches("this one runs without it").count(), 1, "{said}");
    ends(first);
    // One that takes the place of another in its process, which is still being missed.
    for _ in 0..5 {
        let output = run(&["sh", "-c", "exec true"]);
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
    }
    let end = service.end();
    assert!(end.contains("1 clients not served"), "{end}");
    let said = fs::read_to_string(dir.path().join("said")).expect("what it said");
    assert_eq!(said, "faultless: as many programs as may be (1) are served: others run without\n");
}

#[test]
fn a_forked_child_has_what_its_parent_has_beyond_the_limit() {
    let dir = disk_dir();
    let program = compiled(dir.path(), "mixed");
    let service = limited(dir.path(), &["--clients", "1"]);
    let mut command = service.run(&program);
    command.args(["file", "1", "300"]).current_dir(dir.path());
    let output = run_to_end(&mut command, PATIENCE);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!((&*said, stderr(&output)), ("ok\n", String::new()));
    assert!(service.end().starts_with("served "), "more than one, and none refused");
}

#[test]
fn who_connects_and_says_nothing_takes_no_more_than_some_threads() {
    let dir = disk_dir();
    let service = limited(dir.path(), &["--clients", "2"]);
    let silent: Vec<_> = (0..200).map(|_| connect(&service.socket)).collect();
    sleep(Duration::from_millis(300));
    let (_, threads) = service.held();
    assert!(threads <= 64, "{threads}");
    drop(silent);
    sleep(Duration::from_millis(300));
    let output = run_to_end(&mut service.run(Path::new("true")), PATIENCE);
    assert_eq!(stderr(&output), "", "there is room again");
    service.end();
}

fn connect(socket: &Path) -> rustix::fd::OwnedFd {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let kind = SocketType::SEQPACKET;
    let connection =
        rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
    let connection = connection.expect("a socket");
    let address = SocketAddrUnix::new(socket).expect("a path");
    rustix::net::connect(&connection, &address).expect("the broker listens");
    connection
}
