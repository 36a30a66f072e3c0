//! Latencies, counted in buckets that are each a sixteenth of a power of two wide.

use serde::{Deserialize, Serialize};

const FINE: u32 = 4;
const BUCKETS: usize = (64 << FINE) + 1;

/// Counts of durations in nanoseconds.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

/// What a histogram says, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many were measured.
    pub samples: u64,
    /// Of how many accesses each is, which were asked for together.
    #[serde(default)]
    pub of: u64,
    /// Half are not longer.
    pub p50_ns: u64,
    /// Of a hundred, 99 are not longer.
    pub p99_ns: u64,
    /// Of a thousand, 999 are not longer.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
        self.total += 1;
        self.max = self.max.max(ns);
    }

    /// Adds what another thread counted.
    pub fn merge(&mut self, other: &Histogram) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// What it says.
    pub fn summary(&self) -> Latency {
        Latency {
            samples: self.total,
            of: 1,
            p50_ns: self.at(500),
            p99_ns: self.at(990),
            p999_ns: self.at(999),
            max_ns: self.max,
        }
    }

    /// What `thousandths` of all are not longer than, to a sixteenth.
    fn at(&self, thousandths: u64) -> u64 {
        let wanted = (self.total * thousandths).div_ceil(1000);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return upper(index).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(ns: u64) -> usize {
    if ns < 1 << FINE {
        return ns as usize;
    }
    let power = ns.ilog2();
    let fine = (ns >> (power - FINE)) & ((1 << FINE) - 1);
    (((power - FINE + 1) << FINE) as u64 + fine) as usize
}

/// The longest duration of a bucket.
fn upper(bucket: usize) -> u64 {
    let (power, fine) = ((bucket >> FINE) as u32, (bucket & ((1 << FINE) - 1)) as u64);
    match power {
        0 => fine,
        _ => (((1 << FINE) + fine + 1) << (power - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_hold_what_they_should() {
        for ns in (0..5000).chain([1 << 20, (1 << 30) + 12_345]) {
            let index = bucket(ns);
            assert!(ns <= upper(index), "{ns} in {index} up to {}", upper(index));
            assert!(index == 0 || ns > upper(index - 1), "{ns} in {index}");
        }
    }

    #[test]
    fn percentiles_are_right_to_a_sixteenth() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|ns| histogram.add(ns * 100));
        let latency = histogram.summary();
        let near = |found: u64, right: u64| found >= right && found <= right + right / 16;
        assert!(near(latency.p50_ns, 50_000), "{latency:?}");
        assert!(near(latency.p99_ns, 99_000), "{latency:?}");
        assert_eq!((latency.samples, latency.max_ns), (1000, 100_000));
        assert_eq!(Histogram::default().summary(), Latency { of: 1, ..Latency::default() });
    }
}
