//! What was reached of each ratio, as bars: right of the line is good.

use super::svg::{Anchor, Svg};
use crate::run::Reached;
use crate::targets::Of;

const WIDTH: f64 = 830.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 700.0;
const ROW: f64 = 20.0;
const TOP: f64 = 40.0;
/// More than so many times what was asked for is not drawn longer.
const MOST: f64 = 2.0;

/// A bar for each ratio that was measured; nothing if none was.
pub fn draw(reached: &[Reached]) -> Option<String> {
    let measured: Vec<(&Reached, f64)> =
        reached.iter().filter_map(|reached| Some((reached, reached.spread?.median))).collect();
    if measured.is_empty() {
        return None;
    }
    let height = TOP + ROW * measured.len() as f64 + 20.0;
    let mut svg = Svg::new(WIDTH, height, "Ratios, by what is asked for (the line)");
    let x = |share: f64| LEFT + (RIGHT - LEFT) * share.clamp(0.0, MOST) / MOST;
    for (nth, (reached, ratio)) in measured.iter().enumerate() {
        let y = TOP + ROW * nth as f64;
        let target = &reached.target;
        let (share, of, sign) = match target.of {
            Of::Throughput => (ratio / target.bound, target.ours.to_string(), '≥'),
            Of::DeviceReads => {
                (target.bound / ratio.max(1e-9), format!("reads of {}", target.ours), '≤')
            }
        };
        let label = format!("{}: {of} / {}", reached.case, target.against);
        svg.text(LEFT - 8.0, y + 14.0, Anchor::End, &label);
        let colour = if target.is_met(*ratio) { "#009e73" } else { "#d55e00" };
        svg.rectangle(LEFT, y + 3.0, x(share) - LEFT, ROW - 6.0, colour);
        let number = format!("{ratio:.2} ({sign} {:.2})", target.bound);
        svg.text(x(share) + 5.0, y + 14.0, Anchor::Start, &number);
    }
    svg.line(&[(x(1.0), TOP), (x(1.0), height - 15.0)], "#000000", 1.0);
    Some(svg.finish())
}
