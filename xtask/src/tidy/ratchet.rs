//! Files have one subject and functions fit a screen.
//!
//! What is longer stands in `xtask/ratchet.toml` with its length, which may
//! only shrink.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::repo::File;
use super::{Repo, Violation};

const TABLE: &str = "xtask/ratchet.toml";

/// Lines of a Rust file.
const FILE_MAX: usize = 600;
/// Lines of a function, from its `fn` to its brace.
const FUNCTION_MAX: usize = 80;
/// Lines of a function in tests: tables of cases are long.
const TEST_FUNCTION_MAX: usize = 120;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    file: Vec<Entry>,
    function: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: String,
    #[serde(default)]
    name: String,
    lines: usize,
}

/// A file or a function.
struct Measured {
    path: String,
    /// Empty for a file.
    name: String,
    line: usize,
    lines: usize,
    max: usize,
}

pub fn check(repo: &Repo) -> Vec<Violation> {
    let table = repo.file(TABLE).map_or("", |file| &file.text);
    let table: Table = match toml::from_str(table) {
        Ok(table) => table,
        Err(error) => return vec![Violation::new(TABLE, 1, error.to_string())],
    };
    let mut excepted: BTreeMap<(String, String), usize> = BTreeMap::new();
    for entry in table.file.into_iter().chain(table.function) {
        excepted.insert((entry.path, entry.name), entry.lines);
    }
    let mut violations = Vec::new();
    for measured in repo.rust_files().flat_map(measure) {
        if measured.lines > measured.max {
            let key = (measured.path.clone(), measured.name.clone());
            violations.extend(judge(&measured, excepted.remove(&key)));
        }
    }
    violations.extend(excepted.into_keys().map(|(path, name)| {
        let message = format!("{path} {name} is short enough, or gone: take its entry out");
        Violation::new(TABLE, 1, message)
    }));
    violations
}

/// Judges what is longer than the law allows, by its exception.
fn judge(measured: &Measured, excepted: Option<usize>) -> Option<Violation> {
    let Measured { path, name, line, lines, max } = measured;
    let what = if name.is_empty() { "this file" } else { name };
    match excepted {
        None => {
            let message = format!("{what} has {lines} lines, more than {max}: take it apart");
            Some(Violation::new(path, *line, message))
        }
        Some(allowed) if *lines > allowed => {
            let message =
                format!("{what} has grown from {allowed} to {lines} lines: take it apart");
            Some(Violation::new(path, *line, message))
        }
        Some(allowed) if *lines < allowed => {
            let message =
                format!("{path} {name} has shrunk to {lines} lines: say so instead of {allowed}");
            Some(Violation::new(TABLE, 1, message))
        }
        Some(_) => None,
    }
}

fn measure(file: &File) -> Vec<Measured> {
    let measured = |name: &str, line, lines, max| Measured {
        path: file.path.clone(),
        name: name.to_owned(),
        line,
        lines,
        max,
    };
    let lexed = &file.lexed;
    let tests: Vec<(usize, usize)> =
        lexed.find(&["mod", "tests", "{"]).map(|index| (index, lexed.closing(index + 2))).collect();
    let mut all = vec![measured("", 1, file.text.lines().count(), FILE_MAX)];
    for index in lexed.find(&["fn"]) {
        let Some(name) = lexed.tokens.get(index + 1).filter(|token| is_name(&token.text)) else {
            continue;
        };
        let is_test = file.is_test() || tests.iter().any(|(a, z)| (*a..=*z).contains(&index));
        let max = if is_test { TEST_FUNCTION_MAX } else { FUNCTION_MAX };
        let line = lexed.tokens[index].line;
        let last = lexed.tokens[lexed.item_end(index)].line;
        all.push(measured(&name.text, line, last - line + 1, max));
    }
    all
}

/// A function has one; the type of a pointer to functions, `fn(`, has none.
fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(lines: usize) -> String {
        format!("fn long(x: [u8; 2]) {{\n{}}}\n", "    x();\n".repeat(lines - 2))
    }

    fn found(path: &str, text: &str, table: &str) -> Vec<String> {
        let repo = Repo::of([(path, text), (TABLE, table)]);
        check(&repo).iter().map(Violation::to_string).collect()
    }

    #[test]
    fn lengths_up_to_the_law_pass() {
        assert_eq!(found("src/a.rs", &function(80), ""), [""; 0]);
        assert_eq!(found("src/a.rs", &"//\n".repeat(600), ""), [""; 0]);
        assert_eq!(found("tests/a.rs", &function(120), ""), [""; 0]);
        let inside = format!("type F = fn(u8);\nmod tests {{\n{}}}\n", function(120));
        assert_eq!(found("src/a.rs", &inside, ""), [""; 0]);
    }

    #[test]
    fn longer_ones_are_found() {
        let text = format!("\n{}", function(81));
        let message = "src/a.rs:2: long has 81 lines, more than 80: take it apart";
        assert_eq!(found("src/a.rs", &text, ""), [message]);
        let message = "src/a.rs:1: this file has 601 lines, more than 600: take it apart";
        assert_eq!(found("src/a.rs", &"//\n".repeat(601), ""), [message]);
        assert_eq!(found("tests/a.rs", &function(121), "").len(), 1);
        let after = format!("mod tests {{}}\n{}", function(81));
        assert_eq!(found("src/a.rs", &after, "").len(), 1);
    }

    #[test]
    fn an_exception_holds_for_its_length_only() {
        let entry = |lines| {
            format!("[[function]]\npath = \"src/a.rs\"\nname = \"long\"\nlines = {lines}\n")
        };
        assert_eq!(found("src/a.rs", &function(90), &entry(90)), [""; 0]);
        assert!(
            found("src/a.rs", &function(91), &entry(90))[0].contains("has grown from 90 to 91")
        );
        assert!(found("src/a.rs", &function(89), &entry(90))[0].contains("has shrunk to 89"));
        assert!(found("src/a.rs", &function(80), &entry(90))[0].contains("take its entry out"));
    }

    #[test]
    fn a_broken_table_is_found() {
        assert_eq!(found("src/a.rs", "", "[[fil]]\n").len(), 1);
    }
}
