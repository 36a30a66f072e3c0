//! `Allowed`: all that Linux may answer to a call; nearly always one outcome.

use crate::outcome::{Errno, Outcome};

use super::bytes::Loose;

/// All that may be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Just this.
    Only(Outcome),
    /// Bytes, some of which may be zero instead.
    Bytes(Loose),
    /// mincore(2): in memory, not in memory, or nobody can say.
    Residency(Vec<Residency>),
}

/// Is a page in memory?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residency {
    /// Yes.
    In,
    /// No.
    Out,
    /// That is the kernel's own affair.
    Unsure,
}

impl Allowed {
    /// It worked, and there is nothing more to say.
    pub const DONE: Allowed = Allowed::Only(Outcome::DONE);

    /// A number.
    pub fn value(value: u64) -> Allowed {
        Allowed::Only(Outcome::Value(value))
    }

    /// May this be the outcome?
    pub fn allows(&self, seen: &Outcome) -> bool {
        match (self, seen) {
            (Allowed::Only(outcome), seen) => outcome == seen,
            (Allowed::Bytes(loose), Outcome::Bytes(bytes)) => loose.allows(bytes),
            (Allowed::Residency(pages), Outcome::Vector(bits)) => {
                let fits = |(page, bit): (&Residency, &bool)| match page {
                    Residency::In => *bit,
                    Residency::Out => !bit,
                    Residency::Unsure => true,
                };
                pages.len() == bits.len() && pages.iter().zip(bits).all(fits)
            }
            _ => false,
        }
    }

    /// May more than one outcome be answered?
    pub fn is_open(&self) -> bool {
        match self {
            Allowed::Only(_) => false,
            Allowed::Bytes(loose) => loose.or_zero.iter().any(|may| *may),
            Allowed::Residency(pages) => pages.contains(&Residency::Unsure),
        }
    }

    /// One of the outcomes.
    pub fn first(&self) -> Outcome {
        match self {
            Allowed::Only(outcome) => outcome.clone(),
            Allowed::Bytes(loose) => Outcome::Bytes(loose.bytes.clone()),
            Allowed::Residency(pages) => {
                Outcome::Vector(pages.iter().map(|page| *page == Residency::In).collect())
            }
        }
    }
}

/// What a verb answers.
pub type Answer = Result<Allowed, Errno>;
