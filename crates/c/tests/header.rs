//! `include/faultless.h` says what the library has.

use std::path::Path;

#[test]
fn the_header_is_made_of_the_library() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("it is right");
    let made = cbindgen::Builder::new()
        .with_crate(root)
        .with_config(config)
        .generate()
        .expect("the functions have shapes that C knows");
    let mut text = Vec::new();
    made.write(&mut text);
    // What Rust calls so.
    let text =
        String::from_utf8(text).expect("it is text").replace("# Safety", "The caller's promise:");
    let file = root.join("include/faultless.h");
    if std::env::var_os("FAULTLESS_WRITE_HEADER").is_some() {
        std::fs::write(&file, &text).expect("it can be written");
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(there == text, "include/faultless.h is out of date: `cargo xtask header` makes it");
}
