//! What a machine has done so far.

/// Counters since the machine was made, over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Accesses that a TLB served.
    pub tlb_hits: u64,
    /// Accesses of whose page the TLB knew nothing.
    pub tlb_misses: u64,
    /// Walks through the tables: for misses, for first stores through what the TLB knew
    /// as clean, and for accesses that the TLB refused.
    pub walks: u64,
    /// Accesses that ended in a page fault.
    pub faults: u64,
    /// Flushes of a page, a range or a space, each on all CPUs.
    pub flushes: u64,
    /// CPUs that had something to forget at a flush: those that a kernel must interrupt.
    pub shootdowns: u64,
}
