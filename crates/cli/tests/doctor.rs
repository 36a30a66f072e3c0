//! `faultless doctor`, and what the tool says of itself.

mod common;

use common::{json, number, run, stderr};

#[test]
fn it_looks_at_everything_and_measures() {
    let output = run(["--json", "doctor", "--dir", env!("CARGO_TARGET_TMPDIR")]);
    let code = output.status.code();
    let report = json(&output);
    let verdicts = ["ok", "limited"];
    let expected = verdicts.iter().position(|verdict| report["verdict"] == *verdict);
    assert_eq!(code, expected.map(|code| code as i32), "{report:#}\n{}", stderr(&output));
    let findings = report["findings"].as_array().expect("findings");
    assert!(findings.len() >= 3);
    for finding in findings {
        assert!(finding["subject"].is_string() && finding["found"].is_string());
        let is_ok = finding["verdict"] == "ok";
        assert_eq!(finding["remedy"].is_null(), is_ok, "a remedy for what isn't: {finding:#}");
    }
    let costs = report["costs"].as_array().expect("costs");
    assert_eq!(costs.len(), 3);
    for cost in costs {
        assert!(number(cost, "/microseconds_per_page") > 0.0);
    }
}

#[test]
fn its_text_ends_with_the_verdict() {
    let output = run(["doctor", "--dir", env!("CARGO_TARGET_TMPDIR")]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("userfaultfd") && text.contains("can be used here"), "{text}");
}

#[test]
fn help_teaches_by_examples() {
    let output = run(["--help"]);
    let text = String::from_utf8_lossy(&output.stdout);
    for words in ["demo", "scan", "cat", "doctor", "Examples:", "Exit codes:", "--json"] {
        assert!(text.contains(words), "no '{words}' in\n{text}");
    }
    assert!(!text.contains("kernel-walk"), "that is for the tool itself");
    assert_eq!(run(["no-such-command"]).status.code(), Some(2));
    assert_eq!(run::<&str>([]).status.code(), Some(2));
}
