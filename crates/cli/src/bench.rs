//! `faultless bench`: the benchmark, as the tool has it.

use faultless_bench::{Form, Options, report};
use faultless_measure::disk;

use crate::args::{BenchArgs, Measure};
use crate::output::{Outcome, Output};
use crate::problem::Result;

/// Runs it.
pub fn run(args: &BenchArgs, output: Output) -> Result<Outcome> {
    let report =
        faultless_bench::run(&options(args), |result| output.show(|| report::case(result)))?;
    output.print(&report, || report::end(&report))?;
    Ok(if report.ok { Outcome::Ok } else { Outcome::Failed })
}

fn options(args: &BenchArgs) -> Options {
    let workloads = args.workload.iter().filter_map(|measure| match measure {
        Measure::Workload(workload) => Some(*workload),
        Measure::Costs => None,
    });
    Options {
        form: match (args.quick, args.full) {
            (true, _) => Form::Quick,
            (_, true) => Form::Full,
            _ => Form::Usual,
        },
        workloads: workloads.collect(),
        costs: args.workload.contains(&Measure::Costs),
        systems: args.system.clone(),
        size: args.size.map(|size| size.0),
        memory: args.memory.map(|size| size.0),
        threads: (!args.threads.is_empty()).then(|| args.threads.clone()),
        runs: args.runs,
        seconds: args.seconds,
        seed: args.seed,
        dir: args.dir.clone().unwrap_or_else(disk::default_dir),
        peers: args.peer.clone(),
        plot: args.plot.clone(),
    }
}
