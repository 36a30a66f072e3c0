//! What commands print: text or JSON on stdout, remarks on stderr.

use std::fmt::Arguments;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use serde::Serialize;

use crate::problem::{Problem, Result};

/// The form of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// For people.
    Text,
    /// One object for programs.
    Json,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Ok,
    /// Something is wrong with the data, or works with limits only.
    Failed,
    /// Faultless can't be used here.
    NotUsable,
    /// As the program has that was run.
    Code(u8),
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> ExitCode {
        match outcome {
            Outcome::Ok => ExitCode::SUCCESS,
            Outcome::Failed => ExitCode::from(1),
            Outcome::NotUsable => ExitCode::from(2),
            Outcome::Code(code) => ExitCode::from(code),
        }
    }
}

impl Output {
    /// Prints a result in this form.
    pub fn print(self, report: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        let text = match self {
            Output::Text => text(),
            Output::Json => {
                let json = serde_json::to_string_pretty(report);
                json.expect("a report has a JSON form") + "\n"
            }
        };
        print(&text)
    }

    /// Prints a part of a result that people get before the rest is known.
    pub fn show(self, text: impl FnOnce() -> String) -> Result<()> {
        match self {
            Output::Text => print(&text()),
            Output::Json => Ok(()),
        }
    }

    /// Says something to whoever watches; programs are told in the result.
    pub fn note(self, text: Arguments<'_>) {
        if self == Output::Text && io::stderr().is_terminal() {
            eprintln!("{text}");
        }
    }
}

/// Writes to stdout. Not by `println!`, which panics when the reader has gone.
fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Problem::ReaderGone,
        _ => Problem::new(format!("cannot write to stdout: {error}")),
    })
}
