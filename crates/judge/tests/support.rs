//! README's table is what the checklist comes out as, and what it names is there.

use std::path::Path;

use faultless_judge::support::{CALLS, DELIBERATE, Product, put_in, section};
use faultless_judge::table;
use faultless_oracle::kernel::why_not;
use faultless_oracle::system::{Person, World};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn readme_has_the_table_that_comes_out() {
    // What can't be played here would be missing.
    if let Some(reason) = why_not(&World { person: Person::Root, ..World::WIDE }) {
        println!("not compared: {reason}");
        return;
    }
    let lines: Vec<_> = table::lines().map(Result::unwrap).collect();
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let written = put_in(&readme, &section(&lines)).unwrap();
    assert_eq!(readme, written, "`cargo xtask support` writes it");
}

#[test]
fn every_line_is_in_one_row() {
    for line in 1..=62 {
        let rows = CALLS.iter().filter(|call| call.lines.contains(&line)).count();
        assert_eq!(rows, 1, "line {line}");
    }
}

#[test]
fn what_shows_it_is_there() {
    let product = include_str!("product.rs");
    for call in CALLS {
        match call.product {
            Product::Done(_, test) => {
                assert!(product.contains(&format!("#[test]\nfn {test}()")), "{test}")
            }
            Product::Elsewhere(_, path) => assert!(root().join(path).exists(), "{path}"),
            Product::Not(_) => {}
        }
    }
    for (_, path) in DELIBERATE {
        assert!(root().join(path).exists(), "{path}");
    }
}
