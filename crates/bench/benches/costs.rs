//! What single steps cost: `cargo bench -p faultless-bench`. Each group is measured in a
//! process of its own, which is this program again.

use std::process::ExitCode;

use faultless_bench::{child, costs, rounds};
use faultless_measure::disk;

#[global_allocator]
static ALLOCATOR: faultless_bench::allocations::Counting = faultless_bench::allocations::Counting;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let result = match (arguments.next().as_deref(), arguments.next()) {
        (Some(rounds::CHILD_COMMAND), Some(job)) => child::run(&job),
        _ => costs::run(&disk::default_dir(), costs::RUNS)
            .map(|costs| print!("{}", costs::table(&costs))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
