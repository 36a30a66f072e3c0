//! Pictures.
use crate::run::Report;
use faultless_measure::problem::Result;
use std::path::Path;
/// Writes.
pub fn write(_report: &Report, _dir: &Path) -> Result<Vec<String>> {
    Ok(Vec::new())
}
