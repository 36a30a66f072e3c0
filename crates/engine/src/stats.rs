//! Counters: what has happened since the engine was made.

/// Numbers that only grow, but for those that say "now".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Faults that had to wait for the page's bytes.
    pub faults_major: u64,
    /// Faults that found the page in memory, unmapped.
    pub faults_minor: u64,
    /// Faults that met a page that is busy (its bytes on the way, or leaving, or being
    /// written) and waited for whoever was at it. They are neither major nor minor.
    pub faults_joined: u64,
    /// First stores to clean pages.
    pub faults_write: u64,
    /// Private stores that made a copy.
    pub faults_copy: u64,
    /// First touches of anonymous memory.
    pub faults_zero: u64,
    /// Faults that found nothing to do, because somebody else was quicker.
    pub faults_spurious: u64,
    /// Faults answered with a signal.
    pub signals: u64,
    /// Pages read because somebody asked for them.
    pub pages_demanded: u64,
    /// Pages read ahead of need.
    pub pages_ahead: u64,
    /// Pages in memory that were shown together with one that was touched.
    pub pages_around: u64,
    /// Pages written to their backing.
    pub pages_written: u64,
    /// Writes of runs of pages.
    pub runs_written: u64,
    /// Pages that left memory to make room.
    pub evictions: u64,
    /// Pages unmapped but kept, to see if they're touched again.
    pub second_chances: u64,
    /// Pages whose bytes could not be read.
    pub read_errors: u64,
    /// Runs that could not be written.
    pub write_errors: u64,
    /// Frames in the budget.
    pub frames_total: u64,
    /// Frames that hold a page, now.
    pub frames_used: u64,
    /// The most frames that ever held a page at once.
    pub frames_used_max: u64,
    /// Pages that differ from their backing, now.
    pub pages_dirty: u64,
    /// Slots of swap that hold a page, now.
    pub swap_slots_used: u64,
    /// Pages held in place by pins, now.
    pub pages_pinned: u64,
    /// How often a thread found the engine's lock taken, and waited for it. The engine has no
    /// lock: who drives it counts them.
    pub lock_waits: u64,
    /// Bytes that the engine's own tables take, now.
    pub bookkeeping_bytes: u64,
}
