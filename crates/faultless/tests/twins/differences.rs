//! Where Faultless does otherwise than Linux. The random test allows exactly these, each at
//! one place that names it and checks what is promised instead. A few are no choice: what is
//! said of each is why a cache in user space, on what Linux offers it, can't do otherwise.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is said of a difference.
pub struct Said {
    pub what: &'static str,
    pub why: &'static str,
    /// What the random test checks where it meets it.
    pub checked: &'static str,
}

macro_rules! differences {
    ($($(#[$doc:meta])* $name:ident: $what:literal, $why:literal, $checked:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Difference { $($(#[$doc])* $name),* }

        /// What is said of each.
        pub const TABLE: &[(Difference, Said)] =
            &[$((Difference::$name, Said { what: $what, why: $why, checked: $checked })),*];
    };
}

differences! {
    /// No choice: an anonymous page that `UFFDIO_MOVE` brings is at one address.
    EarlyCopy: "a private page that was only read may not see later changes of the file",
        "a page is at one address only: where another map shows it, a private reader gets its copy at once",
        "it is what the file's page was at some time when it was read there";
    Tail: "what is stored behind the end of the file, in its last page, may be zeros later",
        "such bytes never reach the file and go with the page; Linux clears them when it writes the page",
        "each such byte was stored there since the last cut, or is zero";
    /// No choice: every write of Linux that is not by a mapping of the kernel's own extends a
    /// file that has become shorter since the writer looked (`pwritev2` has no flag against
    /// it, leases are not broken by `ftruncate`).
    Regrown: "a write that is under way when somebody cuts the file may make it longer again",
        "Linux has no write that keeps within an end which others set",
        "not longer than it was, with bytes that it had, and not after the next `refresh`, which waits for those under way";
    FreeNow: "`Advice::Free` is done at once",
        "Linux may do it as well, when it likes",
        "the bytes are zeros, or the file's";
    SameRights: "all shared maps of a file have the same addresses, and so the same rights",
        "a page is at one address only",
        "where each map is, and that every access goes by what any of them was last given";
    /// No choice: `UFFDIO_MOVE` makes pages writable, takes no protected area, and has no flag
    /// as `UFFDIO_COPY` has; the protection is a second call.
    EarlyStore: "in the first microseconds after pages of a file for reading arrive, a store to them may pass",
        "pages that are moved in arrive writable",
        "the next store is refused soon, the bytes go with the page, and the file never had them";
    CallsObeyRights: "`read_at`, `write_at` and `punch_hole` are EACCES where a pointer would be SIGSEGV",
        "they go by the map; pread and pwrite go by the file",
        "exactly there, and nothing is done (of more than 16 pages, what comes before may be)";
    BeyondEnd: "what leaves the file or the map is refused (ENXIO)",
        "pread is short, pwrite makes the file longer, a map behind the end can be made",
        "exactly there, and nothing is done (of more than 16 pages, what comes before may be)";
    RangeFirst: "a range that leaves its mapping is refused before anything changes",
        "Linux changes what comes before the hole",
        "the errno is Linux's, rights and bytes stay";
    ViewIsReadOnly: "WRITE is EACCES for a map that was made for reading, though another map of the file is writable",
        "rights to store belong to the map that was made for it",
        "exactly there, and the rights stay";
    LossIsTold: "`check` and `flush` say once that somebody cut the file with changes in memory (ENXIO)",
        "Linux drops them and says nothing",
        "only after a cut, only where a page was dirty, and once";
    GrowthIsReserved: "a file grows under its maps as far as addresses are reserved (EFBIG)",
        "a map keeps its address",
        "exactly there, and the length stays";
    /// No choice: in `UFFD_FEATURE_SIGBUS` the kernel's own access has nobody to signal.
    InlineCalls: "with inline delivery a system call on a page that isn't in memory is EFAULT, or short",
        "only the thread that faults can serve it, and the kernel is no thread",
        "it did nothing, or a part that is right";
    AreasApart: "memory whose parts have the same rights always grows",
        "Linux keeps areas apart whose pages came to be apart (EFAULT)",
        "never the other way round, and only where the rights are the same";
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
