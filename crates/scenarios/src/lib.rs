//! What five texts about mmap say, as programs that run and check it.
//!
//! Each scenario is one file under `play/`: steps, and claims that are checked. After
//! each step the states are noted: areas, translations with their bits, pages in memory,
//! lists, swap. All are played on the software machine, where all of that can be seen;
//! some on Linux, too, with real pointers.
//!
//! ```
//! use faultless_scenarios::{Machine, find};
//!
//! let scenario = find("watcher").unwrap();
//! let record = scenario.play(Machine::Software).unwrap();
//! assert!(record.passed());
//! println!("{}", faultless_scenarios::text::of(scenario, Machine::Software, &record));
//! ```
//!
//! | file | subject |
//! |---|---|
//! | `scenario.rs` | what a scenario is |
//! | `play/` | the scenarios |
//! | `claims.rs`, `row.rs` | what the texts say, line by line; the table of the design |
//! | `stage.rs`, `states.rs` | the software machine for them, and what is seen of it |
//! | `drivers/` | devices |
//! | `linux.rs` | real memory for them |
//! | `record.rs`, `text.rs` | what happened, and how it reads |
//! | `page.rs` | `docs/seeds.md` |

#![forbid(unsafe_code)]

pub mod claims;
mod drivers;
mod linux;
mod play;
mod record;
mod row;
mod scenario;
mod stage;
mod states;
pub mod text;

pub use linux::Host;
pub use play::ALL;
pub use record::{Check, Picture, Played, Record, Section, Step, Stop};
pub use row::Row;
pub use scenario::{Machine, Scenario};
pub use stage::Stage;

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().copied().find(|scenario| scenario.name == name)
}

/// Names that somebody may have meant: those that share a word with it, or begin like it.
pub fn near(name: &str) -> Vec<&'static str> {
    let is_near = |known: &str| {
        let words = name.split('-').filter(|word| word.len() > 2);
        words.clone().any(|word| known.contains(word))
            || known.split('-').any(|word| word.len() > 2 && name.contains(word))
            || distance(known, name) <= 1 + name.len() / 4
    };
    let mut names: Vec<&str> =
        ALL.iter().map(|scenario| scenario.name).filter(|known| is_near(known)).collect();
    names.sort_by_key(|known| distance(known, name));
    names.truncate(4);
    names
}

/// How many letters must be changed, added or taken away (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (n, letter) in one.bytes().enumerate() {
        let mut before = row[0];
        row[0] = n + 1;
        for (m, wanted) in other.bytes().enumerate() {
            let changed = before + usize::from(letter != wanted);
            before = row[m + 1];
            row[m + 1] = changed.min(before + 1).min(row[m] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_counts_letters() {
        let cases = [("", "", 0), ("a", "", 1), ("pipe", "pipes", 1), ("watcher", "matchers", 2)];
        for (one, other, letters) in cases {
            assert_eq!(distance(one, other), letters, "{one} {other}");
        }
    }

    #[test]
    fn a_slip_finds_its_name() {
        assert_eq!(near("wacher").first(), Some(&"watcher"));
        assert!(near("pipe").contains(&"pipes-and-ttys"));
        assert_eq!(near("xyzzy"), [""; 0]);
    }
}
