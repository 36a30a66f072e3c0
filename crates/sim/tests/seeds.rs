//! Some seeds of the simulator; `cargo xtask sim` runs more.

use faultless_sim::{Options, run};

#[test]
fn seeds() {
    for seed in 0..200 {
        println!("cargo xtask sim --seed {seed}");
        run(Options::new(seed));
    }
}
