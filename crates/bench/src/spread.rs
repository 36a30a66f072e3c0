//! What several measurements of one thing come to.

use serde::Serialize;

/// The middle, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Half are not more, half not less: of an even number, between the two in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Of these; none if there are none.
    pub fn of(mut all: Vec<f64>) -> Option<Spread> {
        all.sort_by(f64::total_cmp);
        let (least, most) = (*all.first()?, *all.last()?);
        let (lower, upper) = (all[(all.len() - 1) / 2], all[all.len() / 2]);
        Some(Spread { median: lower.midpoint(upper), least, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_odd_and_even_numbers() {
        let median = |all: &[f64]| Spread::of(all.to_vec()).map(|it| it.median);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        let spread = Spread::of(vec![2.0, 5.0, 1.0]).expect("there are some");
        assert_eq!((spread.least, spread.most), (1.0, 5.0));
    }
}
