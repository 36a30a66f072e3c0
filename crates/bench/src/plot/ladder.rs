//! Latencies: half of all, 99 and 99.9 of a hundred, and the longest, on a scale of powers of
//! ten.

use super::colour;
use super::svg::{Anchor, Svg, short};
use crate::histogram::Latency;
use crate::rounds::CaseResult;
use crate::system::System;

const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 480.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 330.0;
/// Steps of the ladder.
const STEPS: [&str; 4] = ["50 %", "99 %", "99.9 %", "longest"];

/// A line for each system, of its median run; nothing if no latencies were measured.
pub fn draw(result: &CaseResult) -> Option<String> {
    let lines: Vec<_> = result
        .runs
        .keys()
        .filter_map(|system| {
            let latency = result.median(system)?.latency;
            let ns = [latency.p50_ns, latency.p99_ns, latency.p999_ns, latency.max_ns];
            (latency.samples > 0).then_some((label(system, latency), system, ns))
        })
        .collect();
    let powers = || lines.iter().flat_map(|(_, _, ns)| ns).map(|ns| (*ns as f64).max(1.0).log10());
    let (first, last) = (powers().reduce(f64::min)?.floor(), powers().reduce(f64::max)?.ceil());
    let x = |step: usize| LEFT + 40.0 + (RIGHT - LEFT - 80.0) * step as f64 / 3.0;
    let y = |power: f64| BOTTOM - (BOTTOM - TOP) * (power - first) / (last - first).max(1.0);

    let mut svg = Svg::new(WIDTH, HEIGHT, &format!("{}: latency", result.case.name()));
    for power in first as i32..=last as i32 {
        let at = y(f64::from(power));
        svg.line(&[(LEFT, at), (RIGHT, at)], "#dddddd", 1.0);
        let label = format!("{} µs", short(10f64.powi(power) / 1e3));
        svg.text(LEFT - 4.0, at + 4.0, Anchor::End, &label);
    }
    for (step, label) in STEPS.iter().enumerate() {
        svg.text(x(step), BOTTOM + 20.0, Anchor::Middle, label);
    }
    for (nth, (label, system, ns)) in lines.iter().enumerate() {
        let line: Vec<(f64, f64)> = ns
            .iter()
            .enumerate()
            .map(|(step, ns)| (x(step), y((*ns as f64).max(1.0).log10())))
            .collect();
        svg.line(&line, colour(system), 2.0);
        let at = TOP + 18.0 * nth as f64;
        svg.line(&[(RIGHT + 15.0, at), (RIGHT + 35.0, at)], colour(system), 3.0);
        svg.text(RIGHT + 40.0, at + 4.0, Anchor::Start, label);
    }
    Some(svg.finish())
}

fn label(system: &System, latency: Latency) -> String {
    match latency.of {
        0 | 1 => system.to_string(),
        together => format!("{system} (of {together})"),
    }
}
