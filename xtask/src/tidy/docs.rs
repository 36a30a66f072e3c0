//! Every module says first what it is about.

use super::{Repo, Violation};

pub fn check(repo: &Repo) -> Vec<Violation> {
    repo.rust_files()
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| {
            let message = "a module begins with `//!` and a sentence that says what it is about";
            Violation::new(&file.path, 1, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_counts() {
        let found = |text| check(&Repo::of([("src/a.rs", text)])).len();
        assert_eq!(found("//! Pages.\n"), 0);
        assert_eq!(found("use x;\n//! Pages.\n"), 1);
        assert_eq!(found("//!\n"), 1);
        assert_eq!(found(""), 1);
        assert_eq!(check(&Repo::of([("a.md", "text")])).len(), 0);
    }
}
