//! In which order pages are touched: reproducible from a seed.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// How skewed the `zipf` order is: the exponent that YCSB uses.
const ZIPF_EXPONENT: f64 = 0.99;

/// The orders there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Page after page, each thread in a part of its own.
    Sequential,
    /// Every page as likely as any other.
    Random,
    /// Few pages often, most of them seldom: the page of rank r with a weight of
    /// r^-0.99, the ranks strewn over the file.
    Zipf,
}

/// A small generator of random numbers (SplitMix64, Steele and others 2014). The same
/// seed gives the same numbers everywhere, so what was touched can be computed again.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Different streams of one seed have nothing to do with each other.
    pub fn new(seed: u64, stream: u64) -> Random {
        Random(mix(seed) ^ mix(stream.wrapping_add(0x5bd1_e995)))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number under `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// A number in 0..1.
    fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A bijection of 64 bits whose results look random (the end of SplitMix64).
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The part of `total` that thread `thread` of `threads` gets.
pub fn part(total: u64, thread: u64, threads: u64) -> Range<u64> {
    let at = |thread: u64| (u128::from(total) * u128::from(thread) / u128::from(threads)) as u64;
    at(thread)..at(thread + 1)
}

/// The pages that one thread touches, without end.
pub struct Pages {
    kind: Kind,
}

enum Kind {
    Sequential { part: Range<u64>, next: u64 },
    Random { pages: u64, random: Random },
    Zipf { zipf: Zipf, random: Random },
}

impl Pages {
    /// For thread `thread` of `threads` on a file of `pages` pages.
    pub fn new(order: Order, pages: u64, thread: u64, threads: u64, seed: u64) -> Pages {
        let random = Random::new(seed, thread);
        let kind = match order {
            Order::Sequential => {
                // More threads than pages: those that have no part share the whole.
                let own = part(pages, thread, threads);
                let part = if own.is_empty() { 0..pages } else { own };
                Kind::Sequential { next: part.start, part }
            }
            Order::Random => Kind::Random { pages, random },
            Order::Zipf => Kind::Zipf { zipf: Zipf::new(pages), random },
        };
        Pages { kind }
    }
}

impl Iterator for Pages {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        Some(match &mut self.kind {
            Kind::Sequential { part, next } => {
                let page = *next;
                *next = if page + 1 == part.end { part.start } else { page + 1 };
                page
            }
            Kind::Random { pages, random } => random.below(*pages),
            Kind::Zipf { zipf, random } => zipf.page(random),
        })
    }
}

/// Zipf's distribution by rejection-inversion (Hörmann and Derflinger 1996): no table,
/// a constant time per number.
pub struct Zipf {
    pages: u64,
    /// Coprime to `pages`, so that `rank × stride` reaches every page.
    stride: u64,
    low: f64,
    high: f64,
    shortcut: f64,
}

impl Zipf {
    /// Over `pages` pages, of which there is one at least.
    pub fn new(pages: u64) -> Zipf {
        let mut stride = (pages as f64 * 0.618) as u64 | 1;
        while common_divisor(stride, pages) != 1 {
            stride += 2;
        }
        Zipf {
            pages,
            stride,
            low: integral(1.5) - 1.0,
            high: integral(pages as f64 + 0.5),
            shortcut: 2.0 - integral_inverse(integral(2.5) - weight(2.0)),
        }
    }

    /// The next page.
    pub fn page(&self, random: &mut Random) -> u64 {
        let rank = loop {
            let at = self.high + random.fraction() * (self.low - self.high);
            let inverse = integral_inverse(at);
            let rank = (inverse + 0.5).floor().clamp(1.0, self.pages as f64);
            if rank - inverse <= self.shortcut || at >= integral(rank + 0.5) - weight(rank) {
                break rank as u64 - 1;
            }
        };
        (u128::from(rank) * u128::from(self.stride) % u128::from(self.pages)) as u64
    }
}

fn weight(rank: f64) -> f64 {
    rank.powf(-ZIPF_EXPONENT)
}

fn integral(rank: f64) -> f64 {
    (rank.powf(1.0 - ZIPF_EXPONENT) - 1.0) / (1.0 - ZIPF_EXPONENT)
}

fn integral_inverse(value: f64) -> f64 {
    (1.0 + value * (1.0 - ZIPF_EXPONENT)).powf(1.0 / (1.0 - ZIPF_EXPONENT))
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(order: Order, pages: u64, touches: usize) -> Vec<u64> {
        let mut counts = vec![0; pages as usize];
        for page in Pages::new(order, pages, 0, 1, 7).take(touches) {
            counts[page as usize] += 1;
        }
        counts
    }

    #[test]
    fn sequential_parts_cover_every_page_once() {
        let mut seen = vec![0; 103];
        for thread in 0..4 {
            let part = part(103, thread, 4);
            let len = (part.end - part.start) as usize;
            for page in Pages::new(Order::Sequential, 103, thread, 4, 0).take(len) {
                seen[page as usize] += 1;
            }
        }
        assert!(seen.iter().all(|count| *count == 1));
    }

    #[test]
    fn zipf_is_skewed_as_its_exponent_says() {
        let mut counts = counts(Order::Zipf, 1000, 200_000);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        // The sum of r^-0.99 over 1..=1000 is 7.73, so the first rank gets 12.9 %.
        assert!((24_000..28_000).contains(&counts[0]), "{}", counts[0]);
        let ratio = counts[0] as f64 / counts[9] as f64;
        assert!((8.0..12.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn every_order_works_on_one_page() {
        for order in [Order::Sequential, Order::Random, Order::Zipf] {
            assert_eq!(counts(order, 1, 10), [10]);
        }
    }

    #[test]
    fn random_reaches_all() {
        assert!(counts(Order::Random, 100, 10_000).iter().all(|count| *count > 50));
    }
}
