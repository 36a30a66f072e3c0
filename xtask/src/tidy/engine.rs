//! The engine has no clock, no thread, no I/O and no standard library.

use super::repo::File;
use super::{Repo, Violation};

const ROOT: &str = "crates/engine/src/lib.rs";
const SRC: &str = "crates/engine/src/";

/// Names that have no business in the engine, and what to do instead.
const FORBIDDEN: &[(&str, &str)] = &[
    ("std", "use core or alloc"),
    ("Instant", "take the time as an argument"),
    ("SystemTime", "take the time as an argument"),
    ("thread", "answer with what is to be done, and let the driver's threads do it"),
];

pub fn check(repo: &Repo) -> Vec<Violation> {
    let root = repo.file(ROOT).into_iter().flat_map(check_root);
    let files = repo.rust_files().filter(|file| file.path.starts_with(SRC) && !file.is_test());
    root.chain(files.flat_map(check_names)).collect()
}

fn check_root(file: &File) -> Vec<Violation> {
    let lexed = &file.lexed;
    let is_no_std = lexed.find(&["#", "!", "[", "no_std", "]"]).next().is_some();
    let missing = [
        (!is_no_std, "#![no_std]"),
        (!lexed.has_inner_attribute("forbid", "unsafe_code"), "#![forbid(unsafe_code)]"),
    ];
    missing
        .into_iter()
        .filter(|(is_missing, _)| *is_missing)
        .map(|(_, attribute)| {
            Violation::new(&file.path, 1, format!("the engine says {attribute} at its head"))
        })
        .collect()
}

fn check_names(file: &File) -> Vec<Violation> {
    let tokens = &file.lexed.tokens;
    let mut violations = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        // Tests run on a machine with everything.
        const CFG_TEST: &[&str] = &["#", "[", "cfg", "(", "test", ")", "]"];
        if file.lexed.reads(index, CFG_TEST) {
            index = file.lexed.item_end(index + CFG_TEST.len()) + 1;
            continue;
        }
        let token = &tokens[index];
        if let Some((name, advice)) = FORBIDDEN.iter().find(|(name, _)| *name == token.text) {
            let message = format!("`{name}` is not for the engine: {advice}");
            violations.push(Violation::new(&file.path, token.line, message));
        }
        index += 1;
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "#![no_std]\n#![forbid(unsafe_code)]\n";

    fn found(text: &str) -> Vec<String> {
        check(&Repo::of([(ROOT, text)])).iter().map(Violation::to_string).collect()
    }

    #[test]
    fn the_head_says_what_the_engine_is() {
        assert_eq!(found(HEAD), [""; 0]);
        assert_eq!(found("").len(), 2);
        assert!(found("#![no_std]")[0].contains("#![forbid(unsafe_code)]"));
    }

    #[test]
    fn the_machine_is_found_in_code() {
        let text = format!("{HEAD}use std::time::Instant;\nfn f(t: thread::Id) {{}}\nSystemTime");
        let lines: Vec<String> = found(&text);
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[0].starts_with("crates/engine/src/lib.rs:3: `std` is not for the engine"));
    }

    #[test]
    fn tests_and_comments_are_free() {
        let text = format!(
            "{HEAD}// std and a thread\n#[cfg(test)]\nextern crate std;\n#[cfg(test)]\n\
             #[allow(x)]\nmod tests {{ use std::thread; }}\nfn g() {{}}"
        );
        assert_eq!(found(&text), [""; 0]);
        let after = format!("{text}\nuse std::vec;");
        assert_eq!(found(&after).len(), 1, "what follows the tests is judged again");
    }

    #[test]
    fn other_crates_may() {
        let repo = Repo::of([("crates/runtime/src/lib.rs", "use std::thread;")]);
        assert_eq!(check(&repo), []);
    }
}
