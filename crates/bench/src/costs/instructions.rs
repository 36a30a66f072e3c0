//! The same steps in instructions, counted one by one in a child: no clock is in them, and
//! nobody else's work. They are those of the program and of the thread that takes the step.

use std::path::Path;

use faultless_measure::problem::{Problem, Result};
use faultless_sys::step;

use super::{Figure, Group, engine, library};
use crate::job::ChildJob;
use crate::rounds;

/// How often a step is taken, mostly.
pub const TIMES: u64 = 64;

/// Sections with nothing in them: the marks of the first are linked at run time, those of the
/// second are in every one.
const UNCOUNTED: [&str; 2] = ["linking", "marks"];

/// What is counted, in its order, and how many steps each is of.
#[derive(Default)]
pub struct Sections(Vec<Figure>);

impl Sections {
    /// Counts what `body` does, which is so many steps.
    pub fn count(&mut self, what: &str, steps: u64, body: impl FnOnce()) {
        self.0.push((what.to_owned(), steps as f64));
        step::mark();
        body();
        step::mark();
    }

    /// Counts pins of a page that is pinned often.
    pub fn count_pins(
        &mut self,
        what: &str,
        pin: impl Fn() -> std::result::Result<(), faultless::Error>,
    ) -> Result<()> {
        (0..3).try_for_each(|_| pin())?;
        let mut done = Ok(());
        self.count(what, TIMES, || done = (0..TIMES).try_for_each(|_| pin()));
        Ok(done?)
    }
}

/// In the child: does what is counted.
pub fn sections(file: &Path) -> Result<Vec<Figure>> {
    let refused = |errno| Problem::new(format!("it can't be stepped: {errno}"));
    step::begin().map_err(refused)?;
    let mut sections = Sections::default();
    UNCOUNTED.into_iter().for_each(|nothing| sections.count(nothing, 1, || {}));
    engine::instructions(&mut sections);
    library::instructions(file, &mut sections)?;
    step::end();
    Ok(sections.0)
}

/// In its parent: instructions a step. An error where no process may step another.
pub fn counted(file: &Path) -> Result<Vec<Figure>> {
    let job = ChildJob::Costs { group: Group::Instructions, file: file.to_owned() };
    let (sections, counts): (Vec<Figure>, Vec<u64>) = rounds::run_stepped(&job)?;
    if sections.len() != counts.len() {
        let text = format!("{} sections, {} counts", sections.len(), counts.len());
        return Err(Problem::new(text));
    }
    let mut figures = Vec::new();
    if let [_, marks, counts @ ..] = &counts[..] {
        for ((what, steps), count) in sections.into_iter().skip(UNCOUNTED.len()).zip(counts) {
            figures.push((what, count.saturating_sub(*marks) as f64 / steps));
        }
    }
    Ok(figures)
}
