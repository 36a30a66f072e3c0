//! The laws of the source, one file each.
//!
//! Every check takes the whole [`Repo`] and answers with what breaks its law
//! and where. None of them reads a file: a test is a `Repo` of a few lines.

mod docs;
mod engine;
mod glossary;
mod layers;
mod leftovers;
mod lex;
mod modules;
mod ratchet;
mod repo;
mod unsafety;

use std::fmt;

pub use repo::{Repo, root};

/// A place that breaks a law.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Relative to the root of the repository.
    path: String,
    /// Counted from 1.
    line: usize,
    /// What is wrong and what to do.
    message: String,
}

impl Violation {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Violation {
        Violation { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Every place that breaks a law, in the order of paths and lines.
pub fn check(repo: &Repo) -> Vec<Violation> {
    let checks = [
        layers::check,
        unsafety::check,
        docs::check,
        ratchet::check,
        engine::check,
        glossary::check,
        modules::check,
        leftovers::check,
    ];
    let mut violations: Vec<Violation> = checks.iter().flat_map(|check| check(repo)).collect();
    violations.sort();
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_keeps_its_laws() {
        let repo = Repo::read(&root()).unwrap();
        assert!(repo.len() > 20, "only {} files were found", repo.len());
        let violations = check(&repo);
        let lines: Vec<String> = violations.iter().map(Violation::to_string).collect();
        assert!(lines.is_empty(), "`cargo xtask tidy` says:\n{}", lines.join("\n"));
    }

    #[test]
    fn a_violation_prints_as_a_place_and_a_sentence() {
        let violation = Violation::new("crates/x/src/lib.rs", 7, "wrong: do right");
        assert_eq!(violation.to_string(), "crates/x/src/lib.rs:7: wrong: do right");
    }
}
