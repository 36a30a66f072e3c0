//! The checklist, line by line: the kernel, the model and Faultless.

use std::fmt;
use std::io;

use faultless_oracle::directed::{self, Case, Row};
use faultless_oracle::kernel::Kernel;

use crate::Budget;

/// How a line went on one of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As the checklist says.
    Right,
    /// Not so.
    Different,
    /// It was not played.
    NotPlayed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Right => "✓",
            Verdict::Different => "differs",
            Verdict::NotPlayed => "–",
        })
    }
}

/// A line of the checklist, or a part of one, as it went.
pub struct Line {
    /// The kernel beside the model.
    kernel: Row,
    /// Faultless beside the model, with little memory and with much.
    faultless: [Row; 2],
}

impl Line {
    /// Plays a case on all three.
    ///
    /// # Errors
    /// Whatever keeps a system from being made.
    pub fn play(case: &Case) -> io::Result<Line> {
        let faultless = |budget: Budget| directed::play(|world| Ok(budget.make(world)), case);
        Ok(Line {
            kernel: directed::play(Kernel::new, case)?,
            faultless: [faultless(Budget::Few)?, faultless(Budget::Many)?],
        })
    }

    /// The line's number in the checklist.
    pub fn number(&self) -> u8 {
        self.kernel.line
    }

    /// What it says.
    pub fn what(&self) -> &'static str {
        self.kernel.what
    }

    /// Why it was not played.
    pub fn not(&self) -> Option<&str> {
        self.kernel.not.as_deref()
    }

    /// The kernel's, the model's and Faultless' verdict.
    pub fn verdicts(&self) -> [Verdict; 3] {
        let verdict = |right: bool| match self.not() {
            Some(_) => Verdict::NotPlayed,
            None if right => Verdict::Right,
            None => Verdict::Different,
        };
        let ours = self.faultless.iter().all(Row::is_right);
        [self.kernel.system.is_empty(), self.kernel.model.is_empty(), ours].map(verdict)
    }

    /// Does none of the three differ?
    pub fn is_right(&self) -> bool {
        !self.verdicts().contains(&Verdict::Different)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kernel, model, ours] = self.verdicts();
        let Row { line, what, calls, .. } = &self.kernel;
        write!(f, "{line:>4}  {what:<68} {calls:>5}  {kernel:<8} {model:<8} {ours}")?;
        if let Some(reason) = self.not() {
            write!(f, "\n      not played: {reason}")?;
        }
        let rows = [("kernel", &self.kernel), ("24 frames", &self.faultless[0])];
        for (who, row) in rows.into_iter().chain([("2048 frames", &self.faultless[1])]) {
            for wrong in row.system.iter().chain(&row.model) {
                write!(f, "\n    {who}: {wrong}")?;
            }
        }
        Ok(())
    }
}

/// All lines, in the checklist's order, each as soon as it has been played.
pub fn lines() -> impl Iterator<Item = io::Result<Line>> {
    directed::cases().into_iter().map(|case| Line::play(&case))
}

/// The head of the printed table.
pub fn head() -> String {
    format!("line  {:<68} calls  {:<8} {:<8} Faultless", "what", "kernel", "model")
}

/// What comes below it.
pub fn foot(lines: &[Line]) -> String {
    let count = |wanted: Verdict, of: usize| {
        lines.iter().filter(|line| line.verdicts()[of] == wanted).count()
    };
    let sides = ["kernel", "model", "Faultless"].into_iter().enumerate().map(|(of, name)| {
        let (right, wrong) = (count(Verdict::Right, of), count(Verdict::Different, of));
        format!("{name} {right} right, {wrong} different")
    });
    let sides = sides.collect::<Vec<_>>().join("; ");
    let calls: usize = lines.iter().map(|line| line.kernel.calls).sum();
    let not = count(Verdict::NotPlayed, 0);
    format!("{} cases, {calls} calls on each: {sides}; {not} not played", lines.len())
}
