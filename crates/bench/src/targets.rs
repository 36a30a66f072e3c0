//! What is to be reached, as ratios within one run.

use serde::Serialize;

use crate::system::System;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// Accesses in a second: the more the better.
    Throughput,
    /// Bytes read from the device: the fewer the better.
    DeviceReads,
}

/// One ratio that a workload asks for.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// Whose figure is divided,
    pub ours: System,
    /// by whose.
    pub against: System,
    /// The figure.
    pub of: Of,
    /// At least, for throughput; at most, for reads.
    pub bound: f64,
}

impl Target {
    /// Throughput of at least `bound` times the other's.
    pub fn at_least(bound: f64, ours: System, against: System) -> Target {
        Target { ours, against, of: Of::Throughput, bound }
    }

    /// Device reads of at most `bound` times the other's.
    pub fn reads_at_most(bound: f64, ours: System, against: System) -> Target {
        Target { ours, against, of: Of::DeviceReads, bound }
    }

    /// Is a ratio good enough?
    pub fn is_met(&self, ratio: f64) -> bool {
        match self.of {
            Of::Throughput => ratio >= self.bound,
            Of::DeviceReads => ratio <= self.bound,
        }
    }
}
