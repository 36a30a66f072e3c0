//! Every line of the checklist as a case, made on kernel and model.
//!
//! `CHECKLIST.md` beside `src` is the list in words. A case says what Linux answers; a
//! kernel that answers otherwise is right, and then the case and the list are mended.

mod advice;
mod areas;
mod faults;
mod lock;
mod mmap;
mod play;
mod processes;
mod remap;
mod sync;
mod words;

use std::fmt;
use std::io;

use crate::differ::Pair;
use crate::kernel::why_not;
use crate::system::{Person, Store, System, World};
pub use play::{Play, Wrong};

/// A line of the checklist, or a part of one.
pub struct Case {
    /// The line's number.
    pub line: u8,
    /// What it says, shortly.
    pub what: &'static str,
    /// How it is looked at.
    pub how: How,
}

/// How a case is looked at.
pub enum How {
    /// On the system and the model.
    Both(World, fn(&mut Play<'_>)),
    /// Not here, and why.
    Not(&'static str),
}

const DISK: World = World::WIDE;
const TMPFS: World = World { store: Store::Tmpfs, ..World::WIDE };
const ROOT: World = World { person: Person::Root, ..World::WIDE };
const ORDINARY: World = World { person: Person::Ordinary, ..World::WIDE };

/// All cases, by line.
pub fn cases() -> Vec<Case> {
    let all = [
        mmap::cases(),
        faults::cases(),
        areas::cases(),
        remap::cases(),
        sync::cases(),
        advice::cases(),
        lock::cases(),
        processes::cases(),
    ];
    let mut cases: Vec<Case> = all.into_iter().flatten().collect();
    cases.sort_by_key(|case| case.line);
    cases
}

/// How a case went.
pub struct Row {
    /// The line's number.
    pub line: u8,
    /// What it says.
    pub what: &'static str,
    /// Calls made.
    pub calls: usize,
    /// Where the system isn't as the case says.
    pub system: Vec<Wrong>,
    /// Where the model isn't as the system.
    pub model: Vec<Wrong>,
    /// Why it was not looked at.
    pub not: Option<String>,
}

impl Row {
    /// Is everything as said, or not looked at?
    pub fn is_right(&self) -> bool {
        self.system.is_empty() && self.model.is_empty()
    }

    fn words(&self) -> [String; 3] {
        let side = |wrong: &[Wrong]| match wrong.len() {
            0 => "as said".to_owned(),
            n => format!("{n} differ"),
        };
        match &self.not {
            Some(_) => ["–", "–", "not here"].map(str::to_owned),
            None => {
                let verdict = if self.is_right() { "ok" } else { "WRONG" };
                [side(&self.system), side(&self.model), verdict.to_owned()]
            }
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [system, model, verdict] = self.words();
        let Row { line, what, calls, .. } = self;
        write!(f, "{line:>4}  {what:<68} {calls:>5}  {system:<9} {model:<9} {verdict}")?;
        if let Some(reason) = &self.not {
            write!(f, "\n      {reason}")?;
        }
        for wrong in &self.system {
            write!(f, "\n    system: {wrong}")?;
        }
        for wrong in &self.model {
            write!(f, "\n    model: {wrong}")?;
        }
        Ok(())
    }
}

/// The head of the table.
pub fn head() -> String {
    format!("line  {:<68} calls  {:<9} {:<9} verdict", "what", "system", "model")
}

/// Makes the calls of a case.
///
/// # Errors
/// Whatever keeps a system from being made.
pub fn play<S: System>(make: impl Fn(World) -> io::Result<S>, case: &Case) -> io::Result<Row> {
    let Case { line, what, how } = case;
    let (line, what) = (*line, *what);
    let not = |reason: String| {
        let (system, model) = (Vec::new(), Vec::new());
        Ok(Row { line, what, calls: 0, system, model, not: Some(reason) })
    };
    let (world, run) = match how {
        How::Both(world, run) => (*world, run),
        How::Not(reason) => return not((*reason).to_owned()),
    };
    if let Some(reason) = why_not(&world) {
        return not(reason);
    }
    let mut pair = Pair::new(make(world)?, world);
    let mut play = Play::on(&mut pair, world);
    run(&mut play);
    let Play { calls, system, model, .. } = play;
    Ok(Row { line, what, calls, system, model, not: None })
}

fn both(line: u8, what: &'static str, world: World, run: fn(&mut Play<'_>)) -> Case {
    Case { line, what, how: How::Both(world, run) }
}

fn not(line: u8, what: &'static str, reason: &'static str) -> Case {
    Case { line, what, how: How::Not(reason) }
}
