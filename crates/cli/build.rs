//! Builds the libraries that `faultless run` loads before a program's own, so that the tool
//! has them inside: one file is all there is to install.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Our crates that are in the libraries.
const PARTS: [&str; 6] = ["preload", "preload-heap", "client", "protocol", "sys", "addr"];

/// The crates that are libraries, and their files.
const LIBRARIES: [(&str, &str); 2] =
    [("preload", "libfaultless_preload.so"), ("preload-heap", "libfaultless_preload_heap.so")];

fn main() {
    let variable = |name: &str| env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let crates = Path::new(&variable("CARGO_MANIFEST_DIR")).join("..");
    for part in PARTS {
        for what in ["src", "Cargo.toml"] {
            println!("cargo::rerun-if-changed={}", crates.join(part).join(what).display());
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(variable("OUT_DIR"));
    for (part, name) in LIBRARIES {
        build(&crates.join(part), name, &out);
    }
}

fn build(part: &Path, name: &str, out: &Path) {
    let variable = |name: &str| env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let target = variable("TARGET");
    // A directory of its own: the one that Cargo builds in now is locked.
    let dir = out.join("preload");
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .args(["build", "--quiet", "--lib", "--profile", "release"])
        .args(["--config", "profile.release.strip=true"])
        .args(["--config", "profile.release.panic=\"abort\""])
        .arg("--manifest-path")
        .arg(part.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&dir)
        .args(["--target", &target]);
    // What is meant for the tool, or for who checks it.
    for name in [
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
    ] {
        cargo.env_remove(name);
    }
    let status = cargo.status().unwrap_or_else(|error| panic!("{cargo:?}: {error}"));
    assert!(status.success(), "{cargo:?}: {status}");
    let built = dir.join(&target).join("release").join(name);
    std::fs::copy(&built, out.join(name))
        .unwrap_or_else(|error| panic!("{}: {error}", built.display()));
}
