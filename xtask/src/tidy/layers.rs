//! Arrows point one way: which crate may depend on which.

use toml::{Table, Value};

use super::repo::File;
use super::{Repo, Violation};

/// Every package and those of ours that it may depend on. Tests may depend on
/// anything.
const ALLOWED: &[(&str, &[&str])] = &[
    ("faultless-addr", &[]),
    ("faultless-machine", &["faultless-addr"]),
    ("faultless-engine", &["faultless-addr"]),
    ("faultless-heap", &["faultless-addr"]),
    ("faultless-pager", &[]),
    ("faultless-sys", &["faultless-addr"]),
    ("faultless-linux", &["faultless-addr", "faultless-machine", "faultless-sys"]),
    ("faultless-software", &["faultless-addr", "faultless-machine"]),
    (
        "faultless-sim",
        &["faultless-addr", "faultless-machine", "faultless-software", "faultless-engine"],
    ),
    (
        "faultless-posix",
        &["faultless-addr", "faultless-machine", "faultless-software", "faultless-engine"],
    ),
    (
        "faultless-runtime",
        &[
            "faultless-addr",
            "faultless-machine",
            "faultless-engine",
            "faultless-pager",
            "faultless-sys",
        ],
    ),
    (
        "faultless",
        &[
            "faultless-addr",
            "faultless-machine",
            "faultless-engine",
            "faultless-pager",
            "faultless-sys",
            "faultless-linux",
            "faultless-runtime",
            "faultless-heap",
            "faultless-client",
        ],
    ),
    (
        "faultless-scenarios",
        &[
            "faultless-addr",
            "faultless-engine",
            "faultless-software",
            "faultless-posix",
            "faultless",
            "faultless-sys",
        ],
    ),
    ("faultless-measure", &["faultless"]),
    (
        "faultless-bench",
        &[
            "faultless-addr",
            "faultless-machine",
            "faultless-engine",
            "faultless-sys",
            "faultless-linux",
            "faultless",
            "faultless-measure",
        ],
    ),
    (
        "faultless-cli",
        &[
            "faultless",
            "faultless-measure",
            "faultless-bench",
            "faultless-scenarios",
            "faultless-broker",
            "faultless-protocol",
        ],
    ),
    ("faultless-protocol", &[]),
    ("faultless-client", &["faultless-addr", "faultless-sys", "faultless-protocol"]),
    ("faultless-preload", &["faultless-client", "faultless-protocol"]),
    ("faultless-preload-heap", &["faultless-protocol"]),
    ("faultless-c", &["faultless"]),
    (
        "faultless-broker",
        &[
            "faultless-addr",
            "faultless-machine",
            "faultless-engine",
            "faultless-pager",
            "faultless-sys",
            "faultless-linux",
            "faultless-runtime",
            "faultless-protocol",
        ],
    ),
    ("faultless-bare", &["faultless-addr", "faultless-engine"]),
    ("faultless-oracle", &[]),
    (
        "faultless-judge",
        &["faultless-addr", "faultless-engine", "faultless-posix", "faultless-oracle"],
    ),
    ("xtask", &[]),
];

pub fn check(repo: &Repo) -> Vec<Violation> {
    let manifests =
        repo.packages().filter_map(|package| repo.file(&format!("{package}/Cargo.toml")));
    manifests.flat_map(check_manifest).collect()
}

fn check_manifest(file: &File) -> Vec<Violation> {
    let violation =
        |needle: &str, message: String| Violation::new(&file.path, file.line_of(needle), message);
    let manifest: Table = match file.text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![violation("", format!("this is not TOML: {error}"))],
    };
    let name = manifest.get("package").and_then(|package| package.get("name"));
    let Some(name) = name.and_then(Value::as_str) else {
        return vec![violation("", "a package needs a name".to_owned())];
    };
    let Some((_, allowed)) = ALLOWED.iter().find(|(package, _)| *package == name) else {
        let message = format!("{name} has no layer: give it one in {}", file!());
        return vec![violation("name", message)];
    };
    let ours = |dependency: &String| dependency == "xtask" || dependency.starts_with("faultless");
    dependencies(&manifest)
        .into_iter()
        .filter(|dependency| ours(dependency) && !allowed.contains(&dependency.as_str()))
        .map(|dependency| {
            let message = format!(
                "{name} must not depend on {dependency}: arrows point from apps to addresses \
                 ({name} may use {allowed:?}); move what is needed to a lower layer"
            );
            // Not the line of the package's own name, which may begin like it.
            let line =
                file.text.lines().position(|line| line.trim_start().starts_with(&dependency));
            Violation::new(&file.path, line.map_or(1, |index| index + 1), message)
        })
        .collect()
}

/// The packages in `dependencies` and `build-dependencies`, for any target.
fn dependencies(manifest: &Table) -> Vec<String> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(|targets| targets.values());
    let tables = targets.filter_map(Value::as_table).chain([manifest]);
    let kinds = |table| ["dependencies", "build-dependencies"].map(|kind| Table::get(table, kind));
    tables
        .flat_map(kinds)
        .flatten()
        .filter_map(Value::as_table)
        .flatten()
        .map(|(key, value)| {
            let renamed = value.get("package").and_then(Value::as_str);
            renamed.unwrap_or(key).to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(manifest: &str) -> Vec<String> {
        let repo = Repo::of([("crates/x/Cargo.toml", manifest)]);
        check(&repo).iter().map(Violation::to_string).collect()
    }

    #[test]
    fn arrows_down_and_foreign_crates_pass() {
        let manifest = "[package]\nname = \"faultless-engine\"\n[dependencies]\n\
                        faultless-addr.workspace = true\nthiserror = \"2\"\n\
                        [dev-dependencies]\nfaultless-machine.workspace = true\n";
        assert_eq!(found(manifest), [""; 0]);
    }

    #[test]
    fn an_arrow_up_is_found_with_its_line() {
        let manifest = "[package]\nname = \"faultless-engine\"\n[dependencies]\n\
                        faultless-pager.workspace = true\n";
        let found = found(manifest);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("crates/x/Cargo.toml:4: faultless-engine must not"));
    }

    #[test]
    fn no_way_round_by_target_build_script_or_another_name() {
        for section in [
            "[target.'cfg(unix)'.dependencies]\nfaultless-pager.workspace = true",
            "[build-dependencies]\nfaultless-pager.workspace = true",
            "[dependencies]\nother = { package = \"faultless-pager\", version = \"0\" }",
            "[dependencies]\nxtask = { path = \"../../xtask\" }",
        ] {
            let manifest = format!("[package]\nname = \"faultless-addr\"\n{section}\n");
            assert_eq!(found(&manifest).len(), 1, "{section}");
        }
    }

    #[test]
    fn a_package_without_a_layer_is_found() {
        let found = found("[package]\nname = \"faultless-new\"\n");
        assert!(found[0].contains("has no layer"), "{found:?}");
    }
}
