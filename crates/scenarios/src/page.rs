//! `docs/seeds.md`: what the texts say, and which scenario shows it.
//!
//! It is made by `cargo run -p faultless-scenarios --example page`; a test compares.

use std::fmt::Write as _;

use crate::claims::{CLAIMS, TEXTS, UNSHOWN};
use crate::play::ALL;
use crate::row::Row;
use crate::scenario::Scenario;

const HEAD: &str = "\
# What the texts say, and what shows it

Faultless was begun from five texts about `mmap`. Each program in them and each thing that
they say is a scenario: a few programs on a machine in software, whose page tables, lists
and page cache are told step by step, and claims that are checked. Some run on Linux with
real pointers, too.

```sh
faultless scenario list              # all names
faultless scenario watcher           # one of them, step by step
faultless scenario all               # all; exit code 1 if a claim does not hold
```

This page is made from the scenarios: `cargo run -p faultless-scenarios --example page`.
";

/// The page.
pub fn text() -> String {
    let mut text = HEAD.to_owned();
    text += "\n## The system of the texts\n\n";
    text += "| | the texts say | here | shown by |\n|---|---|---|---|\n";
    for row in Row::ALL {
        let shown = shown_by(*row);
        let tick = if shown.is_empty() { " " } else { "✓" };
        let _ = writeln!(text, "| {tick} | {} | {} | {shown} |", row.says(), row.here());
    }
    for (letter, title) in TEXTS {
        let _ = write!(text, "\n## {letter}: {title}\n\n| | it says | shown by |\n|---|---|---|\n");
        for claim in CLAIMS.iter().filter(|claim| claim.id.starts_with(*letter)) {
            let shown = names(|scenario| scenario.claims.contains(&claim.id));
            let unshown = UNSHOWN.iter().find(|unshown| unshown.id == claim.id);
            let shown = unshown.map_or(shown, |unshown| format!("– {}", unshown.why));
            let _ = writeln!(text, "| {} | {} | {shown} |", claim.id, claim.says);
        }
    }
    text += "\n## The scenarios\n\n| name | machines | |\n|---|---|---|\n";
    for scenario in ALL {
        let machines: Vec<_> = scenario.machines().iter().map(|it| it.name()).collect();
        let (name, machines) = (scenario.name, machines.join(", "));
        let _ = writeln!(text, "| `{name}` | {machines} | {} |", scenario.summary);
    }
    text
}

/// The rows of the table in README: what the texts say, and which scenarios show it.
pub fn readme_rows() -> Vec<String> {
    Row::ALL.iter().map(|row| format!("| {} | {} |", row.says(), shown_by(*row))).collect()
}

fn shown_by(row: Row) -> String {
    names(|scenario| scenario.rows.contains(&row))
}

fn names(shows: impl Fn(&Scenario) -> bool) -> String {
    let shown = ALL.iter().filter(|scenario| shows(scenario));
    shown.map(|scenario| format!("`{}`", scenario.name)).collect::<Vec<_>>().join(", ")
}
