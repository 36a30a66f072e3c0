//! Costs.
use faultless_measure::problem::Result;
use faultless_measure::table::Table;
use serde::Serialize;
use std::path::Path;
/// Cost.
#[derive(Serialize)]
pub struct Cost;
/// Run.
pub fn run(_: &Path) -> Result<Vec<Cost>> {
    Ok(Vec::new())
}
/// Table.
pub fn table(_: &[Cost]) -> Table {
    Table::default()
}
