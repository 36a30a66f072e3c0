//! Programs in C, with the shared and with the static library.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// What Rust's standard library needs of the system's.
const SYSTEM: [&str; 4] = ["-lgcc_s", "-lpthread", "-lm", "-ldl"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Library {
    Shared,
    Static,
    /// The kernel's own calls.
    None,
}

/// A program of `source`, below this crate, in `dir`.
fn compiled(dir: &Path, source: &str, library: Library) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Beside the tests, where Cargo builds the library for them.
    let tests = std::env::current_exe().expect("the test's name");
    let built = tests.parent().expect("its directory");
    let program = dir.join(format!("{library:?}"));
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror"])
        .arg("-I")
        .arg(root.join("include"))
        .arg("-o")
        .arg(&program)
        .arg(root.join(source));
    match library {
        Library::Shared => {
            cc.arg(built.join("libfaultless_c.so"));
            cc.arg(format!("-Wl,-rpath,{}", built.display()));
        }
        Library::Static => {
            cc.arg(built.join("libfaultless_c.a")).args(SYSTEM);
        }
        Library::None => {
            cc.arg("-DKERNEL");
        }
    }
    let output = cc.output().expect("a C compiler, as Rust needs one");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

fn run(program: &Path, arguments: &[&str]) -> String {
    let output: Output = Command::new(program)
        .args(arguments)
        .env("FAULTLESS_MEMORY", (16 << 20).to_string())
        .output()
        .expect("it starts");
    let (out, err) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
    let out = String::from_utf8_lossy(out).into_owned();
    assert!(output.status.success(), "{program:?} {arguments:?}: {}\n{out}{err}", output.status);
    out
}

fn dir() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

#[test]
fn the_example_sums_a_file_under_its_budget() {
    let dir = dir();
    let file = dir.path().join("file");
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
    std::fs::write(&file, &bytes).expect("it can be written");
    let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
    for library in [Library::Shared, Library::Static] {
        let program = compiled(dir.path(), "examples/sum.c", library);
        let said = run(&program, &[file.to_str().expect("a name"), "1048576"]);
        assert!(said.starts_with(&format!("sum {sum}, first byte 0, at most ")), "{said}");
        let numbers: Vec<u64> =
            said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [most, budget] = numbers[..] else { panic!("{said}") };
        assert!(most <= budget && budget <= 256, "{said}");
    }
}

#[test]
fn pins_copies_growth_and_errors_in_words() {
    let dir = dir();
    let program = compiled(dir.path(), "tests/programs/extras.c", Library::Shared);
    let place = dir.path().to_str().expect("a name");
    assert_eq!(run(&program, &[place]), "all as it should be\n");
}

#[test]
fn children_of_a_program_that_maps_all_the_time_map_for_themselves() {
    let dir = dir();
    let program = compiled(dir.path(), "tests/programs/forks.c", Library::Shared);
    assert_eq!(run(&program, &[]), "0 wrong\n");
}

#[test]
fn posix_s_shapes_are_those_of_the_kernel() {
    let said = |library| {
        let dir = dir();
        let program = compiled(dir.path(), "tests/programs/shapes.c", library);
        run(&program, &[dir.path().to_str().expect("a name")])
    };
    let (ours, kernel) = (said(Library::Shared), said(Library::None));
    assert!(kernel.lines().count() > 80, "{kernel}");
    for (ours, kernel) in ours.lines().zip(kernel.lines()) {
        assert_eq!(ours, kernel);
    }
    assert_eq!(ours, kernel);
}

#[test]
fn random_calls_answer_as_the_kernel_s() {
    let dir = dir();
    let program = compiled(dir.path(), "tests/programs/differ.c", Library::Shared);
    let variable =
        |name, usual| std::env::var(name).map_or(usual, |said| said.parse().expect(name));
    let (seed, count): (u64, u64) = (variable("SEED", 1), variable("COUNT", 3));
    for seed in seed..seed + count {
        println!("SEED={seed} COUNT=1");
        run(&program, &[dir.path().to_str().expect("a name"), &seed.to_string(), "20000"]);
    }
}
