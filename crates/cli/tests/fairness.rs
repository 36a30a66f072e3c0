//! `faultless broker`: what one client may take of another's time.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use common::compile::{compiled, run_to_end};
use common::service::{Service, sparse};
use common::{disk_dir, stderr};

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A thousand threads of one client fault as fast as they can. In the order in which faults
/// came, each of another's would wait for a thousand.
#[test]
fn who_faults_much_keeps_nobody_waiting() {
    let dir = disk_dir();
    let program = compiled(dir.path(), "storm");
    let much = sparse(dir.path(), 64);
    let little = dir.path().join("little");
    fs::File::create(&little).expect("a file").set_len(8 << 20).expect("a length");
    let service = Service::start(dir.path(), "4M");
    let mut storm = service.run(&program);
    storm.arg(&much).arg("1000").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut storm = storm.spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(storm.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    sleep(Duration::from_millis(200));
    let output = run_to_end(service.run(&program).arg(&little), PATIENCE);
    drop(storm.stdin.take());
    assert!(storm.wait().expect("it ends").success());
    assert!(output.status.success(), "{}", stderr(&output));
    let said = String::from_utf8_lossy(&output.stdout);
    let took: Vec<u64> = said.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let [slowest, tenth] = took[..] else { panic!("{said}") };
    eprintln!("of 200 faults the slowest took {slowest} us, the tenth slowest {tenth} us");
    // The slowest few are the scheduler's, which has a thousand threads besides.
    assert!(tenth < 50_000 && slowest < 2_000_000, "microseconds: {said}");
}
