//! Programs built elsewhere, compared by a command line: `--peer NAME=COMMAND`.
//!
//! COMMAND is run by the shell, in a cgroup of the same limit as everybody else's and what it
//! needs to start and to hold its list, with the case in its environment, and prints one line of
//! JSON:
//!
//! ```text
//! FAULTLESS_BENCH_WORKLOAD      W1, W2, W3 or W4 (those of one file whose list isn't too long)
//! FAULTLESS_BENCH_FILE          the file; its words are 8 bytes, little-endian
//! FAULTLESS_BENCH_BYTES         how much of it is accessed
//! FAULTLESS_BENCH_MEMORY_BYTES  the budget for its pages
//! FAULTLESS_BENCH_THREADS       threads that access
//! FAULTLESS_BENCH_WARM          accesses (W3: pages) before the clock starts
//! FAULTLESS_BENCH_TIMED         accesses (W3: pages) under the clock
//! FAULTLESS_BENCH_ACCESSES      a file of WARM + TIMED numbers of 8 bytes, little-endian: the
//!                               word to load, or, with the highest bit set, the word to which
//!                               1 is added; in this order, shared out among the threads in
//!                               blocks. (W3 has none: pages 0 to WARM - 1, then 0 to
//!                               TIMED - 1; words 0, 8, 16 … 504 of each.)
//! FAULTLESS_BENCH_BLOCK         how many accesses a thread takes at once
//!
//! {"seconds": 1.5, "accesses": 65536, "sum": 123, "bytes_read": 268435456}
//! ```
//!
//! `crates/bench/peers/build.sh` builds two, UMap and vmcache, with what each needs to play W1
//! and W2; `umap` and `vmcache` are the names that have bounds in W1.
//!
//! `seconds` is the time of the timed accesses, a final flush included; `accesses` is TIMED;
//! `sum` the wrapping sum over all loads, warm ones too, of value × (2 × word number + 1);
//! `bytes_read` what the device gave under the clock, if known (/proc/self/io).

use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use faultless_measure::disk::Temporary;
use faultless_measure::problem::{Problem, Result};
use serde::Deserialize;

use crate::case::Case;
use crate::content::accessed_words;
use crate::job::{Amount, Job, Measured};
use crate::play::block;
use crate::shape::Shape;
use crate::system::System;

/// Set in what names a store.
const STORE: u64 = 1 << 63;
/// What a program that is not ours may need beside the budget when it starts.
pub const START_BYTES: u64 = 16 << 20;

/// A program to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What tables call it.
    pub name: String,
    /// How it is run.
    pub command: String,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Peer, String> {
        let parts = text.split_once('=').filter(|(name, command)| {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            !name.is_empty() && name.chars().all(is_name) && !command.is_empty()
        });
        let (name, command) = parts.ok_or_else(|| format!("'{text}' is not NAME=COMMAND"))?;
        if !matches!(System::from(name.to_owned()), System::Peer(_)) {
            return Err(format!("'{name}' is a system already: give another name"));
        }
        Ok(Peer { name: name.to_owned(), command: command.to_owned() })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.command)
    }
}

/// What a peer prints.
#[derive(Deserialize)]
struct Told {
    seconds: f64,
    accesses: u64,
    sum: u64,
    #[serde(default)]
    bytes_read: u64,
}

/// What the list of a case's accesses takes.
pub fn list_bytes(case: &Case) -> u64 {
    match case.workload.definition().shape(case) {
        Shape::Accesses(_) => (case.warm + case.timed) * size_of::<u64>() as u64,
        _ => 0,
    }
}

/// Can peers be asked to play a case?
pub fn can_play(case: &Case) -> bool {
    let shape = case.workload.definition().shape(case);
    let is_known = matches!(shape, Shape::Accesses(_) | Shape::Scan);
    // A list that is longer than half of the budget would decide what is measured.
    case.files == 1 && is_known && list_bytes(case) <= case.memory_bytes / 2
}

