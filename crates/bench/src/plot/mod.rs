//! Pictures of a report, as SVG: throughput over time, ratios, latencies.

mod bars;
mod curves;
mod ladder;
mod svg;

use std::fs;
use std::path::Path;

use crate::rounds::CaseResult;
use crate::run::Reached;
use crate::system::System;

/// Draws a case into `dir`; answers a remark for each picture, also where it can't be written:
/// what it shows isn't lost with it.
pub fn case(result: &CaseResult, dir: &Path) -> Vec<String> {
    let name = file_name(&result.case.name());
    let over_time = (format!("{name}-time.svg"), curves::draw(result));
    let latency = ladder::draw(result).map(|svg| (format!("{name}-latency.svg"), svg));
    let pictures = [Some(over_time), latency].into_iter().flatten();
    pictures.map(|(name, svg)| write(&dir.join(name), &svg)).collect()
}

/// Draws what was to be reached into `dir`, if anything was.
pub fn ratios(reached: &[Reached], dir: &Path) -> Option<String> {
    bars::draw(reached).map(|svg| write(&dir.join("ratios.svg"), &svg))
}

fn write(path: &Path, svg: &str) -> String {
    match fs::write(path, svg) {
        Ok(()) => format!("drawn: {}", path.display()),
        Err(error) => format!("NOT drawn: {}: {error}", path.display()),
    }
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
        System::Bare => "#997700",
        System::Device => "#bbbb44",
        System::Peer(_) => "#8844aa",
    }
}
