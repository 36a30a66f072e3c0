//! Nothing is left for later: what isn't there is said in the support table.

use super::{Repo, Violation};

pub fn check(repo: &Repo) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in repo.rust_files() {
        for (index, line) in file.lexed.comments.lines().enumerate() {
            for word in ["TODO", "FIXME"].into_iter().filter(|word| has_word(line, word)) {
                let message =
                    format!("{word}: do it, or say in the support table that it isn't there");
                violations.push(Violation::new(&file.path, index + 1, message));
            }
        }
        for name in ["todo", "unimplemented"] {
            for index in file.lexed.find(&[name, "!"]) {
                let message = format!("{name}!: write it, or return an error that names it");
                violations.push(Violation::new(&file.path, file.lexed.tokens[index].line, message));
            }
        }
    }
    violations
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        check(&Repo::of([("src/a.rs", text)])).iter().map(|found| found.line).collect()
    }

    #[test]
    fn leftovers_are_found() {
        assert_eq!(lines("\n// TODO: later\nfn f() { todo!() }"), [2, 3]);
        assert_eq!(lines("/* FIXME */ unimplemented!(\"x\")"), [1, 1]);
    }

    #[test]
    fn words_and_strings_are_not_leftovers() {
        assert_eq!(
            lines("// MASTODONT TODOS\nlet todo = \"TODO todo!()\"; unimplemented();"),
            [0; 0]
        );
    }
}
