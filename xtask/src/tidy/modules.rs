//! No dead files: every file under `src` is a module of its crate.

use std::collections::BTreeSet;

use super::repo::File;
use super::{Repo, Violation};

pub fn check(repo: &Repo) -> Vec<Violation> {
    repo.packages().flat_map(|package| check_package(repo, package)).collect()
}

fn check_package(repo: &Repo, package: &str) -> Vec<Violation> {
    let src = format!("{package}/src/");
    let files: Vec<&File> = repo.rust_files().filter(|f| f.path.starts_with(&src)).collect();
    let is_root = |file: &&&File| {
        let inside = &file.path[src.len()..];
        matches!(inside, "lib.rs" | "main.rs") || inside.starts_with("bin/")
    };
    let mut waiting: Vec<&File> = files.iter().filter(is_root).copied().collect();
    let mut reached = BTreeSet::new();
    while let Some(file) = waiting.pop() {
        if reached.insert(file.path.as_str()) {
            waiting.extend(children(file).iter().filter_map(|path| repo.file(path)));
        }
    }
    files
        .into_iter()
        .filter(|file| !reached.contains(file.path.as_str()))
        .map(|file| {
            let message = "no `mod` leads to this file: declare it (without #[path]) or remove it";
            Violation::new(&file.path, 1, message)
        })
        .collect()
}

/// The paths at which the modules that `file` declares may be.
fn children(file: &File) -> Vec<String> {
    let (dir, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let home = match name {
        "lib.rs" | "main.rs" | "mod.rs" => dir.to_owned(),
        _ if dir.ends_with("/bin") => dir.to_owned(),
        _ => format!("{dir}/{}", name.trim_end_matches(".rs")),
    };
    let tokens = &file.lexed.tokens;
    // Modules with a body that are open here: their name, and the depth inside.
    let mut open: Vec<(&str, usize)> = Vec::new();
    let mut depth = 0;
    let mut paths = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => {
                open.pop_if(|(_, inside)| *inside == depth);
                depth = depth.saturating_sub(1);
            }
            "mod" => {
                let [name, mark] = [1, 2].map(|ahead| tokens.get(index + ahead));
                let (Some(name), Some(mark)) = (name, mark) else { continue };
                match mark.text.as_str() {
                    "{" => open.push((&name.text, depth + 1)),
                    ";" => {
                        let inner: String =
                            open.iter().map(|(name, _)| format!("/{name}")).collect();
                        let path = format!("{home}{inner}/{}", name.text);
                        paths.extend([format!("{path}.rs"), format!("{path}/mod.rs")]);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(files: &[(&str, &str)]) -> Vec<String> {
        let manifest = ("c/Cargo.toml", "");
        let repo = Repo::of(files.iter().copied().chain([manifest]));
        check(&repo).into_iter().map(|violation| violation.path).collect()
    }

    #[test]
    fn modules_of_all_forms_are_reached() {
        let files = [
            ("c/src/lib.rs", "mod a; pub(crate) mod b; mod i { mod j; }"),
            ("c/src/a.rs", "#[cfg(test)]\nmod tests;"),
            ("c/src/a/tests.rs", ""),
            ("c/src/b/mod.rs", "mod c;"),
            ("c/src/b/c.rs", ""),
            ("c/src/i/j.rs", ""),
            ("c/src/bin/tool.rs", ""),
            ("c/build.rs", ""),
            ("c/tests/t.rs", ""),
        ];
        assert_eq!(dead(&files), [""; 0]);
    }

    #[test]
    fn dead_files_and_all_below_them_are_found() {
        let files = [
            ("c/src/lib.rs", "// mod a;\nmod i { } mod k;"),
            ("c/src/a.rs", "mod b;"),
            ("c/src/a/b.rs", ""),
            ("c/src/i/k.rs", ""),
            ("c/src/k.rs", ""),
        ];
        assert_eq!(dead(&files), ["c/src/a.rs", "c/src/a/b.rs", "c/src/i/k.rs"]);
    }
}
