//! How often what has happened: a simulator that does nothing finds nothing.

use std::collections::BTreeMap;
use std::fmt;

use faultless_engine::Stats;

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    /// It has happened once more.
    pub fn note(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// All that another has counted.
    pub fn add(&mut self, other: &Tally) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// What an engine has counted.
    pub fn add_stats(&mut self, stats: &Stats) {
        let counts = [
            ("fault: major", stats.faults_major),
            ("fault: minor", stats.faults_minor),
            ("fault: write", stats.faults_write),
            ("fault: copy", stats.faults_copy),
            ("fault: zeros", stats.faults_zero),
            ("fault: signal", stats.signals),
            ("page: written", stats.pages_written),
            ("page: evicted", stats.evictions),
            ("page: second chance", stats.second_chances),
            ("page: shown around a touched one", stats.pages_around),
            ("error: read", stats.read_errors),
            ("error: write", stats.write_errors),
        ];
        for (what, count) in counts {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// How often it has happened.
    pub fn count(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }
}

impl fmt::Display for Tally {
    /// A line for each kind of things: `fault: 12 major, 7 minor`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kind = "";
        for (what, count) in &self.0 {
            let (of, what) = what.split_once(": ").unwrap_or(("other", what));
            match of == kind {
                true => write!(f, ", {count} {what}")?,
                false if kind.is_empty() => write!(f, "{of}: {count} {what}")?,
                false => write!(f, "\n{of}: {count} {what}")?,
            }
            kind = of;
        }
        Ok(())
    }
}
