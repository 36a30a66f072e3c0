//! The report as text: a table for each case, as they end; then what was to be reached.

use faultless_measure::size::Size;
use faultless_measure::table::Table;

use crate::job::Measured;
use crate::rounds::CaseResult;
use crate::run::{Reached, Report};
use crate::shape::Shape;
use crate::system::System;
use crate::targets::{Of, Target};
use crate::{costs, quick};

/// A target's ratio in a case.
pub fn ratio(result: &CaseResult, target: &Target) -> Option<f64> {
    let figure: fn(&Measured) -> f64 = match target.of {
        Of::Throughput => Measured::rate,
        Of::DeviceReads => |measured| measured.bytes_read as f64,
    };
    result.ratio(&target.ours, &target.against, figure)
}

/// What there is to say after the last case.
pub fn end(report: &Report) -> String {
    let mut text = String::new();
    if !report.costs.is_empty() {
        text += &format!("{}\n", costs::table(&report.costs));
    }
    if !report.counts.is_empty() {
        text += &format!("{}\n", quick::table(&report.counts));
    }
    if !report.reached.is_empty() {
        text += &format!("{}\n", targets(&report.reached));
    }
    for note in &report.notes {
        text += &format!("note    {note}\n");
    }
    text += &format!("machine {}\n", report.machine);
    text + &format!("repeat  {}\n", report.command)
}

/// What a case came to.
pub fn case(result: &CaseResult) -> String {
    let case = &result.case;
    let definition = case.workload.definition();
    let (unit, done) = match definition.shape(case) {
        Shape::Scan => ("MB/s", format!("{} pages, then {}", case.warm, case.timed)),
        Shape::HotAndScan { rate, .. } => {
            ("thousand/s", format!("{} s, a scan of {rate} pages/s beside it", case.seconds))
        }
        Shape::Walks(_) => ("walks/s", format!("{} to warm up, then {}", case.warm, case.timed)),
        Shape::Accesses(_) => {
            ("thousand/s", format!("{} to warm up, then {}", case.warm, case.timed))
        }
    };
    let mut text = format!(
        "{}: {}; {} in {} file(s) under {}; {done}\n",
        case.name(),
        definition.about(),
        Size(case.bytes),
        case.files,
        Size(case.memory_bytes),
    );
    let mut table = Table::new(
        1,
        &[
            "system",
            unit,
            "to kernel",
            "read",
            "written",
            "hits %",
            "user s",
            "system s",
            "faults",
            "peak",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
        ],
    );
    for system in result.runs.keys() {
        let Some(measured) = result.median(system) else { continue };
        table.row(row(result, system, measured, unit));
    }
    text += &table.to_string();
    if let Some(best) = result.best_hit_percent {
        text += &format!("best possible hits, by Belady's rule: {best:.1} %\n");
    }
    for (system, why) in &result.failed {
        text += &format!("{system} could not be measured: {why}\n");
    }
    text + "\n"
}

fn row(result: &CaseResult, system: &System, measured: &Measured, unit: &str) -> Vec<String> {
    let case = &result.case;
    let rate = match unit {
        "MB/s" => format!("{:.0}", measured.rate() * 4096.0 / 1e6),
        "walks/s" => format!("{:.0}", measured.rate()),
        _ => format!("{:.1}", measured.rate() / 1e3),
    };
    let ratio = result.ratio(system, &System::Kernel, Measured::rate);
    let reads = measured.bytes_read as f64 / 4096.0;
    let hits = match result.best_hit_percent {
        Some(_) => format!("{:.1}", 100.0 - 100.0 * reads / case.timed as f64),
        None => "-".to_owned(),
    };
    let micros = |ns: u64| match measured.latency.samples {
        0 => "-".to_owned(),
        _ => format!("{:.1}", ns as f64 / 1e3),
    };
    vec![
        system.to_string(),
        rate,
        ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
        Size(measured.bytes_read).to_string(),
        Size(measured.bytes_written).to_string(),
        hits,
        format!("{:.2}", measured.cpu_user_ms as f64 / 1e3),
        format!("{:.2}", measured.cpu_system_ms as f64 / 1e3),
        measured.faults.to_string(),
        Size(measured.peak_bytes).to_string(),
        micros(measured.latency.p50_ns),
        micros(measured.latency.p99_ns),
        micros(measured.latency.p999_ns),
    ]
}

fn targets(reached: &[Reached]) -> Table {
    let mut table = Table::new(3, &["case", "ratio of", "to", "ratio", "bound", ""]);
    for Reached { case, target, ratio, met } in reached {
        let (of, bound) = match target.of {
            Of::Throughput => (target.ours.to_string(), format!("≥ {:.2}", target.bound)),
            Of::DeviceReads => {
                (format!("reads of {}", target.ours), format!("≤ {:.2}", target.bound))
            }
        };
        let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let met = match met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        };
        let against = target.against.to_string();
        table.row(vec![case.clone(), of, against, ratio, bound, met.to_owned()]);
    }
    table
}
