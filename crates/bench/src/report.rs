//! The report as text: a table for each case, as they end; then what was to be reached.

use faultless_measure::model::PAGE;
use faultless_measure::size::Size;
use faultless_measure::table::Table;

use crate::job::Measured;
use crate::rounds::CaseResult;
use crate::run::{Reached, Report};
use crate::shape::Shape;
use crate::spread::Spread;
use crate::system::System;
use crate::targets::{Of, Target};
use crate::{costs, quick};

/// A target's ratio in a case.
pub fn ratio(result: &CaseResult, target: &Target) -> Option<Spread> {
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
            "latency of",
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
        "MB/s" => format!("{:.0}", measured.rate() * PAGE as f64 / 1e6),
        "walks/s" => format!("{:.0}", measured.rate()),
        _ => format!("{:.1}", measured.rate() / 1e3),
    };
    let ratio = result.ratio(system, &System::Kernel, Measured::rate);
    let reads = measured.bytes_read as f64 / PAGE as f64;
    // A peer tells of no more than its reads, if of those.
    let is_peer = matches!(system, System::Peer(_));
    let told = |is_known: bool, text: String| if is_known { text } else { "-".to_owned() };
    let reads_are_known = !is_peer || measured.bytes_read > 0;
    let hits = 100.0 - 100.0 * reads / case.timed as f64;
    let has_hits = result.best_hit_percent.is_some() && reads_are_known;
    let latency = measured.latency;
    let micros = |ns: u64| told(latency.samples > 0, format!("{:.1}", ns as f64 / 1e3));
    vec![
        system.to_string(),
        rate,
        ratio.map_or("-".to_owned(), |ratio| format!("{:.2}", ratio.median)),
        told(reads_are_known, Size(measured.bytes_read).to_string()),
        told(!is_peer, Size(measured.bytes_written).to_string()),
        told(has_hits, format!("{hits:.1}")),
        told(!is_peer, format!("{:.2}", measured.cpu_user_ms as f64 / 1e3)),
        told(!is_peer, format!("{:.2}", measured.cpu_system_ms as f64 / 1e3)),
        told(!is_peer, measured.faults.to_string()),
        Size(measured.peak_bytes).to_string(),
        told(latency.samples > 0, latency.of.to_string()),
        micros(latency.p50_ns),
        micros(latency.p99_ns),
        micros(latency.p999_ns),
    ]
}

fn targets(reached: &[Reached]) -> Table {
    let columns = ["case", "ratio of", "to", "ratio", "least", "most", "bound", ""];
    let mut table = Table::new(3, &columns);
    for Reached { case, target, spread, met } in reached {
        let (of, bound) = match target.of {
            Of::Throughput => (target.ours.to_string(), format!("≥ {:.2}", target.bound)),
            Of::DeviceReads => {
                (format!("reads of {}", target.ours), format!("≤ {:.2}", target.bound))
            }
        };
        let number =
            |of: fn(Spread) -> f64| spread.map_or("-".to_owned(), |it| format!("{:.2}", of(it)));
        let met = match (met, spread) {
            (Some(true), _) => "met",
            (Some(false), _) => "MISSED",
            (None, Some(_)) => "not comparable",
            (None, None) => "not measured",
        };
        table.row(vec![
            case.clone(),
            of,
            target.against.to_string(),
            number(|it| it.median),
            number(|it| it.least),
            number(|it| it.most),
            bound,
            met.to_owned(),
        ]);
    }
    table
}
