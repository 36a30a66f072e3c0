//! Counters of a broker.

use std::collections::BTreeMap;

use serde::Serialize;

/// What a broker has done, and holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BrokerStats {
    /// Processes that are connected.
    pub clients: u64,
    /// Processes that have been.
    pub clients_total: u64,
    /// Processes for which there was no room.
    pub clients_refused: u64,
    /// Mappings that are served, or were.
    pub maps_served: u64,
    /// Mappings that were left to the kernel.
    pub maps_kernel: u64,
    /// Why they were, and how many for each reason (the names are those of [`Reason`]). Those
    /// that a client's own library doesn't even ask for aren't there.
    ///
    /// [`Reason`]: faultless_protocol::Reason
    pub maps_kernel_by_reason: BTreeMap<&'static str, u64>,
    /// Mappings beyond a client's limits, of files that are served: refused with ENOMEM.
    pub maps_refused: u64,
    /// Files that are served.
    pub files: u64,
    /// Files that nobody maps now, whose pages stay.
    pub files_idle: u64,
    /// Messages that were none.
    pub malformed: u64,
    /// The budget, in pages.
    pub frames_total: u64,
    /// Pages in memory.
    pub frames_used: u64,
    /// The most there were.
    pub frames_used_max: u64,
    /// The most that one client had, where that is limited.
    pub client_frames_max: u64,
    /// Faults that had to read.
    pub faults_major: u64,
    /// Faults on pages in memory.
    pub faults_minor: u64,
    /// First stores to a page.
    pub faults_write: u64,
    /// Pages read because a fault, or a call, needed them.
    pub pages_demanded: u64,
    /// Pages read ahead.
    pub pages_ahead: u64,
    /// Pages written back.
    pub pages_written: u64,
    /// Pages that left memory.
    pub evictions: u64,
    /// First touches of anonymous pages.
    pub faults_zero: u64,
    /// Pages copied because processes had them together since a fork.
    pub faults_copy: u64,
    /// Pages of swap that anonymous pages have.
    pub swap_slots_used: u64,
    /// Reads that failed.
    pub read_errors: u64,
    /// Writes that failed.
    pub write_errors: u64,
}