/// The command of a peer for a job, and the list of accesses, which is removed when dropped.
pub fn command(peer: &Peer, job: &Job) -> Result<(Command, Option<Temporary>)> {
    let case = &job.case;
    let mut command = Command::new("/bin/sh");
    // It goes into the cgroup itself, before it is the program: all that it takes counts.
    let script = match &job.cgroup {
        Some(_) => format!("echo 0 > \"$FAULTLESS_BENCH_CGROUP/cgroup.procs\" && {}", peer.command),
        None => peer.command.clone(),
    };
    command.arg("-c").arg(script);
    if let Some(dir) = &job.cgroup {
        command.env("FAULTLESS_BENCH_CGROUP", dir);
    }
    command
        .env("FAULTLESS_BENCH_WORKLOAD", case.workload.to_string())
        .env("FAULTLESS_BENCH_FILE", job.files.path(0))
        .env("FAULTLESS_BENCH_BYTES", case.bytes.to_string())
        .env("FAULTLESS_BENCH_MEMORY_BYTES", case.memory_bytes.to_string())
        .env("FAULTLESS_BENCH_THREADS", case.threads.to_string())
        .env("FAULTLESS_BENCH_WARM", case.warm.to_string())
        .env("FAULTLESS_BENCH_TIMED", case.timed.to_string())
        .env("FAULTLESS_BENCH_BLOCK", block(case.threads).to_string());
    let list = match case.workload.definition().shape(case) {
        Shape::Accesses(sequence) => {
            let words = accessed_words(case, &*sequence);
            let numbers =
                words.iter().map(|(word, is_store)| word | if *is_store { STORE } else { 0 });
            let bytes: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
            Some(write_list(&job.files.dir, &bytes)?)
        }
        _ => None,
    };
    if let Some(list) = &list {
        command.env("FAULTLESS_BENCH_ACCESSES", &list.path);
    }
    Ok((command, list))
}

fn write_list(dir: &Path, bytes: &[u8]) -> Result<Temporary> {
    let mut list = Temporary::new(dir, "bench-accesses")?;
    list.file.write_all(bytes).map_err(Problem::on("write", &list.path))?;
    Ok(list)
}

/// What a peer's line says, which must be the last one.
pub fn parse(case: &Case, output: &str) -> Result<Measured> {
    let line = output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let told: Told = serde_json::from_str(line).map_err(|error| {
        Problem::new(format!("its last line is not what is asked for: {error}"))
    })?;
    // (Not a number isn't positive either.)
    if told.accesses != case.timed || !(told.seconds > 0.0 && told.seconds.is_finite()) {
        let Told { accesses, seconds, .. } = told;
        return Err(Problem::new(format!(
            "it tells of {accesses} accesses in {seconds} s, where {} were asked for",
            case.timed
        )));
    }
    Ok(Measured {
        seconds: told.seconds,
        accesses: told.accesses,
        sum: told.sum,
        bytes_read: told.bytes_read,
        amount: Amount { accesses: case.warm + told.accesses, scanned: 0 },
        ..Measured::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_command() {
        let peer: Peer = "umap=./umap --pages=4".parse().expect("it is one");
        assert_eq!((&*peer.name, &*peer.command), ("umap", "./umap --pages=4"));
        for wrong in ["umap", "=x", "umap=", "a b=c", "inline=c"] {
            assert!(wrong.parse::<Peer>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_can_t_be_is_not_believed() {
        let options = crate::case::Scale {
            bytes: 1 << 20,
            memory_bytes: 1 << 20,
            threads: None,
            seed: 1,
            seconds: 1.0,
        };
        let case = Case { timed: 8, ..options.case(crate::workloads::Workload::W1) };
        let told = |seconds: &str, accesses: u64| {
            let line = format!("{{\"seconds\":{seconds},\"accesses\":{accesses},\"sum\":1}}");
            parse(&case, &line).map(|measured| measured.rate())
        };
        assert_eq!(told("2", 8).expect("it is right"), 4.0);
        for (seconds, accesses) in [("0", 8), ("-1", 8), ("2", 7), ("2", 1 << 60)] {
            assert!(told(seconds, accesses).is_err(), "{accesses} in {seconds} s");
        }
    }
}
