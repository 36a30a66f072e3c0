//! Every line of the checklist, on the kernel and on the model.

use faultless_oracle::directed::{cases, head, play};
use faultless_oracle::kernel::Kernel;

#[test]
fn kernel_and_model_do_what_the_checklist_says() {
    let rows: Vec<_> = cases().iter().map(|case| play(Kernel::new, case).unwrap()).collect();
    println!("{}", head());
    rows.iter().for_each(|row| println!("{row}"));
    let wrong: Vec<String> =
        rows.iter().filter(|row| !row.is_right()).map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_line_has_a_case() {
    let cases = cases();
    for line in 1..=62 {
        assert!(cases.iter().any(|case| case.line == line), "line {line} has no case");
    }
}
