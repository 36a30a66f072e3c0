//! Every line of the checklist, on Faultless and on the model.

mod common;

use faultless_oracle::differ::Make;
use faultless_oracle::directed::{cases, head, play};

fn agree(make: Make<common::Faultless>) {
    let rows: Vec<_> = cases().iter().map(|case| play(make, case).unwrap()).collect();
    println!("{}", head());
    rows.iter().for_each(|row| println!("{row}"));
    let wrong: Vec<String> =
        rows.iter().filter(|row| !row.is_right()).map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn faultless_does_what_the_checklist_says() {
    agree(common::with_memory);
}

#[test]
fn also_when_it_is_short_of_memory() {
    agree(common::short_of_memory);
}
