//! One thing, one name; and nothing in the text that is of one machine only.
//!
//! The words are in `xtask/glossary.toml`.

use serde::Deserialize;

use super::{Repo, Violation};

const TABLE: &str = "xtask/glossary.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Glossary {
    #[serde(default)]
    word: Vec<Word>,
    paths: Paths,
    hosts: Hosts,
}

/// A name that has a better one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Word {
    not: Vec<String>,
    say: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Paths {
    roots: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hosts {
    names: Vec<Vec<String>>,
}

pub fn check(repo: &Repo) -> Vec<Violation> {
    // A repository without a table has no such law; the checks' own tests do so.
    let Some(table) = repo.file(TABLE) else { return Vec::new() };
    let glossary: Glossary = match toml::from_str(&table.text) {
        Ok(glossary) => glossary,
        Err(error) => return vec![Violation::new(TABLE, 1, error.to_string())],
    };
    let mut violations = Vec::new();
    // The lock file names the registry in every entry, and nobody writes it.
    for file in repo.files().filter(|file| !file.path.ends_with("Cargo.lock")) {
        for (index, line) in file.text.lines().enumerate() {
            let found = glossary.judge(line);
            violations
                .extend(found.into_iter().map(|text| Violation::new(&file.path, index + 1, text)));
        }
    }
    violations
}

impl Glossary {
    fn judge(&self, line: &str) -> Vec<String> {
        let line = line.to_lowercase();
        let joined: String = line.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).collect();
        let words = self
            .word
            .iter()
            .filter(|word| joined.contains(&word.not.concat()))
            .map(|word| format!("not \"{}\": say {}", word.not.join(" "), word.say));
        let paths = self
            .paths
            .roots
            .iter()
            .map(|root| format!("/{root}/"))
            .filter(|root| begins_a_path(&line, root))
            .map(|root| format!("{root}… is a path of one machine: make it relative"));
        let hosts = self
            .hosts
            .names
            .iter()
            .map(|parts| parts.join("."))
            .filter(|host| line.contains(host))
            .map(|host| format!("{host} is a package registry: leave it to the user's settings"));
        words.chain(paths).chain(hosts).collect()
    }
}

/// Does `root` stand in `line` as the beginning of a path, not in its middle?
fn begins_a_path(line: &str, root: &str) -> bool {
    line.match_indices(root).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before
            .is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '}' | ')'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLOSSARY: &str = "[[word]]\nnot = [\"old\", \"name\"]\nsay = \"new name\"\n\
                            [paths]\nroots = [\"home\"]\n[hosts]\nnames = [[\"example\", \"com\"]]\n";

    fn found(text: &str) -> Vec<String> {
        let repo = Repo::of([("a.md", text), (TABLE, GLOSSARY)]);
        check(&repo).iter().map(Violation::to_string).collect()
    }

    #[test]
    fn a_word_is_found_however_it_is_joined() {
        for text in ["the old name", "OldNames", "OLD_NAME", "old-name"] {
            assert_eq!(found(text), ["a.md:1: not \"old name\": say new name"], "{text}");
        }
        assert_eq!(found("the new name; old, name; old\nname"), [""; 0]);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        assert!(found("see `/home/me`")[0].contains("a path of one machine"));
        assert_eq!(found("/home/me").len(), 1);
        assert_eq!(found("at/home/me ./home/me {dir}/home/me /homes/me"), [""; 0]);
    }

    #[test]
    fn registries_are_found() {
        assert!(found("x\nfrom https://example.com/x")[0].starts_with("a.md:2: example.com is"));
        assert_eq!(found("example, com"), [""; 0]);
    }

    #[test]
    fn the_lock_file_is_nobodys_text() {
        let repo = Repo::of([("Cargo.lock", "example.com"), (TABLE, GLOSSARY)]);
        assert_eq!(check(&repo), []);
    }

    #[test]
    fn the_projects_own_table_can_be_read() {
        let table = include_str!("../../glossary.toml");
        let glossary: Glossary = toml::from_str(table).unwrap();
        assert!(glossary.judge(&["the Block", "Cache"].join(" ")).concat().contains("page cache"));
        assert!(table.lines().all(|line| glossary.judge(line).is_empty()));
    }
}
