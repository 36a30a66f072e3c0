//! Some seeds of the simulator; `cargo xtask sim` runs more.

use faultless_sim::{Options, run};

#[test]
fn seeds() {
    for seed in 0..100 {
        println!("cargo xtask sim --seed {seed}");
        run(Options::new(seed));
    }
}

/// Seeds in which something was wrong once. They run other things since the simulator
/// does more, but cost nothing.
#[test]
fn seeds_that_were_wrong_once() {
    for seed in [69, 138, 422, 1170, 2606, 102_230, 200_965, 300_015] {
        println!("cargo xtask sim --seed {seed}");
        run(Options::new(seed));
    }
}
