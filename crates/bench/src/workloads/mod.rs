//! The workloads, one small file each.

mod w1_random;
mod w2_zipf;
mod w3_scan;
mod w4_writes;
mod w5_hot_set;
mod w6_fits;
mod w7_tree;
mod w8_files;

use std::fmt;
use std::str::FromStr;

use faultless::Pattern;
use serde::{Deserialize, Serialize};

use crate::case::{Case, Scale};
use crate::shape::Shape;
use crate::system::System;
use crate::targets::Target;

/// What each workload says of itself.
pub trait Definition: Sync {
    /// What is done, in a line.
    fn about(&self) -> &'static str;
    /// With which numbers.
    fn cases(&self, scale: &Scale) -> Vec<Case>;
    /// By whom.
    fn systems(&self) -> Vec<System>;
    /// What the threads do.
    fn shape(&self, case: &Case) -> Shape;
    /// What mappings are told of it.
    fn pattern(&self) -> Pattern;
    /// What is to be reached.
    fn targets(&self, case: &Case) -> Vec<Target>;
}

/// The workloads there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)] // Each has a file that says what it does.
pub enum Workload {
    W1,
    W2,
    W3,
    W4,
    W5,
    W6,
    W7,
    W8,
}

impl Workload {
    /// All of them.
    pub const ALL: [Workload; 8] = {
        use Workload::*;
        [W1, W2, W3, W4, W5, W6, W7, W8]
    };

    /// What it says of itself.
    pub fn definition(self) -> &'static dyn Definition {
        match self {
            Workload::W1 => &w1_random::Random,
            Workload::W2 => &w2_zipf::Skewed,
            Workload::W3 => &w3_scan::Scan,
            Workload::W4 => &w4_writes::Writes,
            Workload::W5 => &w5_hot_set::HotSet,
            Workload::W6 => &w6_fits::Fits,
            Workload::W7 => &w7_tree::Walks,
            Workload::W8 => &w8_files::Files,
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Workload, String> {
        let mut all = Workload::ALL.into_iter();
        let found = all.find(|workload| workload.to_string().eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("'{text}' is not a workload: W1 to W8, or costs"))
    }
}
