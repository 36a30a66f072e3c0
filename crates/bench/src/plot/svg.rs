//! A small writer of SVG: lines, rectangles, words, and axes with round numbers.

use std::fmt::Write as _;

/// A picture under construction, in units of a pixel.
pub struct Svg {
    body: String,
    width: f64,
    height: f64,
}

/// Where words stand by their point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Right of it.
    Start,
    /// Around it.
    Middle,
    /// Left of it.
    End,
}

impl Svg {
    /// An empty one with a title.
    pub fn new(width: f64, height: f64, title: &str) -> Svg {
        let mut svg = Svg { body: String::new(), width, height };
        svg.text(width / 2.0, 20.0, Anchor::Middle, title);
        svg
    }

    /// A line through points.
    pub fn line(&mut self, points: &[(f64, f64)], colour: &str, width: f64) {
        let mut list = String::new();
        for (x, y) in points {
            let _ = write!(list, "{x:.1},{y:.1} ");
        }
        let list = list.trim_end();
        let _ = writeln!(
            self.body,
            r#"<polyline points="{list}" fill="none" stroke="{colour}" stroke-width="{width}"/>"#
        );
    }

    /// A filled rectangle.
    pub fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"/>"#
        );
    }

    /// Words.
    pub fn text(&mut self, x: f64, y: f64, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
        );
    }

    /// The whole file.
    pub fn finish(self) -> String {
        let (width, height) = (self.width, self.height);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
            self.body
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Round numbers from 0 to `max` or a little more, about five.
pub fn ticks(max: f64) -> Vec<f64> {
    let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
    let power = 10f64.powf((max / 5.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| max / step <= 5.0).unwrap_or(10.0 * power);
    (0..=(max / step).ceil() as u32).map(|n| f64::from(n) * step).collect()
}

/// A number in few letters: 1500 as 1.5k.
pub fn short(number: f64) -> String {
    let scales = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    match scales.into_iter().find(|(scale, _)| number.abs() >= *scale) {
        Some((scale, suffix)) => format!("{}{suffix}", trim(number / scale)),
        None => trim(number),
    }
}

fn trim(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_top() {
        assert_eq!(ticks(9.3), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(100.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        for max in [0.0, 0.07, 1.0, 123_456.0] {
            let ticks = ticks(max);
            assert!(ticks.len() >= 2 && *ticks.last().expect("one") >= max, "{ticks:?}");
        }
    }

    #[test]
    fn numbers_are_short_and_words_are_harmless() {
        let numbers = [1500.0, 2e6, 0.25, 40.0].map(short);
        assert_eq!(numbers, ["1.5k", "2M", "0.25", "40"]);
        let mut svg = Svg::new(10.0, 10.0, "a < b & c");
        svg.line(&[(0.0, 0.0), (1.0, 2.0)], "red", 1.0);
        let text = svg.finish();
        assert!(text.contains("a &lt; b &amp; c") && text.ends_with("</svg>\n"), "{text}");
    }
}
