//! Throughput over time since the cold start, as mmapbench draws it: does it hold when memory
//! is full?

use super::colour;
use super::svg::{Anchor, Svg, short, ticks};
use crate::rounds::CaseResult;
use crate::system::System;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 560.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 350.0;

/// A curve for each system: its median run.
pub fn draw(result: &CaseResult) -> String {
    let curves: Vec<(&System, Vec<(f64, f64)>)> = result
        .runs
        .keys()
        .filter_map(|system| Some((system, rates(&result.median(system)?.series))))
        .collect();
    let points = || curves.iter().flat_map(|(_, curve)| curve);
    let seconds = ticks(points().map(|(at, _)| *at).fold(0.0, f64::max));
    let rates = ticks(points().map(|(_, rate)| *rate).fold(0.0, f64::max));
    let (last_second, last_rate) = (seconds[seconds.len() - 1], rates[rates.len() - 1]);
    let x = |second: f64| LEFT + (RIGHT - LEFT) * second / last_second;
    let y = |rate: f64| BOTTOM - (BOTTOM - TOP) * rate / last_rate;

    let mut svg = Svg::new(WIDTH, HEIGHT, &format!("{}: accesses in a second", result.case.name()));
    for rate in rates {
        svg.line(&[(LEFT, y(rate)), (RIGHT, y(rate))], "#dddddd", 1.0);
        svg.text(LEFT - 6.0, y(rate) + 4.0, Anchor::End, &short(rate));
    }
    for second in seconds {
        svg.line(&[(x(second), BOTTOM), (x(second), BOTTOM + 5.0)], "#444444", 1.0);
        svg.text(x(second), BOTTOM + 20.0, Anchor::Middle, &short(second));
    }
    svg.text((LEFT + RIGHT) / 2.0, BOTTOM + 40.0, Anchor::Middle, "seconds since the cold start");
    for (nth, (system, curve)) in curves.iter().enumerate() {
        let line: Vec<(f64, f64)> = curve.iter().map(|(at, rate)| (x(*at), y(*rate))).collect();
        svg.line(&line, colour(system), 1.5);
        let at = TOP + 18.0 * nth as f64;
        svg.line(&[(RIGHT + 15.0, at), (RIGHT + 35.0, at)], colour(system), 3.0);
        svg.text(RIGHT + 40.0, at + 4.0, Anchor::Start, &system.to_string());
    }
    svg.finish()
}

/// Accesses in a second, between two points each.
fn rates(series: &[(f64, u64)]) -> Vec<(f64, f64)> {
    let steps = series.windows(2).filter(|pair| pair[1].0 - pair[0].0 > 0.01);
    steps
        .map(|pair| (pair[1].0, (pair[1].1 - pair[0].1) as f64 / (pair[1].0 - pair[0].0)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_was_done_in_between() {
        assert_eq!(rates(&[(0.0, 0), (0.5, 100), (1.0, 100)]), [(0.5, 200.0), (1.0, 0.0)]);
    }
}
