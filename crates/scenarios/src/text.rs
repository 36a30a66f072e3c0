//! A record as text: each step with its checks, and those states that it changed.

use std::fmt::Write as _;

use crate::claims;
use crate::record::{Record, Section, Step};
use crate::scenario::{Machine, Scenario};

/// The record of a scenario.
pub fn of(scenario: &Scenario, machine: Machine, record: &Record) -> String {
    let mut text = format!("{}: {}\n", scenario.name, scenario.summary);
    for claim in scenario.claims.iter().filter_map(|id| claims::find(id)) {
        let _ = writeln!(text, "  {:<4} {}", claim.id, claim.says);
    }
    if machine == Machine::Software {
        text += "  Bits of translations: Present, Writable, User, Accessed, Dirty, eXecutable.\n";
    }
    let mut before: &[Section] = &[];
    for (number, step) in record.steps.iter().enumerate() {
        let _ = writeln!(text, "\n{}. {}", number + 1, step.title);
        text += &changes(step, before);
        for check in &step.checks {
            let verdict = if check.holds { "ok  " } else { "NOT " };
            let _ = writeln!(text, "   {verdict} {}", check.claim);
        }
        before = &step.states;
    }
    let count = record.checks().count();
    let _ = match &record.failure {
        None => writeln!(text, "\npassed: {count} checks"),
        Some(why) => writeln!(text, "\nFAILED: {why}"),
    };
    text
}

/// The states that differ from those before.
fn changes(step: &Step, before: &[Section]) -> String {
    let mut text = String::new();
    let is_new = |section: &&Section| !before.contains(section);
    for section in step.states.iter().filter(is_new) {
        let first = before.is_empty() && section.lines.is_empty();
        let none = if first { &[][..] } else { &["–".to_owned()][..] };
        let lines = if section.lines.is_empty() { none } else { &section.lines };
        for (n, line) in lines.iter().enumerate() {
            let name = if n == 0 { section.name } else { "" };
            let _ = writeln!(text, "     {name:<17}{line}");
        }
    }
    text
}
