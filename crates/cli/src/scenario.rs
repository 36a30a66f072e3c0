//! `scenario`: programs that show what texts about mmap say, and check it.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use faultless_scenarios::{ALL, Machine, Picture, Record, Scenario, claims, find, near, text};
use serde::Serialize;

use crate::args::{MachineArg, ScenarioArgs};
use crate::output::{Outcome, Output};
use crate::problem::{Problem, Result};
use crate::table::Table;

pub fn run(args: &ScenarioArgs, output: Output) -> Result<Outcome> {
    let machine = args.machine.into();
    match (args.name.as_str(), &args.picture) {
        ("list" | "all", Some(_)) => {
            Err(Problem::Usage("--picture is for one scenario, which draws".to_owned()))
        }
        ("list", None) => list(output),
        ("all", None) => all(machine, output),
        (name, picture) => one(named(name)?, machine, picture.as_deref(), output),
    }
}

fn named(name: &str) -> Result<&'static Scenario> {
    find(name).ok_or_else(|| {
        let near = match near(name)[..] {
            [] => String::new(),
            ref names => format!("; similar ones: {}", names.join(", ")),
        };
        Problem::Usage(format!(
            "there is no scenario '{name}'{near}\n\n`faultless scenario list` names all of them"
        ))
    })
}

/// A scenario in the list.
#[derive(Serialize)]
struct Entry {
    name: &'static str,
    summary: &'static str,
    machines: Vec<&'static str>,
    /// What the texts say that it shows.
    claims: Vec<String>,
    /// Rows of the table of `docs/seeds.md`.
    rows: Vec<&'static str>,
}

fn list(output: Output) -> Result<Outcome> {
    let entries: Vec<Entry> = ALL.iter().map(|scenario| entry(scenario)).collect();
    let report = serde_json::json!({ "scenarios": entries });
    output.print(&report, || {
        let mut table = Table::new(3, &["scenario", "machines", "what it shows"]);
        for entry in &entries {
            let cells = [entry.name, &entry.machines.join(", "), entry.summary];
            table.row(cells.map(str::to_owned).to_vec());
        }
        format!("{table}\n{} scenarios\n", entries.len())
    })?;
    Ok(Outcome::Ok)
}

fn entry(scenario: &Scenario) -> Entry {
    let claims = scenario.claims.iter().filter_map(|id| claims::find(id));
    Entry {
        name: scenario.name,
        summary: scenario.summary,
        machines: scenario.machines().iter().map(|machine| machine.name()).collect(),
        claims: claims.map(|claim| format!("{} {}", claim.id, claim.says)).collect(),
        rows: scenario.rows.iter().map(|row| row.says()).collect(),
    }
}

fn one(
    scenario: &Scenario,
    machine: Machine,
    picture: Option<&Path>,
    output: Output,
) -> Result<Outcome> {
    let Some(record) = scenario.play(machine) else {
        return Err(Problem::Usage(format!(
            "'{}' is for the software machine only",
            scenario.name
        )));
    };
    if let Some(path) = picture {
        let Some(drawn) = &record.picture else {
            return Err(Problem::new(format!("'{}' has drawn no picture", scenario.name)));
        };
        write_png(path, drawn)?;
    }
    let report = serde_json::json!({
        "ok": record.passed(),
        "scenario": entry(scenario),
        "machine": machine.name(),
        "failure": record.failure,
        "steps": record.steps,
    });
    output.print(&report, || text::of(scenario, machine, &record))?;
    Ok(outcome(record.passed()))
}

fn write_png(path: &Path, picture: &Picture) -> Result<()> {
    let file = File::create(path).map_err(Problem::on("create", path))?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), picture.width, picture.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(&picture.rgb)?;
        writer.finish()
    });
    written.map_err(|error| Problem::new(format!("cannot write {}: {error}", path.display())))
}

fn all(machine: Machine, output: Output) -> Result<Outcome> {
    let played: Vec<(&Scenario, Record)> =
        ALL.iter().filter_map(|scenario| Some((*scenario, scenario.play(machine)?))).collect();
    let ok = played.iter().all(|(_, record)| record.passed());
    let rows = played.iter().map(|(scenario, record)| {
        serde_json::json!({
            "name": scenario.name,
            "ok": record.passed(),
            "steps": record.steps.len(),
            "checks": record.checks().count(),
            "failure": record.failure,
        })
    });
    let rows = rows.collect();
    let report = Report { ok, machine: machine.name(), scenarios: rows };
    output.print(&report, || table(&played))?;
    Ok(outcome(ok))
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    machine: &'static str,
    scenarios: Vec<serde_json::Value>,
}

fn table(played: &[(&Scenario, Record)]) -> String {
    let mut table = Table::new(2, &["scenario", "result", "steps", "checks"]);
    for (scenario, record) in played {
        let result = if record.passed() { "passed" } else { "FAILED" };
        let (steps, checks) = (record.steps.len(), record.checks().count());
        let cells = [scenario.name, result, &steps.to_string(), &checks.to_string()];
        table.row(cells.map(str::to_owned).to_vec());
    }
    let failed: Vec<_> = played.iter().filter(|(_, record)| !record.passed()).collect();
    let mut text =
        format!("{table}\n{} passed, {} failed\n", played.len() - failed.len(), failed.len());
    for (scenario, record) in failed {
        let why = record.failure.as_deref().unwrap_or("a check failed");
        text += &format!("{}: {why}\n", scenario.name);
    }
    text
}

fn outcome(ok: bool) -> Outcome {
    if ok { Outcome::Ok } else { Outcome::Failed }
}

impl From<MachineArg> for Machine {
    fn from(machine: MachineArg) -> Machine {
        match machine {
            MachineArg::Software => Machine::Software,
            MachineArg::Linux => Machine::Linux,
        }
    }
}
