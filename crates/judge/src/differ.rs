//! Random calls, episode by episode, until two sides differ or all calls are made.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use faultless_oracle::differ::{
    self, EPISODE_CALLS, Ended, Found, Told, beside_kernel, beside_model,
};
use faultless_oracle::kernel::{Kernel, why_not};
use faultless_oracle::system::World;

use crate::Budget;

/// Who is held against whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sides {
    /// Faultless against the kernel; where Linux leaves something open, the model says so.
    Faultless,
    /// Faultless against the model alone: it takes no kernel of a certain release.
    Model,
    /// The kernel against the model.
    Kernel,
}

impl Sides {
    fn name(self) -> &'static str {
        match self {
            Sides::Faultless => "faultless",
            Sides::Model => "model",
            Sides::Kernel => "kernel",
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Who is held against whom.
    pub sides: Sides,
    /// Faultless' memory.
    pub budget: Budget,
    /// The first episode's seed; each further one has the next.
    pub seed: u64,
    /// Calls in all.
    pub calls: u64,
    /// Stop after so many differences.
    pub differences_max: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Calls that were compared. The looks at all areas and bytes in between are not counted.
    pub calls: u64,
    /// Calls that succeeded.
    pub succeeded: u64,
    /// Calls that could not be compared: they hang on where an area ends, which Linux leaves
    /// open. They are not among the others.
    pub open: u64,
    /// Seeds that were run: from the first up to this.
    pub seed_end: u64,
    /// Seeds that can't be run on this machine, and why.
    pub left_out: Vec<(u64, String)>,
    /// What differed, with the command that shows it again.
    pub found: Vec<(Found, String)>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Order {
    /// Does it; `goes_on` is told of the report after each episode, and may end it.
    ///
    /// # Errors
    /// Whatever keeps a system from being made.
    pub fn run(&self, mut goes_on: impl FnMut(&Report) -> bool) -> io::Result<Report> {
        let began = Instant::now();
        let mut report = Report { seed_end: self.seed, ..Report::default() };
        // Every seed counts, so that it ends where no seed can be run.
        let seeds_max = 2 * self.calls.div_ceil(EPISODE_CALLS) + 100;
        while report.calls < self.calls
            && report.found.len() < self.differences_max
            && report.seed_end - self.seed < seeds_max
        {
            self.episode(&mut report)?;
            report.seed_end += 1;
            report.elapsed = began.elapsed();
            if !goes_on(&report) {
                break;
            }
        }
        Ok(report)
    }

    fn episode(&self, report: &mut Report) -> io::Result<()> {
        let seed = report.seed_end;
        let without_kernel = self.sides == Sides::Model;
        if let Some(reason) = why_not(&differ::world(seed)).filter(|_| !without_kernel) {
            report.left_out.push((seed, reason));
            return Ok(());
        }
        let calls = EPISODE_CALLS.min(self.calls - report.calls);
        let faultless = |world| Ok(self.budget.make(world));
        let (ended, found) = match self.sides {
            Sides::Faultless => run(beside_kernel(faultless), seed, calls, || self.again(seed)),
            Sides::Model => run(beside_model(faultless), seed, calls, || self.again(seed)),
            Sides::Kernel => run(beside_model(Kernel::new), seed, calls, || self.again(seed)),
        }?;
        report.calls += ended.calls - ended.left_out;
        report.open += ended.left_out;
        report.succeeded += ended.succeeded;
        report.found.extend(found.map(|found| (found, self.again(seed))));
        Ok(())
    }

    /// The command that runs one episode again.
    pub fn again(&self, seed: u64) -> String {
        let frames = match self.budget {
            Budget::Few => "few",
            Budget::Many => "many",
        };
        format!(
            "cargo run --release -p faultless-judge -- differ --system {} --frames {frames} \
             --seed {seed} --calls {EPISODE_CALLS}",
            self.sides.name()
        )
    }
}

fn run<T: Told>(
    make: impl Fn(World) -> io::Result<T> + Copy,
    seed: u64,
    calls: u64,
    again: impl Fn() -> String,
) -> io::Result<(Ended, Option<Found>)> {
    let replay = Replay(again());
    let ended = differ::episode(make, seed, calls);
    std::mem::forget(replay);
    ended
}

/// Says how to see it again, should the run not come to its end.
struct Replay(String);

impl Drop for Replay {
    fn drop(&mut self) {
        eprintln!("again: {}", self.0);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { calls, succeeded, open, found, seed_end, left_out, .. } = self;
        let seconds = self.elapsed.as_secs_f64();
        let rate = *calls as f64 / seconds;
        write!(
            f,
            "{calls} calls ({succeeded} succeeded; {open} more left open by Linux), seeds up to \
             {seed_end}, {} left out, {} differences, {seconds:.1} s, {rate:.0} calls/s",
            left_out.len(),
            found.len()
        )
    }
}
