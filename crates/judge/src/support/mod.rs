//! README's table of Linux's calls, as it comes out of playing the checklist.
//!
//! ```text
//!   table: cases on kernel, model, Faultless ─┐
//!                                             ├─► section ─► README, between two marks
//!   calls: names, and what `faultless` has ───┘
//! ```

mod calls;

use std::fmt::Write as _;

use crate::table::{Line, Verdict};
pub use calls::{CALLS, Call, DELIBERATE, Product};

/// What is before the section in README,
const BEGIN: &str = "<!-- written by `cargo xtask support` -->\n";
/// and what is behind it.
const END: &str = "<!-- end of what `cargo xtask support` writes -->\n";

/// The section that these lines come to.
pub fn section(lines: &[Line]) -> String {
    let mut text = String::new();
    let mut put = |line: &str| writeln!(text, "{line}").expect("a string takes all");
    let played = lines.iter().filter(|line| line.not().is_none()).count();
    put(&format!(
        "{played} cases play the checklist ([CHECKLIST.md](crates/oracle/CHECKLIST.md)) on the \
         kernel, on a slow model of it, and on Faultless on the software machine, with 24 frames \
         and with 2048. ✓: bytes, errno, signals, areas are as the checklist says. The last \
         column is another matter: what the crate `faultless` has on real pointers.\n"
    ));
    put("| call | about | cases | kernel | model | Faultless, software machine | \
         real pointers (crate `faultless`) |");
    put("|---|---|--:|:-:|:-:|:-:|---|");
    for call in CALLS {
        put(&row(call, lines));
    }
    put("\nNot played:\n");
    for line in lines {
        if let Some(reason) = line.not() {
            put(&format!("- line {}, {}: {reason}", line.number(), line.what()));
        }
    }
    put("\nDifferent on purpose:\n");
    for (what, shown) in DELIBERATE {
        put(&format!("- {what} (`{shown}`)"));
    }
    text
}

fn row(call: &Call, lines: &[Line]) -> String {
    let Call { name, about, product, .. } = call;
    let mine = || lines.iter().filter(|line| call.lines.contains(&line.number()));
    let cases = mine().filter(|line| line.not().is_none()).count();
    let differ =
        |of: usize| mine().filter(|line| line.verdicts()[of] == Verdict::Different).count();
    let side = |of: usize| match differ(of) {
        0 => "✓".to_owned(),
        n => format!("{n} differ"),
    };
    let [kernel, model, ours] = [0, 1, 2].map(side);
    let product = match product {
        Product::Done(what, _) | Product::Elsewhere(what, _) => (*what).to_owned(),
        Product::Not("") => "**not**".to_owned(),
        Product::Not(instead) => format!("**not**; {instead}"),
    };
    format!("| {name} | {about} | {cases} | {kernel} | {model} | {ours} | {product} |")
}

/// README with another section.
///
/// # Errors
/// It has no place for one.
pub fn put_in(readme: &str, section: &str) -> Result<String, &'static str> {
    let (before, rest) = readme.split_once(BEGIN).ok_or("README has no mark to write behind")?;
    let (_, behind) = rest.split_once(END).ok_or("README has no mark to write up to")?;
    Ok(format!("{before}{BEGIN}\n{section}\n{END}{behind}"))
}
