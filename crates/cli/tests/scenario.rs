//! `faultless scenario`: its list, one scenario, all, a picture, and names that don't exist.

mod common;

use common::{json, run, stderr};

#[test]
fn the_list_names_all_with_a_sentence_and_machines() {
    let report = json(&run(["--json", "scenario", "list"]));
    let scenarios = report["scenarios"].as_array().expect("scenarios");
    assert_eq!(scenarios.len(), faultless_scenarios::ALL.len());
    for scenario in scenarios {
        assert!(scenario["summary"].as_str().is_some_and(|text| text.len() > 20), "{scenario:#}");
        assert_eq!(scenario["machines"][0], "software");
        assert!(!scenario["claims"].as_array().expect("claims").is_empty());
    }
    let text = run(["scenario", "list"]);
    let text = String::from_utf8_lossy(&text.stdout);
    assert!(text.contains("watcher ") && text.contains("software, linux"), "{text}");
}

#[test]
fn one_tells_each_step_as_states() {
    let output = run(["scenario", "one-page-driver"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    for words in ["areas", "/dev/mymap", "PWU", "lists", "ok ", "passed:"] {
        assert!(text.contains(words), "no '{words}' in\n{text}");
    }
    let report = json(&run(["--json", "scenario", "one-page-driver"]));
    assert_eq!(report["ok"], true);
    let states = report["steps"][1]["states"].as_array().expect("states");
    let names: Vec<_> = states.iter().map(|section| section["name"].as_str().unwrap()).collect();
    assert!(names.starts_with(&["areas", "translations", "pages in memory", "lists", "swap"]));
}

#[test]
fn all_pass() {
    let output = run(["--json", "scenario", "all"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = json(&output);
    let scenarios = report["scenarios"].as_array().expect("scenarios");
    assert!(report["ok"] == true && scenarios.len() == faultless_scenarios::ALL.len());
}

#[test]
fn names_that_are_none_are_answered_with_near_ones() {
    let output = run(["scenario", "one-page-drivr"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("one-page-driver") && text.contains("scenario list"), "{text}");
    let elsewhere = run(["scenario", "tlb", "--machine", "linux"]);
    assert_eq!(elsewhere.status.code(), Some(2), "{}", stderr(&elsewhere));
}

#[test]
fn what_was_drawn_is_a_png() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("screen.png");
    let path_text = path.to_str().expect("a path");
    let output = run(["scenario", "frame-buffer", "--picture", path_text]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let file = std::io::BufReader::new(std::fs::File::open(&path).expect("the picture"));
    let mut reader = png::Decoder::new(file).read_info().expect("a PNG");
    let mut points = vec![0; reader.output_buffer_size().expect("a size")];
    let frame = reader.next_frame(&mut points).expect("an image");
    assert_eq!((frame.width, frame.height), (320, 184));
    assert_eq!(&points[..3], [0xf4, 0xf1, 0xea], "the paper in the corner");
    let nothing = run(["scenario", "tlb", "--picture", path_text]);
    assert_eq!(nothing.status.code(), Some(1), "{}", stderr(&nothing));
}
