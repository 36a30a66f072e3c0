//! What a scenario did: steps, the states after each, and what was checked.

use std::fmt;

use faultless_posix::{Errno, Signal};
use serde::Serialize;

/// One kind of state after a step: areas, translations, …
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Which kind.
    pub name: &'static str,
    /// One thing a line.
    pub lines: Vec<String>,
}

/// A claim that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// In words.
    pub claim: String,
    /// Does it hold?
    pub holds: bool,
}

/// One step: what was done, what was checked, and how things are then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was done.
    pub title: String,
    /// What is so after it, or isn't.
    pub checks: Vec<Check>,
    /// The whole state when the step had ended.
    pub states: Vec<Section>,
}

/// Red, green and blue of a picture's points, row by row from the top.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// Points in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Three bytes a point.
    pub rgb: Vec<u8>,
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({} × {})", self.width, self.height)
    }
}

/// What a scenario did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Record {
    /// In order.
    pub steps: Vec<Step>,
    /// Why it ended before its end.
    pub failure: Option<String>,
    /// What it has drawn.
    #[serde(skip)]
    pub picture: Option<Picture>,
}

impl Record {
    /// Did it go through, with all checks?
    pub fn passed(&self) -> bool {
        self.failure.is_none() && self.checks().all(|check| check.holds)
    }

    /// All that was checked.
    pub fn checks(&self) -> impl Iterator<Item = &Check> {
        self.steps.iter().flat_map(|step| &step.checks)
    }
}

/// Why a scenario does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// A claim does not hold.
    #[error("it does not hold that {0}")]
    Untrue(String),
    /// A call failed that should not.
    #[error("a call failed: {0:?}")]
    Errno(Errno),
    /// A program was ended that should go on.
    #[error("a program was ended: {:?} at {:#x}", .0.trouble, .0.addr)]
    Signal(Signal),
    /// Faultless on real memory answered an error.
    #[error(transparent)]
    Faultless(#[from] faultless::Error),
    /// The system on which this runs did.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Stop {
        Stop::Errno(errno)
    }
}

impl From<Signal> for Stop {
    fn from(signal: Signal) -> Stop {
        Stop::Signal(signal)
    }
}

/// How a scenario ends.
pub type Played<T = ()> = Result<T, Stop>;

/// Writes a record, step by step. Whoever has something to show is asked for the states
/// when a step ends.
#[derive(Default)]
pub struct Writer {
    record: Record,
}

impl Writer {
    /// Begins a step. The one before has been ended.
    pub fn begin(&mut self, title: impl Into<String>) {
        self.record.steps.push(Step { title: title.into(), checks: vec![], states: vec![] });
    }

    /// The step has ended so.
    pub fn end(&mut self, states: Vec<Section>) {
        if let Some(step) = self.record.steps.last_mut() {
            step.states = states;
        }
    }

    /// Checks a claim; an untrue one ends the scenario.
    pub fn check(&mut self, claim: impl Into<String>, holds: bool) -> Played {
        let claim = claim.into();
        let step = self.record.steps.last_mut().expect("a claim is checked in a step");
        step.checks.push(Check { claim: claim.clone(), holds });
        if holds { Ok(()) } else { Err(Stop::Untrue(claim)) }
    }

    /// Checks that something is as expected; the claim says what it is.
    pub fn equal<T: PartialEq<U> + fmt::Debug, U: fmt::Debug>(
        &mut self,
        claim: impl fmt::Display,
        found: T,
        expected: U,
    ) -> Played {
        let holds = found == expected;
        let claim = match holds {
            true => format!("{claim}: {found:?}"),
            false => format!("{claim}: {expected:?}, but it is {found:?}"),
        };
        self.check(claim, holds)
    }

    /// Checks that bytes are as expected.
    pub fn same(&mut self, claim: &str, found: &[u8], expected: &[u8]) -> Played {
        let holds = found == expected;
        let (found, expected) = (readable(found), readable(expected));
        let claim = match holds {
            true => format!("{claim} {found}"),
            false => format!("{claim} {expected}, but it is {found}"),
        };
        self.check(claim, holds)
    }

    /// What was drawn.
    pub fn draw(&mut self, picture: Picture) {
        self.record.picture = Some(picture);
    }

    /// The record, with how it ended.
    pub fn finish(mut self, played: Played) -> Record {
        self.record.failure = played.err().map(|stop| stop.to_string());
        self.record
    }
}

/// Bytes for people: text in quotes, and how many where they are all alike.
fn readable(bytes: &[u8]) -> String {
    match bytes {
        [first, rest @ ..] if rest.len() > 7 && rest.iter().all(|byte| byte == first) => {
            format!("{} bytes \\x{first:02x}", bytes.len())
        }
        _ => format!("\"{}\"", bytes.escape_ascii()),
    }
}
