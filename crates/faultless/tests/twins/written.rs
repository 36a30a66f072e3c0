//! What the twins come to, as it is written down: every line of the checklist in
//! `docs/twins.md`, what differs on purpose in README.

use std::path::PathBuf;

use super::differences::TABLE;

/// README has the table between these.
const BEGIN: &str = "<!-- written by `WRITE=1 cargo test -p faultless --test twins table` -->\n";
const END: &str = "<!-- end of what twins write -->\n";

const HEAD: &str = "\
# The crate and the kernel, line by line

Written by `WRITE=1 cargo test -p faultless --test twins table`, which plays each case on both,
in both deliveries, and compares bytes, errno, signals with code and address. The lines are
those of [CHECKLIST.md](../crates/oracle/CHECKLIST.md); what differs on purpose is explained in
[README](../README.md#where-real-pointers-differ-from-linux).

| line | about | Linux and Faultless |
|--:|---|---|
";

/// What is to be compared with `played`, a row for each case.
pub fn compare(played: &[String]) -> Result<(), String> {
    let readme = at_root("README.md");
    let before = std::fs::read_to_string(&readme).map_err(|error| error.to_string())?;
    is_or_becomes(readme, &put_in(&before)?)?;
    is_or_becomes(at_root("docs/twins.md"), &format!("{HEAD}{}\n", played.join("\n")))
}

fn at_root(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../..", path].iter().collect()
}

fn put_in(readme: &str) -> Result<String, String> {
    let (before, rest) = readme.split_once(BEGIN).ok_or("README has no mark to write behind")?;
    let (_, behind) = rest.split_once(END).ok_or("README has no mark to write up to")?;
    let rows = TABLE
        .iter()
        .map(|(_, said)| format!("| {} | {} | {} |\n", said.what, said.why, said.checked));
    let rows: String = rows.collect();
    Ok(format!(
        "{before}{BEGIN}\n| difference | because | checked |\n|---|---|---|\n{rows}\n{END}{behind}"
    ))
}

fn is_or_becomes(path: PathBuf, text: &str) -> Result<(), String> {
    let name = path.display().to_string();
    if std::env::var_os("WRITE").is_some() {
        return std::fs::write(&path, text).map_err(|error| format!("{name}: {error}"));
    }
    match std::fs::read_to_string(&path) {
        Ok(is) if is == text => Ok(()),
        Ok(_) => Err(format!("{name} is not what twins write: WRITE=1 writes it")),
        Err(error) => Err(format!("{name}: {error}")),
    }
}
