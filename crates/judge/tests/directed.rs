//! Every line of the checklist, on the kernel, the model and Faultless.

use faultless_judge::table::{foot, head, lines};

#[test]
fn all_three_do_what_the_checklist_says() {
    let lines: Vec<_> = lines().map(Result::unwrap).collect();
    println!("{}", head());
    lines.iter().for_each(|line| println!("{line}"));
    println!("{}", foot(&lines));
    let wrong: Vec<String> =
        lines.iter().filter(|line| !line.is_right()).map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
