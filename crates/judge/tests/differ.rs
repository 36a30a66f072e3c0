//! Random calls on Faultless beside the kernel and beside the model: some seeds of them.
//! The tool runs more.

use faultless_judge::Budget;
use faultless_judge::differ::{Order, Report, Sides};

/// Runs 12,000 calls from seed 0 on.
fn agree(sides: Sides, budget: Budget) -> Report {
    let order = Order { sides, budget, seed: 0, calls: 12_000, differences_max: 1 };
    let report = order.run(|_| true).unwrap();
    println!("{report}");
    let found: Vec<String> =
        report.found.iter().map(|(found, again)| format!("{found}: {again}")).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    report
}

#[test]
fn beside_the_kernel_with_memory() {
    agree(Sides::Faultless, Budget::Many);
}

#[test]
fn beside_the_kernel_short_of_memory() {
    agree(Sides::Faultless, Budget::Few);
}

#[test]
fn beside_the_model_where_the_kernel_is_another() {
    let report = agree(Sides::Model, Budget::Few);
    assert_eq!((report.calls, report.open), (12_000, 0));
}
