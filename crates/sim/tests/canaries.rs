//! Planted bugs: each is found by some seed, in less than a minute.
//!
//! `cargo test -p faultless-sim --features canary`

#![cfg(feature = "canary")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use faultless_engine::Canary;
use faultless_sim::{Bug, Kind, Options, run};

/// Runs seeds until one fails, for a minute at most.
fn find(bug: Bug) {
    find_in(bug, Options::new);
}

fn find_in(bug: Bug, options: fn(u64) -> Options) {
    let began = Instant::now();
    for seed in 0.. {
        let options = Options { bug: Some(bug), failures: false, ..options(seed) };
        if catch_unwind(AssertUnwindSafe(|| run(options))).is_err() {
            println!("{bug:?}: found by seed {seed} after {:?}", began.elapsed());
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{bug:?} is not found");
    }
}

#[test]
fn a_missing_flush() {
    find(Bug::MissingFlush);
}

#[test]
fn addresses_that_are_given_away_with_their_pages() {
    // Only threads that share a space can meet it.
    find_in(Bug::NotRetired, |seed| Options { kind: Kind::Threads, ..Options::new(seed) });
}

#[test]
fn a_lost_dirty_bit() {
    find(Bug::Engine(Canary::LostDirty));
}

#[test]
fn a_frame_that_is_free_twice() {
    find(Bug::Engine(Canary::DoubleFree));
}

#[test]
fn a_page_that_outlives_a_truncation() {
    find(Bug::Engine(Canary::StaleAfterTruncate));
}

#[test]
fn a_copy_on_write_that_is_not_split() {
    find(Bug::Engine(Canary::UnsplitAfterFork));
}
