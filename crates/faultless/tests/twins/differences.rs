//! Where Faultless does otherwise than Linux on purpose. The random test allows exactly
//! these, each at one place that names it.

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
    EarlyCopy: "a private page that was only read may not see later changes of the file",
        "a page is at one address only: where another map shows it, a private reader gets its copy at once";
    Tail: "what is stored behind the end of the file, in its last page, may be zeros later",
        "such bytes never reach the file and go with the page; Linux clears them when it writes the page";
    CutTail: "where somebody cuts the file inside of a page with changes in memory, bytes behind the new end may stay in that page",
        "they never reach the file and go with the page; nobody tells the library before";
    FailedPage: "a page that could not be read because somebody cut the file meanwhile is tried again after a second",
        "else a bad disk would be asked at each touch";
    Regrown: "a write that is under way when somebody cuts the file may make it longer again",
        "nothing keeps others from it between the look at the length and the write";
    FreeNow: "`Advice::Free` is done at once",
        "Linux may do it as well, when it likes";
    SameRights: "all shared maps of a file have the same addresses, and so the same rights",
        "a page is at one address only";
    EarlyStore: "in the first microseconds after pages of a file for reading arrive, a store to them may pass; it is lost with the page",
        "pages that are moved in arrive writable";
    CallsObeyRights: "`read_at`, `write_at` and `punch_hole` are EACCES where a pointer would be SIGSEGV",
        "they go by the map; pread and pwrite go by the file";
    BeyondEnd: "what leaves the file or the map is refused (ENXIO), and nothing is done",
        "pread is short, pwrite makes the file longer, a map behind the end can be made";
    RangeFirst: "a range that leaves its mapping is refused before anything changes",
        "Linux changes what comes before the hole";
    ViewIsReadOnly: "WRITE is EACCES for a map that was made for reading, though another map of the file is writable",
        "rights to store belong to the map that was made for it";
    LossIsTold: "`check` and `flush` say once that somebody cut the file with changes in memory (ENXIO)",
        "Linux drops them and says nothing";
    GrowthIsReserved: "a file grows under its maps as far as addresses are reserved (EFBIG)",
        "a map keeps its address";
    InlineCalls: "with inline delivery a system call on a page that isn't in memory is EFAULT",
        "only the thread that faults can serve it, and the kernel is no thread";
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
