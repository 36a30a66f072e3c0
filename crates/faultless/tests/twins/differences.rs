//! Where Faultless does otherwise than Linux. The random test allows exactly these, each at
//! one place that names it and checks what is promised instead. A few are no choice: what is
//! said of each is why a cache in user space, on what Linux offers it, can't do otherwise.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! differences {
    ($($(#[$doc:meta])* $name:ident: $what:literal, $why:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Difference { $($(#[$doc])* $name),* }

        /// Each with what differs, and why.
        pub const TABLE: &[(Difference, &str, &str)] =
            &[$((Difference::$name, $what, $why)),*];
    };
}

differences! {
    /// No choice: an anonymous page that `UFFDIO_MOVE` brings is at one address. Checked: the
    /// private page is what the file's was at some time when it was read there.
    EarlyCopy: "a private page that was only read may not see later changes of the file",
        "a page is at one address only: where another map shows it, a private reader gets its copy at once";
    /// Checked: each such byte is one that was stored there since the last cut, or zero.
    Tail: "what is stored behind the end of the file, in its last page, may be zeros later",
        "such bytes never reach the file and go with the page; Linux clears them when it writes the page";
    /// No choice: every write of Linux that is not by a mapping of the kernel's own extends a
    /// file that has become shorter since the writer looked (`pwritev2` has no flag against
    /// it, leases are not broken by `ftruncate`). Checked: how long, with what, and that
    /// nothing grows after `refresh` has answered.
    Regrown: "a write that is under way when somebody cuts the file may make it longer again, but not longer than it was, with bytes that it had, and not after the next `refresh`",
        "Linux has no write that keeps within an end which others set; `refresh` waits for those under way";
    FreeNow: "`Advice::Free` is done at once",
        "Linux may do it as well, when it likes";
    SameRights: "all shared maps of a file have the same addresses, and so the same rights",
        "a page is at one address only";
    /// No choice: `UFFDIO_MOVE` makes pages writable, takes no protected area, and has no flag
    /// as `UFFDIO_COPY` has; the protection is a second call. Checked: the next store is
    /// refused soon, the bytes go with the page, and the file never had them.
    EarlyStore: "in the first microseconds after pages of a file for reading arrive, a store to them may pass; it is lost with the page, and never reaches the file",
        "pages that are moved in arrive writable";
    CallsObeyRights: "`read_at`, `write_at` and `punch_hole` are EACCES where a pointer would be SIGSEGV",
        "they go by the map; pread and pwrite go by the file";
    BeyondEnd: "what leaves the file or the map is refused (ENXIO), and nothing is done",
        "pread is short, pwrite makes the file longer, a map behind the end can be made";
    RangeFirst: "a range that leaves its mapping is refused before anything changes",
        "Linux changes what comes before the hole";
    ViewIsReadOnly: "WRITE is EACCES for a map that was made for reading, though another map of the file is writable",
        "rights to store belong to the map that was made for it";
    /// Checked: only after a cut, and only where a page was dirty.
    LossIsTold: "`check` and `flush` say once that somebody cut the file with changes in memory (ENXIO)",
        "Linux drops them and says nothing";
    GrowthIsReserved: "a file grows under its maps as far as addresses are reserved (EFBIG)",
        "a map keeps its address";
    /// No choice: in `UFFD_FEATURE_SIGBUS` the kernel's own access has nobody to signal.
    /// Checked: the call did nothing, or a part that is right.
    InlineCalls: "with inline delivery a system call on a page that isn't in memory is EFAULT",
        "only the thread that faults can serve it, and the kernel is no thread";
    /// Checked: never the other way round.
    AreasApart: "memory whose parts have the same rights always grows",
        "Linux keeps areas apart whose pages came to be apart (EFAULT)";
}

/// How often each was met.
#[derive(Default)]
pub struct Tally {
    met: [AtomicU64; TABLE.len()],
}

impl Tally {
    pub fn add(&self, difference: Difference) {
        self.met[difference as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn of(&self, difference: Difference) -> u64 {
        self.met[difference as usize].load(Ordering::Relaxed)
    }
}
