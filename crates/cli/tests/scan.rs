//! `faultless scan`: every order, delivery and policy; and no write is lost.

mod common;

use std::path::Path;

use common::{bytes, disk_dir, file, json, number, run, stderr};
use serde_json::Value;

fn scan(path: &Path, more: &[&str]) -> Value {
    let more = more.iter().map(AsRef::as_ref);
    let output =
        run(["--json".as_ref(), "scan".as_ref(), path.as_os_str()].into_iter().chain(more));
    assert_eq!(output.status.code(), Some(0), "{more:?}: {}", stderr(&output), more = output);
    let report = json(&output);
    assert_eq!(report["ok"], true);
    let (frames, budget) = ("/faultless/frames_bytes_max", "/faultless/memory_bytes");
    assert!(number(&report, frames) <= number(&report, budget));
    report
}

#[test]
fn every_order_by_both_deliveries() {
    let dir = disk_dir();
    let path = file(dir.path(), "file", (8 << 20) + 100);
    for delivery in ["thread", "inline"] {
        for order in ["sequential", "random", "zipf"] {
            let arguments =
                ["--memory", "1M", "--order", order, "--delivery", delivery, "--threads", "3"];
            let report = scan(&path, &arguments);
            assert_eq!(number(&report, "/touches"), 2049.0);
            assert_eq!(number(&report, "/faultless/phases/0/accesses"), 2049.0);
            assert!(number(&report, "/faultless/phases/0/faults_major") > 0.0);
            assert!(number(&report, "/faultless/phases/0/evictions") > 0.0);
        }
    }
    assert!(std::fs::read(&path).expect("there") == bytes((8 << 20) + 100), "unchanged");
}

#[test]
fn writes_by_every_policy_are_all_found_again() {
    let dir = disk_dir();
    let path = file(dir.path(), "file", (4 << 20) + 4001);
    for policy in ["two-list", "clock", "sieve", "s3-fifo"] {
        for (delivery, granule) in [("thread", "4K"), ("inline", "16K")] {
            let arguments = [
                "--memory",
                "512K",
                "--order",
                "zipf",
                "--touches",
                "5k",
                "--write",
                "40",
                "--threads",
                "4",
                "--policy",
                policy,
                "--delivery",
                delivery,
                "--granule",
                granule,
                "--yes-change-my-file",
            ];
            let report = scan(&path, &arguments);
            let increments = number(&report, "/verified/increments");
            assert!((1700.0..2300.0).contains(&increments), "{increments}");
            assert_eq!(number(&report, "/verified/words_wrong"), 0.0);
        }
    }
    assert!(std::fs::read(&path).expect("there") != bytes((4 << 20) + 4001), "changed");
}

#[test]
fn beside_the_kernel() {
    let dir = disk_dir();
    let path = file(dir.path(), "file", 4 << 20);
    let arguments = [
        "--memory",
        "1M",
        "--order",
        "random",
        "--write",
        "100",
        "--compare",
        "--yes-change-my-file",
    ];
    let report = scan(&path, &arguments);
    assert_eq!(number(&report, "/verified/increments"), 2048.0, "by both sides");
    assert_eq!(report["ratios"].as_array().map(Vec::len), Some(2));
    assert!(number(&report, "/kernel/phases/0/seconds") > 0.0);
    let kind = report["kernel"]["bound"]["kind"].as_str();
    assert!(matches!(kind, Some("cgroup" | "unbounded")), "{kind:?}");
}

#[test]
fn a_file_is_not_changed_unless_that_is_said() {
    let dir = disk_dir();
    let path = file(dir.path(), "file", 4096);
    let output = run(["scan".as_ref(), path.as_os_str(), "--write".as_ref(), "1".as_ref()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--yes-change-my-file"), "{}", stderr(&output));
    assert!(std::fs::read(&path).expect("there") == bytes(4096));
}

#[test]
fn small_files() {
    let dir = disk_dir();
    for size in [0, 7] {
        let path = file(dir.path(), "file", size);
        let output = run(["scan".as_ref(), path.as_os_str()]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("too few"), "{}", stderr(&output));
    }
    for size in [8, 4095, 4096, 4097, 4104] {
        let path = file(dir.path(), "file", size);
        let arguments = ["--write", "100", "--yes-change-my-file", "--threads", "3"];
        assert_eq!(number(&scan(&path, &arguments), "/verified/words_wrong"), 0.0);
        assert_eq!(std::fs::metadata(&path).expect("there").len(), size as u64);
    }
}

#[test]
fn options_that_are_wrong() {
    let dir = disk_dir();
    let path = file(dir.path(), "file", 4096);
    let cases: [(&[&str], i32, &str); 5] = [
        (&["--policy", "lru"], 2, "two-list"),
        (&["--granule", "5K"], 1, "power of two"),
        (&["--memory", "1K"], 1, "64 KiB"),
        (&["--threads", "0"], 2, "1..=1024"),
        (&["--write", "101"], 2, "0..=100"),
    ];
    for (arguments, code, words) in cases {
        let more = arguments.iter().map(AsRef::as_ref);
        let output = run(["scan".as_ref(), path.as_os_str()].into_iter().chain(more));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
    }
}
