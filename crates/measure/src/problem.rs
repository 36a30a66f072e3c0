//! Why a command failed, as its user reads it.

use std::fmt;
use std::io;
use std::path::Path;

/// A command failed.
#[derive(Debug)]
pub enum Problem {
    /// With this text.
    Text(String),
    /// The arguments don't go together, which the parser alone can't see.
    Usage(String),
    /// Whoever read our output has gone, as `head` does: nothing to complain of.
    ReaderGone,
}

/// What commands answer.
pub type Result<T> = std::result::Result<T, Problem>;

impl Problem {
    /// From a text.
    pub fn new(text: impl Into<String>) -> Problem {
        Problem::Text(text.into())
    }

    /// A call on a file failed: "cannot read PATH: cause".
    pub fn on(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Problem {
        move |error| Problem::Text(format!("cannot {verb} {}: {error}", path.display()))
    }
}

impl From<faultless::Error> for Problem {
    fn from(error: faultless::Error) -> Problem {
        Problem::Text(error.to_string())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Text(text) | Problem::Usage(text) => f.write_str(text),
            Problem::ReaderGone => f.write_str("whoever read the output has gone"),
        }
    }
}
