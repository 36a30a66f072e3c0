//! The text files of the repository.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::lex::Lexed;

/// The text files of the repository, by their path relative to its root.
pub struct Repo {
    files: BTreeMap<String, File>,
}

/// One text file.
pub struct File {
    /// Its path, relative to the root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
    /// For Rust: its text, taken apart. Empty for others.
    pub lexed: Lexed,
}

/// Where this repository is.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Repo {
    /// Reads what git tracks or would track, so that a file is judged before it
    /// is committed. Files that are not text are left out.
    pub fn read(root: &Path) -> io::Result<Repo> {
        let mut files = Vec::new();
        for path in list(root)? {
            match std::fs::read(root.join(&path)) {
                Ok(bytes) => files.extend(String::from_utf8(bytes).ok().map(|text| (path, text))),
                // Deleted, and the deletion not yet committed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Repo::of(files))
    }

    /// A repository of these paths and texts.
    pub fn of<S: Into<String>>(files: impl IntoIterator<Item = (S, S)>) -> Repo {
        let file = |(path, text): (S, S)| {
            let (path, text) = (path.into(), text.into());
            let code = if path.ends_with(".rs") { text.as_str() } else { "" };
            let lexed = Lexed::new(code);
            (path.clone(), File { path, text, lexed })
        };
        Repo { files: files.into_iter().map(file).collect() }
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.get(path)
    }

    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.values()
    }

    pub fn rust_files(&self) -> impl Iterator<Item = &File> {
        self.files().filter(|file| file.path.ends_with(".rs"))
    }

    /// The directories of the packages: `crates/engine`, `xtask`.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        self.files.keys().filter_map(|path| path.strip_suffix("/Cargo.toml"))
    }
}

impl File {
    /// The line, from 1, on which `needle` first stands; 1 if it is nowhere.
    pub fn line_of(&self, needle: &str) -> usize {
        self.text.lines().position(|line| line.contains(needle)).map_or(1, |index| index + 1)
    }

    /// Is it test code as a whole: under `tests`, `benches` or `examples`, or a
    /// module file named `tests`?
    pub fn is_test(&self) -> bool {
        let mut parts = self.path.split('/');
        parts.any(|part| matches!(part, "tests" | "benches" | "examples" | "tests.rs"))
    }
}

/// The paths of the files, by git, or by walking where there is no git.
fn list(root: &Path) -> io::Result<Vec<String>> {
    let git = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output();
    match git {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => {
            let names = String::from_utf8_lossy(&output.stdout);
            Ok(names.split_terminator('\0').map(str::to_owned).collect())
        }
        _ => {
            let mut paths = Vec::new();
            walk(root, "", &mut paths)?;
            Ok(paths)
        }
    }
}

fn walk(root: &Path, under: &str, paths: &mut Vec<String>) -> io::Result<()> {
    for entry in std::fs::read_dir(root.join(under))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if matches!(name.as_str(), ".git" | "target") {
            continue;
        }
        let path = if under.is_empty() { name } else { format!("{under}/{name}") };
        let file_type = entry.file_type()?;
        if file_type.is_dir() {
            walk(root, &path, paths)?;
        } else if file_type.is_file() {
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walking_finds_what_git_lists() {
        let mut walked = Vec::new();
        walk(&root(), "", &mut walked).unwrap();
        for path in ["Cargo.toml", "xtask/src/main.rs", "crates/pager/src/lib.rs"] {
            assert!(walked.iter().any(|found| found == path), "{path}");
            assert!(list(&root()).unwrap().iter().any(|found| found == path), "{path}");
        }
        assert!(!walked.iter().any(|path| path.starts_with("target/")));
    }

    #[test]
    fn files_know_their_lines_and_whether_they_are_tests() {
        let repo = Repo::of([("crates/x/src/a/tests.rs", "a\nb\n"), ("crates/x/src/b.rs", "")]);
        let file = repo.file("crates/x/src/a/tests.rs").unwrap();
        assert_eq!((file.line_of("b"), file.line_of("c")), (2, 1));
        assert!(file.is_test());
        assert!(!repo.file("crates/x/src/b.rs").unwrap().is_test());
    }
}
