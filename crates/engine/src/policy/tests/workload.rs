//! What programs do: loads in an order that one seed repeats.

use std::{
    collections::{HashSet, VecDeque},
    vec::Vec,
};

/// The hit ratio of a plain FIFO.
pub fn fifo(capacity: usize, pages: &[u64]) -> f64 {
    let mut queue = VecDeque::new();
    let mut resident = HashSet::new();
    let mut hits = 0;
    for &page in pages {
        if !resident.insert(page) {
            hits += 1;
            continue;
        }
        queue.push_back(page);
        if queue.len() > capacity {
            resident.remove(&queue.pop_front().expect("it is full"));
        }
    }
    hits as f64 / pages.len() as f64
}

/// SplitMix64: workloads that one seed repeats.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// `count` pages out of `universe`, the n-th with a weight of 1/n.
pub fn zipf(seed: u64, universe: u64, count: usize) -> Vec<u64> {
    let mut sums = Vec::new();
    let mut sum = 0.0;
    for rank in 1..=universe {
        sum += 1.0 / rank as f64;
        sums.push(sum);
    }
    let mut random = Random(seed);
    (0..count)
        .map(|_| {
            let point = random.unit() * sum;
            // Neighbours in rank should not be neighbours in place.
            (sums.partition_point(|&s| s < point) as u64).wrapping_mul(7919) % universe
        })
        .collect()
}

/// Half of the loads go to `hot` pages, the others go through everything once.
pub fn hot_and_scan(seed: u64, hot: u64, count: usize) -> Vec<u64> {
    let mut random = Random(seed);
    let mut cold = 1 << 20;
    (0..count)
        .map(|_| {
            if random.below(2) == 0 {
                return random.below(hot);
            }
            cold += 1;
            cold
        })
        .collect()
}
