//! Every scenario passes, and nothing that the texts say is forgotten.

use std::collections::BTreeSet;

use faultless_scenarios::claims::{self, CLAIMS, TEXTS, UNSHOWN};
use faultless_scenarios::{ALL, Machine, Row, page, text};

fn all_pass(machine: Machine) -> usize {
    let mut failed = Vec::new();
    let mut played = 0;
    for scenario in ALL {
        let Some(record) = scenario.play(machine) else { continue };
        played += 1;
        assert!(record.checks().count() > 0, "{} checks nothing", scenario.name);
        if !record.passed() {
            failed.push(text::of(scenario, machine, &record));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    played
}

#[test]
fn all_pass_on_the_software_machine() {
    assert_eq!(all_pass(Machine::Software), ALL.len());
}

#[test]
fn those_for_linux_pass_on_linux() {
    let for_linux = ALL.iter().filter(|it| it.machines().contains(&Machine::Linux)).count();
    assert!(for_linux > 0);
    assert_eq!(all_pass(Machine::Linux), for_linux);
}

#[test]
fn the_same_states_each_time() {
    for scenario in ALL.iter().take(6) {
        let [one, other] = [(); 2].map(|()| scenario.play(Machine::Software).unwrap());
        let [one, other] =
            [one, other].map(|record| text::of(scenario, Machine::Software, &record));
        assert_eq!(one, other);
    }
}

#[test]
fn each_row_of_the_table_is_ticked() {
    for row in Row::ALL {
        let shown = ALL.iter().any(|scenario| scenario.rows.contains(row));
        assert!(shown, "no scenario shows: {}", row.says());
    }
}

#[test]
fn each_claim_is_shown_or_said_not_to_be() {
    let ids: BTreeSet<_> = CLAIMS.iter().map(|claim| claim.id).collect();
    assert_eq!(ids.len(), CLAIMS.len(), "a number is used twice");
    for claim in CLAIMS {
        let shown = ALL.iter().any(|scenario| scenario.claims.contains(&claim.id));
        let unshown = UNSHOWN.iter().any(|unshown| unshown.id == claim.id);
        assert_ne!(shown, unshown, "{}: {}", claim.id, claim.says);
        assert!(TEXTS.iter().any(|(letter, _)| claim.id.starts_with(*letter)));
    }
}

#[test]
fn scenarios_are_named_apart_and_name_what_there_is() {
    let names: BTreeSet<_> = ALL.iter().map(|scenario| scenario.name).collect();
    assert_eq!(names.len(), ALL.len(), "a name is used twice");
    for scenario in ALL {
        let is_letter = |letter: char| letter.is_ascii_lowercase() || letter == '-';
        assert!(scenario.name.chars().all(is_letter), "{}", scenario.name);
        assert!(!["list", "all"].contains(&scenario.name));
        assert!(!scenario.rows.is_empty() && !scenario.claims.is_empty(), "{}", scenario.name);
        for id in scenario.claims {
            assert!(claims::find(id).is_some(), "{} names {id}", scenario.name);
        }
    }
}

#[test]
fn the_page_in_docs_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/seeds.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let command = "cargo run -p faultless-scenarios --example page > docs/seeds.md";
    assert!(written == page::text(), "make it anew: {command}");
    let rows = written.lines().filter(|line| line.starts_with("| ✓ |")).count();
    assert_eq!(rows, Row::ALL.len());
}

#[test]
fn the_table_in_readme_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let head = "| the texts say | scenario |\n|---|---|\n";
    let table = format!("{head}{}\n", page::readme_rows().join("\n"));
    assert!(readme.contains(&table), "README should have\n{table}");
}
