//! What a run of the benchmark is asked for.

use std::path::PathBuf;

use faultless_measure::size::Size;

use crate::case::Scale;
use crate::peer::Peer;
use crate::system::System;
use crate::workloads::Workload;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Counts that no clock is in, held against bounds: seconds.
    Quick,
    /// Ratios on a file of 512 MiB.
    Usual,
    /// Ratios on a file of 1 GiB, with a hot set for 30 s, and all small costs.
    Full,
}

/// What is asked for; what is not said depends on the form.
#[derive(Clone, Debug)]
pub struct Options {
    /// How much.
    pub form: Form,
    /// Which workloads; all if empty and no costs are asked for.
    pub workloads: Vec<Workload>,
    /// The small costs, too.
    pub costs: bool,
    /// Only these systems, by their names; all if empty.
    pub systems: Vec<String>,
    /// The file's length in bytes.
    pub size: Option<u64>,
    /// The budget in bytes.
    pub memory: Option<u64>,
    /// Numbers of threads.
    pub threads: Option<Vec<u64>>,
    /// Interleaved runs of each system.
    pub runs: Option<u64>,
    /// How long the hot set is measured, in seconds.
    pub seconds: Option<f64>,
    /// What random choices depend on.
    pub seed: u64,
    /// Where files are made.
    pub dir: PathBuf,
    /// Programs to compare with.
    pub peers: Vec<Peer>,
    /// Where pictures go.
    pub plot: Option<PathBuf>,
}

impl Options {
    /// What cases are made from.
    pub fn scale(&self) -> Scale {
        let (bytes, memory, seconds) = match self.form {
            Form::Quick => (16 << 20, 2 << 20, 1.0),
            Form::Usual => (512 << 20, 64 << 20, 10.0),
            Form::Full => (1 << 30, 128 << 20, 30.0),
        };
        Scale {
            bytes: self.size.unwrap_or(bytes),
            memory_bytes: self.memory.unwrap_or(memory),
            threads: self.threads.clone(),
            seed: self.seed,
            seconds: self.seconds.unwrap_or(seconds),
        }
    }

    /// How often each system runs.
    pub fn runs(&self) -> u64 {
        self.runs.unwrap_or(match self.form {
            Form::Quick => 1,
            Form::Usual | Form::Full => 5,
        })
    }

    /// The workloads to be run.
    pub fn workloads(&self) -> Vec<Workload> {
        match self.workloads.is_empty() && !self.costs {
            true => Workload::ALL.to_vec(),
            false => self.workloads.clone(),
        }
    }

    /// Is a system asked for? Peers are, for they are named only to be measured.
    pub fn wants(&self, system: &System) -> bool {
        let is_peer = matches!(system, System::Peer(_));
        is_peer || self.systems.is_empty() || self.systems.contains(&system.to_string())
    }

    /// The command that does the same again.
    pub fn command(&self) -> String {
        let scale = self.scale();
        let mut words = vec!["faultless bench".to_owned()];
        match self.form {
            Form::Quick => words.push("--quick".to_owned()),
            Form::Usual => {}
            Form::Full => words.push("--full".to_owned()),
        }
        let mut workloads: Vec<String> = self.workloads.iter().map(Workload::to_string).collect();
        workloads.extend(self.costs.then(|| "costs".to_owned()));
        if !workloads.is_empty() {
            words.push(format!("--workload {}", workloads.join(",")));
        }
        if !self.systems.is_empty() {
            words.push(format!("--system {}", self.systems.join(",")));
        }
        words.push(format!("--size {} --memory {}", exact(scale.bytes), exact(scale.memory_bytes)));
        if let Some(threads) = &self.threads {
            let threads: Vec<String> = threads.iter().map(u64::to_string).collect();
            words.push(format!("--threads {}", threads.join(",")));
        }
        words.push(format!("--runs {} --seconds {}", self.runs(), scale.seconds));
        words.push(format!("--seed {} --dir {}", self.seed, self.dir.display()));
        words.extend(self.peers.iter().map(|peer| format!("--peer '{peer}'")));
        words.join(" ")
    }
}

/// A size as `--size` takes it, to the byte.
fn exact(bytes: u64) -> String {
    let powers = [(30, "G"), (20, "M"), (10, "K")];
    let whole = powers.iter().find(|(power, _)| bytes.is_multiple_of(1 << power));
    match whole {
        Some((power, suffix)) => format!("{}{suffix}", bytes >> power),
        None => Size(bytes).0.to_string(),
    }
}
