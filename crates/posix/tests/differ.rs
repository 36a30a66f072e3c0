//! Random calls on Faultless and the model of Linux: some seeds of them; the example `judge` runs more.

mod common;

use faultless_oracle::differ::{self, EPISODE_CALLS, Make};

/// Runs the episodes of some seeds.
fn agree(make: Make<common::Faultless>, how: &str) {
    for seed in 0..8 {
        println!("cargo run -p faultless-posix --example judge -- {how} {seed} 1");
        let (_, found) = differ::episode(make, seed, EPISODE_CALLS).unwrap();
        assert!(found.is_none(), "{}", found.unwrap());
    }
}

#[test]
fn with_memory() {
    agree(common::with_memory, "many");
}

#[test]
fn short_of_memory() {
    agree(common::short_of_memory, "few");
}
