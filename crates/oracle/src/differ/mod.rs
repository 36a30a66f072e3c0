//! Random calls on systems side by side.
//!
//! ```text
//! episode: world of a seed ─► generate ─┬► pair: system │ model ───────────┬─► differ? ─► shrink
//!                                       └► trio: system │ kernel, and models ┘
//! ```

mod episode;
mod generate;
mod generate_files;
mod pair;
mod random;
mod told;
mod trio;
mod weights;

use std::fmt::{self, Write as _};
use std::io;

use crate::system::World;

pub use episode::{Ended, Step, beside_kernel, beside_model, replay, run, shrink, world};
pub use pair::Pair;
pub use told::{Difference, Told};
pub use trio::Trio;

/// Calls in one world; then another begins.
pub const EPISODE_CALLS: u64 = 1500;

/// A difference, told so that it can be looked into.
#[derive(Debug)]
pub struct Found {
    /// The episode's seed.
    pub seed: u64,
    /// Calls up to the difference.
    pub step: u64,
    /// As it was found.
    pub difference: Box<Difference>,
    /// The shortest sequence that differs, and in what; without a difference it
    /// could not be repeated.
    pub shrunk: (Vec<Step>, Option<Box<Difference>>),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { seed, step, difference, shrunk } = self;
        writeln!(f, "seed {seed}, call {step}: {difference}")?;
        let world = world(*seed);
        writeln!(f, "in {world:x?}")?;
        match &shrunk.1 {
            Some(difference) => {
                let mut text = String::new();
                for (process, call) in &shrunk.0 {
                    writeln!(text, "    ({process:?}, Call::{call:?}),")?;
                }
                writeln!(f, "{} calls are enough:\n{text}{difference}", shrunk.0.len())?;
            }
            None => writeln!(f, "the calls alone do not show it")?,
        }
        write!(f, "again: the first {step} calls of seed {seed}")
    }
}

/// Runs one episode; a difference is shrunk.
///
/// # Errors
/// Whatever keeps a system from being made.
pub fn episode<T: Told>(
    make: impl Fn(World) -> io::Result<T> + Copy,
    seed: u64,
    calls: u64,
) -> io::Result<(Ended, Option<Found>)> {
    let mut ended = run(make, seed, calls)?;
    let Some((difference, steps)) = ended.difference.take() else { return Ok((ended, None)) };
    let step = ended.calls;
    let shrunk = shrink(make, world(seed), steps)?;
    Ok((ended, Some(Found { seed, step, difference, shrunk })))
}
