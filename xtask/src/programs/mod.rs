//! `cargo xtask programs`: programs that nobody here wrote, once without Faultless and once
//! under `faultless run`, which must not be told apart by what they say.
//!
//! Each is a script of `xtask/programs/`; `script.rs` says what one consists of.

mod play;
mod script;

use std::path::{Path, PathBuf};
use std::process::Command;

use play::Played;
use script::{Extent, Script};

/// What is to be played.
struct Wish {
    extent: Extent,
    /// All, if empty.
    names: Vec<String>,
}

/// Plays the programs with these names, or all; `--full` for the long forms, `--list` to see
/// what there is.
///
/// # Errors
/// What went another way than without Faultless.
pub fn run(root: &Path, args: &[&str]) -> Result<(), String> {
    let scripts = Script::all(&root.join("xtask/programs"))?;
    if args.contains(&"--list") {
        for script in &scripts {
            println!("{:<16}{}", script.name, script.title);
        }
        return Ok(());
    }
    let wish = Wish::parse(args, &scripts)?;
    let chosen: Vec<&Script> = scripts.iter().filter(|script| wish.includes(script)).collect();
    install(&chosen)?;
    let tool = build(root)?;
    let target = tool.parent().and_then(Path::parent).expect("the tool is in a directory");
    let play = play::Play { root, tool: &tool, dir: target.join("programs"), extent: wish.extent };
    println!("{}", Played::HEAD);
    let mut wrong = 0;
    for script in &chosen {
        match play.compare(script) {
            Ok(played) => println!("{played}"),
            Err(problem) => {
                println!("{:<16}{problem}", script.name);
                wrong += 1;
            }
        }
    }
    println!("{} passed, {wrong} failed", chosen.len() - wrong);
    if wrong == 0 { Ok(()) } else { Err(format!("programs: {wrong} went another way")) }
}

impl Wish {
    fn parse(args: &[&str], scripts: &[Script]) -> Result<Wish, String> {
        let mut wish = Wish { extent: Extent::Quick, names: Vec::new() };
        for arg in args {
            match *arg {
                "--full" => wish.extent = Extent::Full,
                name if scripts.iter().any(|script| script.name == name) => {
                    wish.names.push(name.to_owned());
                }
                other => return Err(format!("no program is called {other}: see --list")),
            }
        }
        Ok(wish)
    }

    /// Is it asked for by name, or short enough to be among all?
    fn includes(&self, script: &Script) -> bool {
        match self.names.is_empty() {
            true => self.extent == Extent::Full || script.shortest == Extent::Quick,
            false => self.names.contains(&script.name),
        }
    }
}

/// Installs Debian's packages that aren't there.
fn install(scripts: &[&Script]) -> Result<(), String> {
    let is_there = |package: &String| {
        let state = Command::new("dpkg-query").args(["-W", "-f", "${Status}", package]).output();
        state.is_ok_and(|state| state.stdout.ends_with(b"ok installed"))
    };
    let mut missing: Vec<&String> = scripts.iter().flat_map(|script| &script.packages).collect();
    missing.retain(|package| !is_there(package));
    missing.sort();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let mut install = Command::new("apt-get");
    install.args(["install", "--yes", "--no-install-recommends"]).args(&missing);
    // Lists that are there already may do.
    let mut update = Command::new("apt-get");
    update.arg("update");
    if succeeds(&mut install).is_ok() {
        return Ok(());
    }
    succeeds(&mut update)?;
    succeeds(&mut install)
}

/// Builds the tool; answers where it is.
fn build(root: &Path) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["build", "--release", "--quiet", "-p", "faultless-cli"]);
    succeeds(&mut command)?;
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root.join("target"), PathBuf::from);
    let tool = target.join("release/faultless");
    tool.canonicalize().map_err(|error| format!("{}: {error}", tool.display()))
}

/// Runs a command to its end, in silence unless it fails.
fn succeeds(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_owned();
    let failed = |why: String| format!("{}: {why}", name.display());
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ones_are_played_when_asked_for() {
        let long = Script::parse("long", "# It is long.\n# only: full\nplay() { :; }\n").unwrap();
        let quick = Script::parse("quick", "# It is short.\nplay() { :; }\n").unwrap();
        let scripts = [long, quick];
        let chosen = |args: &[&str]| {
            let wish = Wish::parse(args, &scripts).unwrap();
            scripts.iter().map(|script| wish.includes(script)).collect::<Vec<_>>()
        };
        assert_eq!(chosen(&[]), [false, true]);
        assert_eq!(chosen(&["long"]), [true, false]);
        assert_eq!(chosen(&["--full"]), [true, true]);
        assert!(Wish::parse(&["longer"], &scripts).is_err());
    }
}
