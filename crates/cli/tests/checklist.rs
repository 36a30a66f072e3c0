//! The checklist of Linux's memory calls, line by line, with `faultless run` in between: this
//! test's own program is what runs under it, and its worker processes make the calls.

mod common;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use common::compile::run_to_end;
use common::{stderr, tool};
use faultless_oracle::directed;
use faultless_oracle::kernel::Kernel;

/// Longer than it takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where a program under Faultless meets something else than Linux's own, and why.
const DIFFERENT: [(&str, &str); 7] = [
    ("lengths of 0, too long, that wrap; offsets", AREAS),
    ("a mapping outlives close, unlink and rename", AREAS),
    (
        "the file grows over a tail that was stored to: tmpfs",
        "what is stored behind the end of a file is zeros when it grows, also on tmpfs",
    ),
    (
        "fallocate, copy_file_range and O_DIRECT against mappings",
        "fallocate that moves the bytes of a mapped file about (COLLAPSE, INSERT) is EOPNOTSUPP",
    ),
    (
        "DONTUNMAP",
        "mremap leaves nothing mapped behind a file's pages: EINVAL, as before Linux 5.13",
    ),
    ("remap_file_pages", "remap_file_pages of a file is EINVAL"),
    ("remap_file_pages over areas of which one has had a guard", "as above"),
];

const AREAS: &str = "/proc/self/maps shows the broker's memory, which children don't inherit by \
                     the kernel but by Faultless";

/// And where private anonymous memory is served, besides.
const DIFFERENT_ANONYMOUS: [(&str, &str); 21] = [
    ("FIXED: not aligned, too high, in place of what is there", AREAS),
    ("munmap: parameters; holes", AREAS),
    ("a split past vm.max_map_count", AREAS),
    ("mprotect, DONTFORK and mlock split areas, and back", AREAS),
    ("marks: MERGEABLE, HUGEPAGE, DONTDUMP; COLLAPSE of a little", AREAS),
    ("WIPEONFORK, KEEPONFORK", AREAS),
    ("fork: copied, shared, left out, wiped, not locked", AREAS),
    ("RLIMIT_AS and RLIMIT_DATA", "RLIMIT_DATA counts private memory, which this isn't"),
    ("neighbours are one area if all is the same", "what is alike can be made longer together"),
    ("mseal", SEALS),
    ("mseal: advice that loses bytes", SEALS),
    (
        "the same size to another place, over several areas (6.17)",
        "mremap moves several areas only without holes between them",
    ),
    ("DONTUNMAP of a part unlocks the whole area", "as DONTUNMAP of a file"),
    ("and goes on counting it", "as above"),
    ("locked memory up to the limit", LOCKS),
    ("an ordinary user and the limit", LOCKS),
    ("MCL_FUTURE", LOCKS),
    (
        "locking copies private pages that may be written",
        "a file's page that is locked is copied when it is stored to, not before",
    ),
    ("holes, past the end, PROT_NONE; lengths", "mincore says of it what it says of shared memory"),
    ("GUARD_INSTALL, GUARD_REMOVE", "a child has no guards"),
    ("growing in place, shrinking", AREAS),
];

const SEALS: &str = "for the kernel it is shared memory: a seal doesn't stop advice there, and an \
                     unmap that a seal stops halfway has been told before";

const LOCKS: &str = "MAP_LOCKED and MCL_FUTURE lock what is mapped without looking at limits, or \
                     not at all, as of files; and memory that grows elsewhere isn't locked";

#[test]
fn every_line_is_as_without_or_named_here() {
    compare(&[], &DIFFERENT);
}

#[test]
fn so_it_is_with_anonymous_memory() {
    compare(&["--anonymous"], &[&DIFFERENT[..], &DIFFERENT_ANONYMOUS].concat());
}

fn compare(options: &[&str], different: &[(&str, &str)]) {
    let mut command = tool();
    command.args(["run", "--memory", "16M", "--all"]).args(options).arg("--");
    command.arg(std::env::current_exe().expect("the test's name"));
    command.args(["--exact", "played", "--ignored", "--nocapture"]);
    let output = run_to_end(&mut command, PATIENCE);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", stderr(&output));
    let found: BTreeMap<_, _> = said.lines().filter_map(|line| line.split_once(" | ")).collect();
    assert!(found.len() > 60, "{said}");
    let right = found.values().filter(|verdict| **verdict == "right").count();
    println!("{} cases, {right} right", found.len());
    for (what, verdict) in &found {
        let named = different.iter().any(|(different, _)| different == what);
        match *verdict {
            "right" => assert!(!named, "{what}: is right, and named as different"),
            "not played" => {}
            _ => assert!(named, "{what}: {verdict}"),
        }
    }
}

/// What runs under Faultless: the model is right about the kernel, so who differs from it here
/// has been served by Faultless.
#[test]
#[ignore = "run by another test, under Faultless"]
fn played() {
    let mut last = String::new();
    for case in directed::cases() {
        let row = directed::play(Kernel::new, &case).expect("it can be played");
        let verdict = match &row.not {
            Some(_) => "not played".to_owned(),
            None if row.is_right() => "right".to_owned(),
            None => row.to_string(),
        };
        // A line for each case: two may have one name, in two places.
        if verdict != "not played" || row.what != last {
            println!("{} | {}", row.what, verdict.replace('\n', " "));
        }
        last = row.what.to_owned();
    }
}

/// Without Faultless all of it is right, so that a difference is Faultless's.
#[test]
fn every_line_is_right_without() {
    let mut command = Command::new(std::env::current_exe().expect("the test's name"));
    command.args(["--exact", "played", "--ignored", "--nocapture"]);
    let output = run_to_end(&mut command, PATIENCE);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", stderr(&output));
    let lines: Vec<_> = said.lines().filter_map(|line| line.split_once(" | ")).collect();
    assert!(lines.len() > 60, "{said}");
    for (what, verdict) in lines {
        assert!(["right", "not played"].contains(&verdict), "{what}: {verdict}");
    }
}
