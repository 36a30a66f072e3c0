//! [`Script`]: how a program is played. A shell script of two functions, after a head of
//! comments:
//!
//! ```sh
//! # What it is, in one line.
//! # packages: Debian's packages that it takes
//! # memory: 64M
//! # only: full
//! prepare() { … }   # once: files and programs for both; may be left out
//! play() { … }      # twice: what it prints and how it ends is compared
//! ```
//!
//! | in the script | is |
//! |---|---|
//! | `under PROGRAM ARGS` | the program; under `faultless run` the second time |
//! | `$PREPARED` | where `prepare` was called |
//! | the directory where `play` is called | empty, on a disk |
//! | `$SHM` | an empty directory on tmpfs |
//! | `$TOOLS` | a directory that stays from run to run, for what takes long to build |
//! | `$ROOT` | the repository |
//! | `quick \|\| …`, `full && …` | whether the short form is to be played |

use std::path::Path;

/// How long a form is to be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A few seconds.
    Quick,
    /// Some minutes.
    Full,
}

/// How a program is played.
#[derive(Debug)]
pub struct Script {
    /// The file's name, without what follows the dot.
    pub name: String,
    /// What it is.
    pub title: String,
    /// Debian's packages.
    pub packages: Vec<String>,
    /// The budget, as `faultless run --memory` takes it.
    pub memory: String,
    /// Its shortest form.
    pub shortest: Extent,
    /// All of it.
    pub text: String,
}

impl Script {
    /// The scripts of a directory, by name.
    pub fn all(dir: &Path) -> Result<Vec<Script>, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
        let mut scripts = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "sh") {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                scripts
                    .push(Script::parse(&name, &std::fs::read_to_string(&path).map_err(failed)?)?);
            }
        }
        scripts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(scripts)
    }

    /// Reads the head.
    pub fn parse(name: &str, text: &str) -> Result<Script, String> {
        let mut lines = text.lines().map_while(|line| line.strip_prefix("# "));
        let title = lines.next().ok_or(format!("{name}: the first line says what it is"))?;
        let mut script = Script {
            name: name.to_owned(),
            title: title.to_owned(),
            packages: Vec::new(),
            memory: "64M".to_owned(),
            shortest: Extent::Quick,
            text: text.to_owned(),
        };
        for line in lines {
            match line.split_once(": ") {
                Some(("packages", packages)) => {
                    script.packages = packages.split_whitespace().map(str::to_owned).collect();
                }
                Some(("memory", memory)) => script.memory = memory.to_owned(),
                Some(("only", "full")) => script.shortest = Extent::Full,
                // A sentence.
                _ => {}
            }
        }
        Ok(script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_says_what_it_takes() {
        let text = "# A program.\n# packages: a b-c\n# It: is.\n# memory: 16M\nplay() { :; }\n# only: full\n";
        let script = Script::parse("x", text).unwrap();
        assert_eq!(script.title, "A program.");
        assert_eq!(script.packages, ["a", "b-c"]);
        assert_eq!((script.memory.as_str(), script.shortest), ("16M", Extent::Quick));
    }

    #[test]
    fn each_script_of_ours_can_be_played() {
        let scripts = Script::all(&crate::tidy::root().join("xtask/programs")).unwrap();
        assert!(!scripts.is_empty());
        for script in scripts {
            assert!(script.text.contains("\nplay() {\n"), "{}", script.name);
            assert!(script.text.contains("under "), "{}: nothing is under Faultless", script.name);
        }
    }
}
