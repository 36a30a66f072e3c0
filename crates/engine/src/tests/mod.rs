//! The engine driven by a machine in memory, with every operation of every plan
//! carried out one at a time in an order that a seed chooses.

mod account;
mod around;
mod cases;
mod change;
mod device;
mod driver;
mod full_swap;
mod given;
mod groups;
mod heritage;
mod meets;
mod moves;
mod passes;
mod sweep;
mod world;

use world::World;

use crate::PolicyKind;

/// Runs `seeds` worlds; a failure names its seed.
fn run(seeds: core::ops::Range<u64>, policy: PolicyKind) {
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| World::new(seed, policy).run(400));
        if let Err(panic) = outcome {
            std::eprintln!(
                "seed {seed}, policy {policy} failed; World::new({seed}, ..) replays it"
            );
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn random_worlds_two_list() {
    run(0..300, PolicyKind::TwoList);
}

#[test]
fn random_worlds_clock() {
    run(1000..1150, PolicyKind::Clock);
}

#[test]
fn random_worlds_sieve() {
    run(2000..2150, PolicyKind::Sieve);
}

#[test]
fn random_worlds_s3_fifo() {
    run(3000..3150, PolicyKind::S3Fifo);
}
