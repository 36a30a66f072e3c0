//! Pictures of a report, as SVG: throughput over time, ratios, latencies.

mod bars;
mod curves;
mod ladder;
mod svg;

use std::fs;
use std::path::Path;

use faultless_measure::problem::{Problem, Result};

use crate::run::Report;
use crate::system::System;

/// Draws what there is to draw into `dir`, which is made; answers a remark for each picture.
pub fn write(report: &Report, dir: &Path) -> Result<Vec<String>> {
    fs::create_dir_all(dir).map_err(Problem::on("make", dir))?;
    let mut pictures = Vec::new();
    for result in &report.cases {
        let name = file_name(&result.case.name());
        pictures.push((format!("{name}-time.svg"), curves::draw(result)));
        pictures.extend(ladder::draw(result).map(|svg| (format!("{name}-latency.svg"), svg)));
    }
    pictures.extend(bars::draw(&report.reached).map(|svg| ("ratios.svg".to_owned(), svg)));
    let write = |(name, svg): (String, String)| {
        let path = dir.join(name);
        fs::write(&path, svg).map_err(Problem::on("write", &path))?;
        Ok(format!("drawn: {}", path.display()))
    };
    pictures.into_iter().map(write).collect()
}

/// A case's name as part of a file's.
fn file_name(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

/// The colour of a system, the same in all pictures (Okabe and Ito 2008, which most people
/// can tell apart).
fn colour(system: &System) -> &'static str {
    match system {
        System::Kernel => "#000000",
        System::KernelSmallAhead => "#777777",
        System::KernelWillNeed => "#aaaaaa",
        System::Pread => "#cc79a7",
        System::PreadMoka => "#e3b5cd",
        System::Inline => "#d55e00",
        System::Thread => "#0072b2",
        System::Pin => "#009e73",
        System::PinMany => "#e69f00",
        System::Prefetch => "#56b4e9",
        System::Device => "#bbbb44",
        System::Peer(_) => "#8844aa",
    }
}
